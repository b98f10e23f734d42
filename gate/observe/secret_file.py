"""A secret in a file that may be exchanged while the gate runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gate.errors import ConfigError
from gate.observe.logging import get_logger

T = TypeVar("T")


class Fresh(Generic[T]):
    """What was read from files, read again when one of them changes; where that fails, the former stays in use.

    Args:
        files: The files that are watched, by time, size and inode.
        read: Makes something of them. Raises `ConfigError`, the first time to the caller.
    """

    def __init__(self, files: tuple[Path, ...], read: Callable[[], T]) -> None:
        self._files = files
        self._read = read
        self._log = get_logger("gate.observe.http")
        self._stamp = self._now()
        self._value = read()

    def get(self) -> T:
        """The present value; a stat a file, 2 µs each."""
        stamp = self._now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._value = self._read()
            except ConfigError as error:
                self._log.warning("http_secret_kept", problem=str(error))
            else:
                self._log.info("http_secret_read_again", files=[file.name for file in self._files])
        return self._value

    def _now(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_text(key: str, file: Path) -> str:
    """The text of a file that a key of the configuration names. Raises `ConfigError`."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{key} {file}: {problem}.") from None
