"""Who may look at a running gate: the HTTP server, its token and certificate, and what the page shows.

`gate.config` offers these names too.
"""

import ipaddress
from pathlib import Path

from pydantic import Field, model_validator

from gate.config_section import Section


def is_loopback(address: str) -> bool:
    """True for an address or name that only this machine can reach.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class TlsConfig(Section):
    """The server's own certificate, and whose certificates it asks for."""

    cert_file: Path
    """PEM file with the certificate, and behind it those that lead to its authority. Read again when it changes."""

    key_file: Path
    """PEM file with the certificate's key, without a passphrase."""

    client_ca_file: Path | None = None
    """PEM file with the authority of clients: whoever has no certificate of it sees `/livez` and `/readyz` alone."""


class HttpConfig(Section):
    """The page, health and metrics."""

    enabled: bool = True
    """False starts no HTTP server."""

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback asks for `token_file`, `tls` or `insecure: true`."""

    port: int = Field(default=8080, ge=0, le=65535)
    """Port to bind; 0 takes a free one and logs it."""

    token_file: Path | None = None
    """File that holds the token clients must show, 16 to 256 characters without spaces: as `Authorization: Bearer`, or
    once in a browser. Read again when it changes. A bare name is looked for among systemd's credentials and in
    /run/secrets."""

    tls: TlsConfig | None = None
    """Speak HTTPS; null speaks HTTP."""

    insecure: bool = False
    """Allow an address that others can reach without token and TLS, as behind a proxy or in a container's network."""

    @model_validator(mode="after")
    def _strangers_are_kept_out(self) -> "HttpConfig":
        if not (is_loopback(self.host) or self.token_file or self.tls or self.insecure):
            raise ValueError(
                f"host {self.host} can be reached from other machines; set token_file (or tls), "
                "or insecure: true if something else keeps strangers out"
            )
        return self

    @property
    def lets_anybody_in(self) -> bool:
        """Whether other machines can reach the page, and none of them has to show who it is."""
        knows_clients = self.token_file is not None or (self.tls is not None and self.tls.client_ca_file is not None)
        return not is_loopback(self.host) and not knows_clients


class PageConfig(Section):
    """What the live page shows."""

    images: bool = False
    """Show the latest crops and a low-rate preview of the cameras on the page: faces, which are personal data."""
