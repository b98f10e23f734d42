"""What is to be scored: folders, files, lists and archives, in an order that depends on names alone."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from gate.errors import GateError
from gate.scoring.fault import Failure, Fault, Why
from gate.scoring.images import EXTENSIONS, MAX_FILE_BYTES
from gate.scoring.tars import TAR_SUFFIXES, TarSource

LIST_SUFFIXES = (".txt", ".lst", ".list")


@dataclass(frozen=True, slots=True)
class FileItem:
    """An image in a file of its own."""

    path: str
    """As the inputs name it."""

    def read(self) -> bytes | Fault:
        """The file's bytes, or why it cannot be read."""
        try:
            with Path(self.path).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_FILE_BYTES:
                    return Fault(Why.TOO_LARGE, f"{size} bytes")
                return file.read()
        except (OSError, ValueError) as error:
            return Fault(Why.UNREADABLE, getattr(error, "strerror", None) or "no usable path")


class Item(Protocol):
    """One image to score."""

    @property
    def path(self) -> str:
        """As the inputs name it."""
        ...

    def read(self) -> bytes | Fault:
        """The image file's bytes, or why they cannot be had. Called from any thread."""
        ...


Entry: TypeAlias = Item | Failure
"""An image, or a part of the inputs that already failed."""


class Source(Protocol):
    """One of the inputs."""

    ignored: int
    """Files without an image's extension that were passed over so far."""

    def __iter__(self) -> Iterator[Entry]:
        """Its images, the same ones in the same order every time."""
        ...

    def expected(self) -> int | None:
        """How many entries it has, as well as is known by now."""
        ...


class PathSource:
    """Paths that are named one by one."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.ignored = 0
        self._paths = paths

    def __iter__(self) -> Iterator[Entry]:
        return (FileItem(path) for path in self._paths)

    def expected(self) -> int | None:
        """See `Source.expected`."""
        return len(self._paths)


class FolderSource:
    """All images below a folder, sorted by path; links to folders are followed, circles are not."""

    def __init__(self, folder: Path) -> None:
        self.ignored = 0
        self._entries: list[Entry] = sorted(self._below(folder, ()), key=lambda entry: entry.path)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def expected(self) -> int | None:
        """See `Source.expected`."""
        return len(self._entries)

    def _below(self, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        try:
            status = folder.stat()
            with os.scandir(folder) as listing:
                children = list(listing)
        except OSError as error:
            yield Failure(str(folder), Fault(Why.UNREADABLE, error.strerror or "cannot be listed"))
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        for child in children:
            path = folder / child.name
            if _is_folder(child):
                yield from self._below(path, (*above, here))
            elif path.suffix.lower() in EXTENSIONS:
                yield FileItem(str(path))
            else:
                self.ignored += 1


def _is_folder(child: "os.DirEntry[str]") -> bool:
    try:
        return child.is_dir()
    except OSError:
        # A link that leads nowhere; as an image it will be reported as unreadable.
        return False


def open_sources(paths: Sequence[str], lists: Sequence[str] = ()) -> list[Source]:
    """Look at what the user named.

    Args:
        paths: folders, archives, lists (by their extension) and image files.
        lists: text files with one path a line, relative to the current folder.

    Raises:
        GateError: one of them does not exist, or a list is not text.
    """
    sources = [_source(path) for path in paths]
    return [*sources, *(PathSource(read_list(Path(path))) for path in lists)]


def _source(text: str) -> Source:
    path = Path(text)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise GateError(f"{text} does not exist. Name folders, image files, .tar archives or lists of paths.")
    if path.name.lower().endswith(TAR_SUFFIXES):
        return TarSource(path)
    if path.suffix.lower() in LIST_SUFFIXES:
        return PathSource(read_list(path))
    return PathSource([text])


def read_list(path: Path) -> list[str]:
    """The lines of a list of paths, blank ones left out; everything but the line's end belongs to the path."""
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise GateError(f"list {path}: {error.strerror or error}. Give a text file with one path a line.") from None
    if "\0" in text:
        raise GateError(f"list {path} is not text. Give a file with one path a line.")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return [line for line in lines if line.strip()]
