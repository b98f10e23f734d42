"""The server's certificate: a context for connections, read again when its files change, and when it expires."""

import base64
import binascii
import re
import socket
import ssl
from datetime import datetime, timezone
from pathlib import Path

from gate.config_http import TlsConfig
from gate.errors import ConfigError
from gate.observe.secret_file import Fresh, read_text

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)

_SEQUENCE, _VERSION, _UTC_TIME, _LONG_TIME = 0x30, 0xA0, 0x17, 0x18


class Tls:
    """Speaks TLS 1.2 and newer on accepted connections. Safe to use from every thread.

    Args:
        config: The files.

    Raises:
        ConfigError: a file cannot be read or is no certificate, or the key is another certificate's.
    """

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self.asks_for_certificate = config.client_ca_file is not None
        files = (config.cert_file, config.key_file, config.client_ca_file)
        self._fresh = Fresh(tuple(file for file in files if file is not None), self._read)

    @property
    def expires_s(self) -> float:
        """Unix time at which the first certificate of the chain expires."""
        return self._fresh.get()[1]

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """The connection in TLS; nothing is sent or read yet. Raises `OSError` where the client has gone."""
        context, _ = self._fresh.get()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _read(self) -> tuple[ssl.SSLContext, float]:
        config = self._config
        expires_s = earliest_expiry_s(read_text("http.tls.cert_file", config.cert_file), config.cert_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Without a password of ours, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(config.cert_file, config.key_file, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise ConfigError(f"http.tls.key_file {config.key_file}: {_why(error)}.") from None
        if config.client_ca_file is not None:
            try:
                context.load_verify_locations(config.client_ca_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"http.tls.client_ca_file {config.client_ca_file}: {_why(error)}.") from None
            # Not required: the probes of an orchestrator have none, and are told no more than yes or no.
            context.verify_mode = ssl.CERT_OPTIONAL
        return context, expires_s


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "it is not the key of the certificate in cert_file"
        return "not a PEM file of the expected kind without a passphrase"
    return getattr(error, "strerror", None) or "cannot be used"


def earliest_expiry_s(pem: str, where: Path) -> float:
    """Unix time at which the first of the certificates in a PEM text expires. Raises `ConfigError`."""
    found = [_expiry_s(text) for text in _PEM.findall(pem)]
    known = [expiry_s for expiry_s in found if expiry_s is not None]
    if not known or len(known) < len(found):
        raise ConfigError(f"http.tls.cert_file {where}: no readable PEM certificate.")
    return min(known)


def _expiry_s(body: str) -> float | None:
    """`notAfter` of one certificate (RFC 5280, 4.1); None where it is none.

    The standard library tells it of a peer's certificate only, and only after it was found valid.
    """
    try:
        certificate, _ = _value(base64.b64decode(body), _SEQUENCE)
        rest, _ = _value(certificate, _SEQUENCE)
        if rest[0] == _VERSION:
            _, rest = _value(rest)
        for _ in ("serial number", "signature", "issuer"):
            _, rest = _value(rest)
        validity, _ = _value(rest, _SEQUENCE)
        _, not_after = _value(validity)
        text, _ = _value(not_after)
        form = {_UTC_TIME: "%y%m%d%H%M%SZ", _LONG_TIME: "%Y%m%d%H%M%SZ"}[not_after[0]]
        return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, KeyError, IndexError, OverflowError, binascii.Error):
        return None


def _value(der: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """The content of the first element of DER, and what follows it. Raises `ValueError` or `IndexError`."""
    if tag is not None and der[0] != tag:
        raise ValueError("another element")
    length, start = der[1], 2
    if length >= 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start], "big")
    if len(der) < start + length:
        raise ValueError("cut off")
    return der[start : start + length], der[start + length :]
