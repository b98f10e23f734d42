"""Checksums, read a piece at a time."""

import hashlib
from pathlib import Path

from gate.errors import WeightsError

_PIECE_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits.

    Raises:
        WeightsError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
