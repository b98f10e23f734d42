"""Images in a tar archive, read in one pass without writing anything to disk.

A member's name is a label and nothing else: no path is ever made of it.
"""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from typing import TYPE_CHECKING

from gate.errors import GateError
from gate.scoring.fault import Failure, Fault, Why
from gate.scoring.images import EXTENSIONS, MAX_FILE_BYTES

if TYPE_CHECKING:
    from typing_extensions import Self

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True, slots=True)
class TarItem:
    """An image that was read from an archive."""

    path: str
    """The member's name, as the archive has it."""

    data: bytes = field(repr=False)

    def read(self) -> bytes | Fault:
        """The member's bytes."""
        return self.data


_BROKEN = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What reading a damaged archive raises."""


class _Member(tarfile.TarInfo):
    """A member whose damaged header is an error; tarfile takes it for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "Self":
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if isinstance(error, EOFHeaderError):
                raise
            raise ReadError(str(error)) from None


class TarSource:
    """The images of one archive, compressed or not, in the archive's order."""

    def __init__(self, path: Path) -> None:
        self.ignored = 0
        self._path = path
        self._size_bytes = path.stat().st_size
        self._read_bytes = 0
        self._seen = 0

    def __iter__(self) -> Iterator[TarItem | Failure]:
        self.ignored = self._seen = self._read_bytes = 0
        is_open = False
        try:
            with self._path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Member) as archive:
                is_open = True
                for entry in self._entries(archive):
                    self._seen += 1
                    self._read_bytes = raw.tell()
                    yield entry
        except _BROKEN as error:
            problem = getattr(error, "strerror", None) or str(error)
            if not is_open:
                raise GateError(f"{self._path} cannot be read as an archive: {problem}.") from None
            yield Failure(str(self._path), Fault(Why.UNREADABLE, f"the archive ends early: {problem}"))
        self._read_bytes = self._size_bytes

    def expected(self) -> int | None:
        """Images seen so far, scaled up by the share of the file that has been read; None before the first."""
        return round(self._seen * self._size_bytes / self._read_bytes) if self._read_bytes else None

    def _entries(self, archive: tarfile.TarFile) -> Iterator[TarItem | Failure]:
        while (member := archive.next()) is not None:
            # tarfile keeps every member it has seen, 1 kB each.
            archive.members = []  # type: ignore[attr-defined]
            if PurePosixPath(member.name).suffix.lower() in EXTENSIONS and not member.isdir():
                yield _entry(archive, member)
            elif not member.isdir():
                self.ignored += 1


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> TarItem | Failure:
    if not member.isreg():
        return Failure(member.name, Fault(Why.UNREADABLE, "a link or device in the archive, not a file"))
    if member.size > MAX_FILE_BYTES:
        return Failure(member.name, Fault(Why.TOO_LARGE, f"{member.size} bytes"))
    stream = archive.extractfile(member)
    return TarItem(member.name, b"" if stream is None else stream.read())
