"""A file of rows that a later run can continue.

The file itself is the only record of how far a run got: it holds nothing but rows, in the order of the inputs.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from gate.errors import GateError
from gate.scoring.formats import Row, RowFormat

REMEDY = "Give another -o, or --overwrite to start again."


class Sheet(Protocol):
    """Where rows go. Used by one thread."""

    name: str
    """For messages."""

    def existing(self) -> Iterator[tuple[Row, int]]:
        """Rows that an earlier run wrote, each with the offset behind it; a torn last line is left out."""
        ...

    def start(self) -> int:
        """Offset of the first row."""
        ...

    def append(self, rows: Sequence[Row], *, behind: int | None = None) -> None:
        """Write rows and flush them.

        Args:
            rows: in the order of the inputs.
            behind: where the first call begins, an offset from `existing` or `start`; what follows there is replaced
                once it has been seen to belong to these rows. None continues behind the last call.

        Raises:
            GateError: what would be replaced is something else, or the disk is full.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class FileSheet:
    """Rows in a regular file."""

    def __init__(self, path: Path, row_format: RowFormat, *, overwrite: bool = False) -> None:
        """Open or create the file; nothing in it changes before the first `append`, but with `overwrite`.

        Raises:
            GateError: it cannot be written, or another run is writing it.
        """
        self.name = str(path)
        self._path = path
        self._format = row_format
        self._is_new = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        except OSError as error:
            raise GateError(f"{path} cannot be written: {error.strerror or error}. Give another -o.") from None
        self._lock()
        if overwrite:
            self._file.truncate(0)

    def existing(self) -> Iterator[tuple[Row, int]]:
        """See `Sheet.existing`."""
        with self._path.open("rb") as file:
            if not self._has_header(file.read(len(self._format.header))):
                return
            offset = self.start()
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield self._parsed(line[:-1]), offset

    def start(self) -> int:
        """See `Sheet.start`."""
        return len(self._format.header)

    def append(self, rows: Sequence[Row], *, behind: int | None = None) -> None:
        """See `Sheet.append`."""
        data = b"".join(self._format.line(row) for row in rows)
        try:
            if behind is not None:
                self._file.seek(behind)
                self._check_replaced(self._file.read(), rows)
                self._file.seek(0)
                self._file.write(self._format.header)
                self._file.seek(behind)
                self._file.truncate()
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise GateError(
                f"{self.name} cannot be written: {error.strerror or error}. What it holds stays valid: "
                "run the same command again to continue behind it."
            ) from None

    def close(self) -> None:
        """See `Sheet.close`; a file that this run made and left empty is removed."""
        try:
            is_empty = os.fstat(self._file.fileno()).st_size == 0
            self._file.close()
        except OSError:
            # A full disk was told by `append`; what its buffer still holds cannot be written now either.
            is_empty = False
        if is_empty and self._is_new:
            self._path.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise GateError(f"{self.name} is being written by another run. Wait for it, or give another -o.") from None
        except OSError:
            # Some network file systems have no locks; they are then without this protection.
            return

    def _has_header(self, found: bytes) -> bool:
        header = self._format.header
        if not header.startswith(found):
            raise GateError(
                f"{self.name} does not begin as this command would write it ({header.decode().strip()}). {REMEDY}"
            )
        return len(found) == len(header)

    def _parsed(self, line: bytes) -> Row:
        try:
            return self._format.parse(line)
        except ValueError as error:
            shown = line[:80].decode("utf-8", "replace")
            raise GateError(f"{self.name} holds {shown!r}, which is no row of this format: {error}. {REMEDY}") from None

    def _check_replaced(self, rest: bytes, rows: Sequence[Row]) -> None:
        """What a killed run left behind the last whole batch must be the beginning of what replaces it."""
        *lines, torn = rest.split(b"\n")
        paths = [self._parsed(line).path for line in lines]
        fits = paths == [row.path for row in rows[: len(lines)]]
        if fits and torn and len(lines) < len(rows):
            row = rows[len(lines)]
            # No further than the path: the number behind it may differ in its last digits.
            shared = min(len(torn), len(row.path.encode(errors="surrogateescape")))
            fits = self._format.line(row).startswith(torn[:shared])
        if not fits:
            raise GateError(f"{self.name} holds rows that do not belong to these inputs. {REMEDY}")


class StreamSheet:
    """Rows that go to a pipe or terminal and cannot be continued."""

    def __init__(self, stream: BinaryIO, row_format: RowFormat, name: str = "standard output") -> None:
        self.name = name
        self._stream = stream
        self._format = row_format

    def existing(self) -> Iterator[tuple[Row, int]]:
        """Nothing."""
        return iter(())

    def start(self) -> int:
        """See `Sheet.start`."""
        return 0

    def append(self, rows: Sequence[Row], *, behind: int | None = None) -> None:
        """See `Sheet.append`. Raises `BrokenPipeError` when the reader has gone."""
        data = b"".join(self._format.line(row) for row in rows)
        try:
            self._stream.write(data if behind is None else self._format.header + data)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise GateError(f"{self.name} cannot be written: {error.strerror or error}.") from None

    def close(self) -> None:
        """The stream belongs to the caller."""
