"""Addresses that are safe to show.

A camera URL may carry a password (with @, :, /, % in it) or a token in its path or query. What is shown is the
scheme and the host, and only where both are beyond doubt.
"""

import re

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"^(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$")


def safe_address(url: str) -> str:
    """What may be logged of `url`: `scheme://host:port` for network addresses, the text itself for files.

    Where an `@` stands behind the first `/`, `?` or `#`, nobody can say whether it ends a password with that
    character in it or belongs to the path, so no host is shown at all.

    >>> safe_address("rtsp://admin:s3cret@door.lan:554/stream1?token=abc")
    'rtsp://door.lan:554'
    >>> safe_address("rtsp://admin:a/b@door.lan/stream1")
    'rtsp://…'
    >>> safe_address("/var/video/door.mp4")
    '/var/video/door.mp4'
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return url
    hidden = f"{scheme[1].lower()}://…"
    rest = url[scheme.end() :]
    if scheme[1].lower() in {"unix", "file"}:
        return f"{scheme[1].lower()}://{rest.split('?')[0]}" if "@" not in rest else hidden
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        return hidden
    host = authority.rpartition("@")[2]
    return f"{scheme[1].lower()}://{host}" if _HOST.match(host) else hidden
