"""Camera addresses with and without their secrets."""

import re
from pathlib import Path
from urllib.parse import unquote

from gate.capture.causes import Cause, lost
from gate.config import CameraConfig
from gate.errors import ConfigError
from gate.redact import safe_address
from gate.secret_files import read_secret

_NETWORK = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_PORT = re.compile(r"^[^\[\]:]*(:\d*)?$|^\[[^\]]*\](:\d*)?$")

_RESERVED = frozenset("%:/?#@[]\\ ")
"""What would end a user or password in a URL. Nothing else is escaped: FFmpeg keeps only so many bytes of it."""

RTSP_AUTH_BYTES = 127
"""FFmpeg's RTSP client cuts `user:password`, escapes included, behind this many bytes and then fails to log in."""


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case, empty for a file path."""
    found = _NETWORK.match(url)
    return found[1].lower() if found else ""


def file_path(address: str) -> Path:
    """The path behind a plain path or a `file://` URL."""
    return Path(unquote(address[len("file://") :])) if scheme_of(address) == "file" else Path(address)


def check_address(camera: str, address: str) -> None:
    """Refuse what nobody can dial without guessing.

    Raises:
        ConfigError: control characters, or a password with `/`, `?` or `#` in it that is not percent-encoded, so
            that its tail reads as the path.
    """
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in address):
        raise ConfigError(f"camera {camera!r}: the url holds a control character. Remove it.")
    if scheme_of(address) in {"", "file"}:
        return
    authority, rest = _split(address)
    if "@" in rest and not _PORT.match(authority.rpartition("@")[2]):
        raise ConfigError(
            f"camera {camera!r}: it cannot be told where the password ends in the url. "
            "Percent-encode it, or use username and password or password_file."
        )


def with_credentials(url: str, username: str | None, password: str | None) -> str:
    """The URL with this user and password in it, in place of those it had. For dialling only, never for showing.

    >>> with_credentials("rtsp://door.lan/live", "ad:min", "p@ss/1%")
    'rtsp://ad%3Amin:p%40ss%2F1%25@door.lan/live'
    >>> with_credentials("rtsp://door.lan/live", None, None)
    'rtsp://door.lan/live'

    Raises:
        CaptureError: cause `auth`, when FFmpeg's RTSP client would cut the pair short.
    """
    authority, rest = _split(url)
    userinfo, _, host = authority.rpartition("@")
    if username is not None or password is not None:
        old_user, _, old_password = userinfo.partition(":")
        user = _escape(username) if username is not None else old_user
        userinfo = f"{user}:{_escape(password) if password is not None else old_password}"
    if scheme_of(url).startswith("rtsp") and len(userinfo.encode(errors="surrogateescape")) > RTSP_AUTH_BYTES:
        raise lost(
            safe_address(url),
            Cause.AUTH,
            detail=f"user and password are longer than the {RTSP_AUTH_BYTES} bytes FFmpeg sends over RTSP",
            remedy="Set a shorter password in the camera.",
        )
    return f"{scheme_of(url)}://{userinfo}@{host}{rest}" if userinfo else url


def host_of(url: str) -> str:
    """The host of a network address, without brackets.

    >>> host_of("rtsp://ad%40min:p@[fe80::1]:554/live")
    'fe80::1'
    """
    place = _split(url)[0].rpartition("@")[2]
    return place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]


def read_password(config: CameraConfig) -> str | None:
    """The configured password, or that in `password_file` without its trailing newline; None without either.

    Raises:
        CaptureError: cause `auth`, when the file cannot be read; it is read again at every connection, so a password
            may be put there or changed while the gate runs.
    """
    if config.password is not None:
        return config.password.get_secret_value()
    if config.password_file is None:
        return None
    label = safe_address(config.address)
    try:
        return read_secret(config.password_file)
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except OSError as error:
        problem = error.strerror or "unreadable"
    raise lost(label, Cause.AUTH, detail=f"password file {config.password_file}: {problem}", remedy="Repair the file.")


def _split(url: str) -> tuple[str, str]:
    """(user:password@host:port, everything behind it)."""
    rest = url[len(scheme_of(url)) + len("://") :]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return authority, rest[len(authority) :]


def _escape(text: str) -> str:
    return "".join(f"%{ord(char):02X}" if char in _RESERVED or ord(char) < 0x20 else char for char in text)
