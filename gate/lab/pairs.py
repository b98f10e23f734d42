"""Which images are compared: pair files of three formats, or all genuine pairs and a sample of impostors."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.lab.results import BoolArray, IndexArray

FORMATS = (
    "LFW's pairs.txt (`name i j`, `name_a i name_b j`), `path_a path_b 1|0` a line, or a csv with the header a,b,same"
)

_YES = frozenset({"1", "true", "yes"})
_NO = frozenset({"0", "-1", "false", "no"})


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Pairs of images by index."""

    first: IndexArray
    """(P,) int32 index of the first image."""

    second: IndexArray
    """(P,) int32 index of the second image."""

    same: BoolArray
    """(P,) True for two images of one person."""

    @property
    def n_genuine(self) -> int:
        """How many pairs show one person."""
        return int(np.count_nonzero(self.same))

    @property
    def n_impostor(self) -> int:
        """How many pairs show two people."""
        return len(self.same) - self.n_genuine

    def genuine(self) -> "Comparisons":
        """The genuine pairs alone."""
        return self.taken(np.flatnonzero(self.same))

    def taken(self, places: npt.NDArray[np.integer]) -> "Comparisons":
        """Some of the pairs."""
        return Comparisons(self.first[places], self.second[places], self.same[places])

    def joined(self, other: "Comparisons") -> "Comparisons":
        """These pairs, then the others."""
        return Comparisons(
            np.concatenate([self.first, other.first]),
            np.concatenate([self.second, other.second]),
            np.concatenate([self.same, other.same]),
        )


@dataclass(frozen=True, slots=True)
class NamedPair:
    """A line of a pair file."""

    first: str
    """Path, or `Name/Name_0001` without an extension where the format has none."""

    second: str
    same: bool
    line: int
    """Counted from 1."""


class PathIndex:
    """Finds images by names that other people wrote.

    A name fits its exact path; else the path without its extension; else what ends in the same folder and name; else
    what has the same name. The first of these rules that fits exactly one image decides.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """Index N paths."""
        self._tables: list[tuple[Callable[[str], str], dict[str, int]]] = []
        for rule in (str, _normal, _bare, lambda path: _tail(path, 2), lambda path: _tail(path, 1)):
            self._tables.append((rule, _unique(rule(path) for path in paths)))

    def find(self, name: str) -> int | None:
        """Index of the image that `name` means; None when there is none, or more than one."""
        for rule, table in self._tables:
            place = table.get(rule(name))
            if place is not None:
                return place
        return None


def _unique(keys: Iterator[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    twice: set[str] = set()
    for place, key in enumerate(keys):
        if key in found:
            twice.add(key)
        found[key] = place
    return {key: place for key, place in found.items() if key not in twice}


def _normal(path: str) -> str:
    return str(PurePosixPath(path.replace("\\", "/")))


def _bare(path: str) -> str:
    whole = PurePosixPath(_normal(path))
    return str(whole.with_suffix("")) if whole.suffix else str(whole)


def _tail(path: str, parts: int) -> str:
    return "/".join(PurePosixPath(_bare(path)).parts[-parts:])


def read_pairs(path: Path) -> list[NamedPair]:
    """Read a pair file; its format is told by its lines.

    Raises:
        GateError: the file cannot be read, holds no pairs, or a line is of no known format; the message names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise GateError(f"pairs {path}: {reason}. Give {FORMATS}.") from None
    lines = text.splitlines()
    heading = [cell.strip() for cell in lines[0].split(",")] if lines else []
    pairs = list(_csv_pairs(path, lines) if {"a", "b", "same"} <= set(heading) else _text_pairs(path, lines))
    if not pairs:
        raise GateError(f"pairs {path}: no pairs in it. Give {FORMATS}.")
    return pairs


def _csv_pairs(path: Path, lines: list[str]) -> Iterator[NamedPair]:
    rows = csv.DictReader(lines, skipinitialspace=True)
    for row in rows:
        first, second = row["a"], row["b"]
        if not first or not second:
            raise GateError(f"pairs {path}, line {rows.line_num}: a and b must both name an image.")
        yield NamedPair(first, second, _same(path, rows.line_num, row["same"] or ""), rows.line_num)


def _text_pairs(path: Path, lines: list[str]) -> Iterator[NamedPair]:
    for number, line in enumerate(lines, start=1):
        cells = _cells(line)
        is_heading = number == 1 and len(cells) <= 2 and all(cell.isdecimal() for cell in cells)
        if cells and not is_heading:
            yield _text_pair(path, number, cells)


def _cells(line: str) -> list[str]:
    """Cells between tabs or commas where the line has any, else between spaces: paths may hold spaces."""
    for separator in ("\t", ","):
        if separator in line:
            return [cell.strip() for cell in line.split(separator) if cell.strip()]
    return line.split()


