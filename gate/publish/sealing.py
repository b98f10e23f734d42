"""Encryption of what lies on the disk: AES-256-GCM with a key from a file."""

import base64
import binascii
import os
from pathlib import Path
from typing import Any, Protocol

from gate.errors import ConfigError

KEY_BYTES = 32
_NONCE_BYTES = 12
_MAKE_A_KEY = "make one with: openssl rand -base64 32"


class UnsealError(Exception):
    """Another key sealed it, or it was changed since."""


class Seal(Protocol):
    """Makes bytes unreadable for whoever has no key."""

    def close(self, data: bytes, about: bytes) -> bytes:
        """Encrypt `data`; only whoever gives the same `about` can open it."""
        ...

    def open(self, data: bytes, about: bytes) -> bytes:
        """What `close` was given. Raises `UnsealError`."""
        ...


class AesGcmSeal:
    """AES-256-GCM, a random nonce in front of each message.

    Random nonces of 96 bits are safe for four thousand million messages under one key; at ten faces a second that is
    thirteen years.
    """

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes. Raises `ConfigError` where the `cryptography` package is missing."""
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError(
                "spool.key_file: encryption needs the package cryptography; install it with facegate[encryption]"
            ) from None
        self._invalid: type[Exception] = InvalidTag
        self._aes: Any = AESGCM(key)

    def close(self, data: bytes, about: bytes) -> bytes:
        """See `Seal.close`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self._aes.encrypt(nonce, data, about)
        return nonce + sealed

    def open(self, data: bytes, about: bytes) -> bytes:
        """See `Seal.open`."""
        try:
            plain: bytes = self._aes.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], about)
        except (self._invalid, ValueError):
            raise UnsealError from None
        return plain


def read_key(path: Path) -> bytes:
    """The key of 32 bytes in a file that holds it as base64 or as hex.

    Raises:
        ConfigError: the file cannot be read or holds no such key; the message never quotes it.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(f"spool.key_file {path}: {error.strerror or 'cannot be read'}; {_MAKE_A_KEY}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"spool.key_file {path}: not text; {_MAKE_A_KEY}") from None
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY_BYTES:
            return key
    raise ConfigError(f"spool.key_file {path}: not {KEY_BYTES} bytes in base64 or hex; {_MAKE_A_KEY}")


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
