"""Score files read back: those of `gate score`, and those of the published tools."""

import codecs
import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from gate.errors import GateError
from gate.scoring.formats import TextRows, format_of
from gate.scoring.pickled import read_pickle


def read_scores(path: str | Path, *, column: str = "score") -> dict[str, float]:
    """Read path → score, in the file's order.

    Args:
        path: the extension says what it is: csv, jsonl or ndjson, pkl or pickle; anything else is text with
            `path score` a line, where the score is what follows the last space.
        column: which column of a csv or jsonl file; the other formats have only one.

    Raises:
        GateError: the file cannot be read, is empty, names a path twice, or holds anything but finite numbers; the
            message names the line.
    """
    file = Path(path)
    scores: dict[str, float] = {}
    for place, name, score in _pairs(file, column):
        if not math.isfinite(score):
            raise GateError(f"{file}, {place}: the score of {name} is {score}, not a finite number.")
        if name in scores:
            raise GateError(f"{file}, {place}: {name} has a score already.")
        scores[name] = score
    if not scores:
        raise GateError(f"{file} holds no scores.")
    return scores


class _LineError(ValueError):
    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")


_Pairs: TypeAlias = Iterator[tuple[str, str, float]]
"""Where it stands, path, score."""


def _pairs(file: Path, column: str) -> _Pairs:
    read = {"csv": _csv_pairs, "jsonl": _json_pairs, "pickle": _pickled_pairs}.get(format_of(file.name), _text_pairs)
    try:
        yield from read(file, column)
    except OSError as error:
        raise GateError(f"{file}: {error.strerror or error}.") from None
    except _LineError as error:
        raise GateError(f"{file}, {error}.") from None


def _pickled_pairs(file: Path, _column: str) -> _Pairs:
    return (("pickle", name, score) for name, score in read_pickle(file).items())


def _text_pairs(file: Path, _column: str) -> _Pairs:
    rows = TextRows()
    for place, line in _lines(file):
        try:
            row = rows.parse(line)
        except ValueError:
            raise _LineError(place, f"expected a path, a space and a number, got {_shown(line)}") from None
        yield f"line {place}", row.path, row.numbers[0]


def _json_pairs(file: Path, column: str) -> _Pairs:
    for place, line in _lines(file):
        try:
            document: Any = json.loads(line)
        except ValueError:
            raise _LineError(place, f"not JSON: {_shown(line)}") from None
        if not isinstance(document, dict) or not isinstance(document.get("path"), str):
            raise _LineError(place, f"expected an object with a path, got {_shown(line)}")
        score = document.get(column)
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            raise _LineError(place, f"expected a number as {column}, got {score!r}")
        yield f"line {place}", document["path"], float(score)


def _csv_pairs(file: Path, column: str) -> _Pairs:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            header = next(rows, [])
            if "path" not in header or column not in header:
                raise _LineError(1, f"expected a header with path and {column}, got {','.join(header)[:80]!r}")
            path_at, score_at = header.index("path"), header.index(column)
            for cells in rows:
                if len(cells) != len(header):
                    raise _LineError(rows.line_num, f"expected {len(header)} cells, got {len(cells)}")
                yield f"line {rows.line_num}", cells[path_at], _number(cells[score_at], rows.line_num)
        except csv.Error as error:
            raise _LineError(rows.line_num, str(error)) from None


def _number(text: str, place: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise _LineError(place, f"expected a number, got {text[:80]!r}") from None


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends; a carriage return before the end belongs to it."""
    with file.open("rb") as data:
        for place, line in enumerate(data, start=1):
            start = line.removeprefix(codecs.BOM_UTF8) if place == 1 else line
            yield place, start.removesuffix(b"\n").removesuffix(b"\r")


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("utf-8", "replace"))
