"""The crops to learn from, in memory, with who is who where that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.errors import GateError
from gate.lab.datasets import CropSet, load_crops
from gate.lab.metadata import read_metadata
from gate.lab.results import IndexArray
from gate.types import Image

UNKNOWN = -1
"""Identity number of a crop whose person is not known."""


@dataclass(frozen=True, eq=False)
class Material:
    """N crops."""

    crops: Image
    """(N, 112, 112, 3) uint8 RGB."""

    paths: tuple[str, ...]
    """Path of each crop inside its source."""

    identities: IndexArray
    """(N,) int32: the person's number from 0, `UNKNOWN` where not known."""

    checksum: str
    """sha256 over paths and contents of everything that was read."""

    def __len__(self) -> int:
        return len(self.crops)

    def taken(self, places: IndexArray) -> "Material":
        """Some of the crops."""
        paths = tuple(self.paths[place] for place in places)
        return Material(self.crops[places], paths, self.identities[places], self.checksum)


def read_material(
    sources: Sequence[str], identity_tables: Sequence[Path] = (), *, limit: int | None = None
) -> Material:
    """Read every crop of folders and archives.

    Args:
        sources: folders or tar files of aligned crops.
        identity_tables: csv files whose first column is a path and which have a column `identity`; a crop that is in
            none of them, or whose cell is empty, is of an unknown person.
        limit: keep an evenly spread sample of this many crops of each source.

    Raises:
        GateError: a source cannot be read or holds no crop, or a table has no such column.
    """
    sets = [_sampled(load_crops(source), limit) for source in sources]
    if not sets:
        raise GateError("no crops to learn from; name at least one folder or tar of aligned crops.")
    crops = np.concatenate([_decoded(crop_set) for crop_set in sets])
    paths = tuple(path for crop_set in sets for path in crop_set.paths)
    names = [""] * len(paths)
    for table in identity_tables:
        found = read_metadata(table).values("identity", paths)
        names = [new or old for new, old in zip(found, names, strict=True)]
    checksum = "+".join(crop_set.checksum[:16] for crop_set in sets)
    return Material(crops, paths, _numbers(names), checksum)


def _sampled(crop_set: CropSet, limit: int | None) -> CropSet:
    if limit is None or len(crop_set.paths) <= limit:
        return crop_set
    return crop_set.taken([round(place) for place in np.linspace(0, len(crop_set.paths) - 1, limit)])


def _decoded(crop_set: CropSet) -> Image:
    return np.concatenate([batch for _, batch in crop_set.batches(range(len(crop_set.paths)))])


def _numbers(names: Sequence[str]) -> IndexArray:
    known = sorted({name for name in names if name})
    number = {name: place for place, name in enumerate(known)}
    return np.array([number.get(name, UNKNOWN) for name in names], dtype=np.int32)


def held_back(material: Material, share: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which crops take no part in training, (N,) bool: whole people where people are known, single crops elsewhere."""
    rng = np.random.default_rng([seed, 1])
    people = int(material.identities.max(initial=-1)) + 1
    out_people = rng.random(people) < share
    out_crops = rng.random(len(material)) < share
    known = material.identities != UNKNOWN
    out_crops[known] = out_people[material.identities[known]]
    return out_crops
