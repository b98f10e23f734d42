"""What one line of a score file says, in each format.

Numbers are written as Python writes a float: the shortest text that reads back as the same double, as the published
tools do. All formats therefore read back as the same numbers.
"""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Protocol

TEXT_FORMATS = ("txt", "csv", "jsonl")

_UTF8_ANY = {"encoding": "utf-8", "errors": "surrogateescape"}
"""File names on POSIX are bytes; those that are not UTF-8 pass through unchanged."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known about one image."""

    path: str
    numbers: tuple[float, ...]
    """One finite number for each of the format's columns."""


class RowFormat(Protocol):
    """How rows become lines."""

    header: bytes
    """What the file begins with, line end included; may be empty."""

    def line(self, row: Row) -> bytes:
        """One line, its end included; the path holds no line break."""
        ...

    def parse(self, line: bytes) -> Row:
        """The row of a line without its end; raises `ValueError` for anything that `line` does not write."""
        ...


class TextRows:
    """`path score`; the score is what follows the last space, so that a path may have spaces in it."""

    header = b""

    def line(self, row: Row) -> bytes:
        """See `RowFormat.line`."""
        (number,) = row.numbers
        return f"{row.path} {number!r}\n".encode(**_UTF8_ANY)

    def parse(self, line: bytes) -> Row:
        """See `RowFormat.parse`."""
        path, space, number = line.rpartition(b" ")
        if not (space and path):
            raise ValueError("expected a path, a space and a number")
        return Row(path.decode(**_UTF8_ANY), (float(number),))


class CsvRows:
    """Comma-separated, quoted where needed, one header line."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self.header = _csv_line(("path", *columns))

    def line(self, row: Row) -> bytes:
        """See `RowFormat.line`."""
        return _csv_line((row.path, *(repr(number) for number in row.numbers)))

    def parse(self, line: bytes) -> Row:
        """See `RowFormat.parse`."""
        cells = next(csv.reader([line.decode(**_UTF8_ANY)], strict=True), [])
        if len(cells) != len(self._columns) + 1:
            raise ValueError(f"expected {len(self._columns) + 1} cells, got {len(cells)}")
        return Row(cells[0], tuple(float(cell) for cell in cells[1:]))


class JsonRows:
    """One JSON object a line."""

    header = b""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns

    def line(self, row: Row) -> bytes:
        """See `RowFormat.line`."""
        document = {"path": row.path, **dict(zip(self._columns, row.numbers, strict=True))}
        # ASCII, so that a file name which is not UTF-8 is valid JSON all the same.
        return (json.dumps(document, ensure_ascii=True) + "\n").encode("ascii")

    def parse(self, line: bytes) -> Row:
        """See `RowFormat.parse`."""
        document: Any = json.loads(line)
        if not isinstance(document, dict) or list(document) != ["path", *self._columns]:
            raise ValueError(f"expected an object with path, {', '.join(self._columns)}")
        path, *numbers = document.values()
        if not (isinstance(path, str) and all(type(number) in {int, float} for number in numbers)):
            raise ValueError("expected a text and numbers")
        return Row(path, tuple(float(number) for number in numbers))


def row_format(name: str, columns: tuple[str, ...]) -> RowFormat:
    """The format of that name; `txt` takes one column."""
    if name == "csv":
        return CsvRows(columns)
    return JsonRows(columns) if name == "jsonl" else TextRows()


def format_of(file_name: str) -> str:
    """`txt`, `csv`, `jsonl` or `pickle`, by the file's extension; `txt` for any other.

    >>> format_of("scores.PKL"), format_of("GraFIQs_block2.txt")
    ('pickle', 'txt')
    """
    extension = file_name.lower().rpartition(".")[2]
    return {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "pkl": "pickle", "pickle": "pickle"}.get(
        extension, "txt"
    )


def _csv_line(cells: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(**_UTF8_ANY)
