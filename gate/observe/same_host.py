"""Tells whether a `Host` header names this machine: the guard against DNS rebinding."""

import ipaddress


def is_our_host(header: str, configured: str) -> bool:
    """Whether a `Host` header is what somebody on this machine would ask for.

    An address cannot be rebound; of names only `localhost` and the configured one are ours. A request without the
    header (HTTP/1.0, no browser) passes.

    >>> is_our_host("localhost:8080", "127.0.0.1"), is_our_host("evil.example:8080", "127.0.0.1")
    (True, False)
    """
    bracketed = header.startswith("[")
    name = header[1:].partition("]")[0] if bracketed else header.partition(":")[0].rstrip(".").lower()
    if name in {"", "localhost", configured.lower()} or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
