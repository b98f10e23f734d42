"""What is known about the images beside their pixels: a CSV with one row an image."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gate.errors import GateError
from gate.quality.names import nearest


@dataclass(frozen=True, slots=True)
class Metadata:
    """Columns of text, looked up by image."""

    source: str
    """Name of the file, for messages."""

    columns: tuple[str, ...]
    """Names of the columns, without the one that names the image."""

    rows: Mapping[str, Sequence[str]]
    """Image as the file names it → its values, in the order of `columns`."""

    def values(self, column: str, paths: Sequence[str]) -> tuple[str, ...]:
        """The column's value for each image, empty where the file does not know the image or leaves it blank.

        An image is found by its whole path, else by as much of its end as the file gives.

        Raises:
            GateError: There is no such column, or no image at all is known to the file.
        """
        if column not in self.columns:
            raise GateError(f"{self.source}: no column {column!r}{nearest(column, self.columns)}")
        where = self.columns.index(column)
        found = [self._row(path) for path in paths]
        if paths and all(row is None for row in found):
            raise GateError(
                f"{self.source}: none of the {len(paths)} images is in it; its first column must hold their paths, "
                f"such as {paths[0]!r}, and holds {next(iter(self.rows), '')!r}"
            )
        return tuple("" if row is None else row[where].strip() for row in found)

    def _row(self, path: str) -> Sequence[str] | None:
        parts = PurePosixPath(path.replace("\\", "/")).parts
        for start in range(len(parts)):
            row = self.rows.get("/".join(parts[start:]))
            if row is not None:
                return row
        return None


def read_metadata(path: Path) -> Metadata:
    """Read a CSV whose first row names the columns and whose first column names the image.

    Raises:
        GateError: The file cannot be read, is no such CSV, or names an image twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GateError(f"{path}: the metadata cannot be read as CSV: {error}") from None
    if len(lines) < 2 or len(lines[0]) < 2:
        raise GateError(f"{path}: metadata needs a heading row, a first column with image paths, and another column")
    heading = [name.strip() for name in lines[0]]
    rows: dict[str, Sequence[str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(heading):
            raise GateError(f"{path}: row {number} has {len(line)} fields, the heading has {len(heading)}")
        if line[0] in rows:
            raise GateError(f"{path}: row {number} names the image {line[0]!r} a second time")
        rows[line[0]] = line[1:]
    return Metadata(str(path), tuple(heading[1:]), rows)