def _text_pair(path: Path, number: int, cells: list[str]) -> NamedPair:
    if len(cells) == 4 and cells[1].isdecimal() and cells[3].isdecimal():
        return NamedPair(_lfw(cells[0], cells[1]), _lfw(cells[2], cells[3]), same=False, line=number)
    if len(cells) == 3 and cells[1].isdecimal() and cells[2].isdecimal():
        return NamedPair(_lfw(cells[0], cells[1]), _lfw(cells[0], cells[2]), same=True, line=number)
    if len(cells) == 3:
        return NamedPair(cells[0], cells[1], _same(path, number, cells[2]), number)
    raise GateError(f"pairs {path}, line {number}: {' '.join(cells)[:80]!r} is no pair. Give {FORMATS}.")


def _lfw(name: str, number: str) -> str:
    """The official file name, without its extension.

    >>> _lfw("Abel_Pacheco", "4")
    'Abel_Pacheco/Abel_Pacheco_0004'
    """
    return f"{name}/{name}_{int(number):04d}"


def _same(path: Path, number: int, text: str) -> bool:
    word = text.strip().lower()
    if word not in _YES | _NO:
        raise GateError(f"pairs {path}, line {number}: {text!r} must be 1 (one person) or 0 (two people).")
    return word in _YES


def resolve(pairs: Sequence[NamedPair], paths: Sequence[str]) -> tuple[Comparisons, list[NamedPair]]:
    """Pairs of names to pairs of indices into `paths`, and those whose images are not there."""
    index = PathIndex(paths)
    places = [(index.find(pair.first), index.find(pair.second)) for pair in pairs]
    found = [(a, b, pair.same) for (a, b), pair in zip(places, pairs, strict=True) if a is not None and b is not None]
    lost = [pair for (a, b), pair in zip(places, pairs, strict=True) if a is None or b is None]
    columns = np.array(found, dtype=np.int32).reshape(-1, 3)
    return Comparisons(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.bool_)), lost


def genuine_pairs(identities: IndexArray, most_per_identity: int, seed: int) -> Comparisons:
    """All pairs of images of one person; of a person with more than `most_per_identity`, a seeded choice of so many.

    Args:
        identities: (N,) int32 identity of each image.
        most_per_identity: at least 1.
        seed: of the choice; a person's choice does not depend on who else is there.
    """
    order = np.argsort(identities, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(identities[order])) + 1)
    chosen = [_within(group, most_per_identity, seed) for group in groups if len(group) > 1]
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int32), *chosen])
    return Comparisons(pairs[:, 0], pairs[:, 1], np.ones(len(pairs), dtype=np.bool_))


def _within(group: npt.NDArray[np.integer], most: int, seed: int) -> IndexArray:
    a, b = np.triu_indices(len(group), k=1)
    if len(a) > most:
        random = np.random.default_rng([seed, int(group[0])])
        kept = np.sort(random.choice(len(a), size=most, replace=False))
        a, b = a[kept], b[kept]
    return np.stack([group[a], group[b]], axis=1).astype(np.int32)


def impostor_pairs(identities: IndexArray, count: int, seed: int) -> Comparisons:
    """`count` different pairs of images of different people, each as likely as the next; all where there are fewer.

    Args:
        identities: (N,) int32 identity of each image.
        count: how many are wanted.
        seed: of the sample.
    """
    images = len(identities)
    sizes = np.bincount(identities).astype(np.int64)
    there_are = (images**2 - int(np.sum(sizes**2))) // 2
    if there_are == 0 or count == 0:
        nothing = np.empty(0, dtype=np.int32)
        return Comparisons(nothing, nothing, np.empty(0, dtype=np.bool_))
    if 2 * count >= there_are:
        a, b = np.triu_indices(images, k=1)
        codes = (a.astype(np.int64) * images + b)[identities[a] != identities[b]]
    else:
        codes = _drawn(identities, count, seed)
    if len(codes) > count:
        codes = np.sort(np.random.default_rng([seed, images]).choice(codes, size=count, replace=False))
    first, second = (part.astype(np.int32) for part in np.divmod(codes, images))
    return Comparisons(first, second, np.zeros(len(codes), dtype=np.bool_))


def _drawn(identities: IndexArray, count: int, seed: int) -> npt.NDArray[np.int64]:
    """At least `count` different codes first * N + second of impostor pairs, first < second; under half of all."""
    random = np.random.default_rng(seed)
    images = len(identities)
    codes = np.empty(0, dtype=np.int64)
    while len(codes) < count:
        ends = random.integers(images, size=(2, count + count // 10 + 1000), dtype=np.int64)
        a, b = ends.min(axis=0), ends.max(axis=0)
        fresh = (a * images + b)[identities[a] != identities[b]]
        ordered = np.sort(np.concatenate([codes, fresh]))
        # numpy.unique takes 7 s for 3 million numbers (2.4).
        codes = ordered[np.diff(ordered, prepend=-1) > 0]
    return codes
