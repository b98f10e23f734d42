"""Aligned crops with identities, from a folder or an archive."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from gate.errors import GateError
from gate.lab.pairs import Comparisons, PathIndex
from gate.lab.results import IndexArray
from gate.scoring.fault import Failure, Fault
from gate.scoring.images import decode
from gate.scoring.inputs import Item, open_sources
from gate.scoring.tars import TarItem
from gate.types import CROP_SIDE_PX, Image

BATCH = 64
"""Crops decoded at once: 2.4 MB."""


@dataclass(frozen=True, slots=True)
class CropFile:
    """One crop, not yet decoded."""

    item: Item
    sha256: str
    """Of the image file's bytes: the key under which what was computed on it is kept."""


@dataclass(frozen=True, eq=False)
class CropSet:
    """N readable crops. Those of an archive stay in memory, encoded; those of a folder stay on the disk."""

    source: str
    """The folder or archive as the user named it."""

    paths: tuple[str, ...]
    """N paths relative to the folder, or as the archive has them."""

    files: tuple[CropFile, ...]
    failures: tuple[Failure, ...]
    """Images left out because they cannot be read or are no aligned crops."""

    def image(self, path: str) -> Image:
        """The crop (112, 112, 3) uint8 RGB of one of `paths`.

        Raises:
            KeyError: no crop has this path.
            GateError: the file has changed since it was first read.
        """
        return self._decoded(self._places[path])

    def batches(self, places: Sequence[int]) -> Iterator[tuple[Sequence[int], Image]]:
        """The crops at these places, up to 64 at a time: (places, (n, 112, 112, 3) uint8 RGB)."""
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            yield some, np.stack([self._decoded(place) for place in some])

    @property
    def digests(self) -> tuple[str, ...]:
        """sha256 of each crop's file."""
        return tuple(file.sha256 for file in self.files)

    @property
    def checksum(self) -> str:
        """sha256 over the sorted list of path and sha256."""
        lines = sorted(f"{path} {file.sha256}\n" for path, file in zip(self.paths, self.files, strict=True))
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def taken(self, places: Sequence[int]) -> "CropSet":
        """Some of the crops."""
        paths, files = tuple(self.paths[place] for place in places), tuple(self.files[place] for place in places)
        return CropSet(self.source, paths, files, self.failures)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {path: place for place, path in enumerate(self.paths)}

    def _decoded(self, place: int) -> Image:
        data = self.files[place].item.read()
        image = data if isinstance(data, Fault) else decode(data, side_px=CROP_SIDE_PX)
        if isinstance(image, Fault):
            raise GateError(f"{self.source}: {self.paths[place]} can no longer be read ({image}). Start again.")
        return image


def load_crops(source: str) -> CropSet:
    """Read every crop of a folder or archive once: what it is called, its checksum, and whether it can be decoded.

    Raises:
        GateError: there is no such folder or archive, it holds no crop, or two of its images have one path.
    """
    (entries,) = open_sources([source])
    root = Path(source)
    files: dict[str, CropFile] = {}
    failures: list[Failure] = []
    for entry in entries:
        path = _relative(entry.path, root)
        outcome = entry.fault if isinstance(entry, Failure) else _checked(entry)
        if isinstance(outcome, Fault):
            failures.append(Failure(path, outcome))
            continue
        if path in files:
            raise GateError(f"{source} holds {path} twice; remove one of them.")
        files[path] = outcome
    if not files:
        why = f" The first of {len(failures)} faults: {failures[0].path}: {failures[0].fault}." if failures else ""
        raise GateError(f"{source} holds no aligned crops of {CROP_SIDE_PX}x{CROP_SIDE_PX} px.{why}")
    return CropSet(source, tuple(files), tuple(files.values()), tuple(failures))


def _relative(path: str, root: Path) -> str:
    whole = PurePosixPath(path)
    return str(whole.relative_to(root)) if root.is_dir() and whole.is_relative_to(root) else path.removeprefix("./")


def _checked(item: Item) -> CropFile | Fault:
    data = item.read()
    if isinstance(data, Fault):
        return data
    image = decode(data, side_px=CROP_SIDE_PX)
    if isinstance(image, Fault):
        return image
    kept = TarItem(item.path, data) if isinstance(item, TarItem) else item
    return CropFile(kept, hashlib.sha256(data).hexdigest())


def folder_identities(paths: Sequence[str]) -> list[str]:
    """Name of each image's parent folder, empty for an image that is in none.

    >>> folder_identities(["lfw/Ann_Lee/Ann_Lee_0001.jpg", "0001.jpg"])
    ['Ann_Lee', '']
    """
    return [PurePosixPath(path).parent.name for path in paths]


def table_identities(table: Mapping[str, str], paths: Sequence[str], where: str) -> list[str]:
    """Identity of each image from a table path → identity.

    Raises:
        GateError: an image is not in the table.
    """
    index = PathIndex(list(table))
    values = list(table.values())
    places = [index.find(path) for path in paths]
    lost = [path for path, place in zip(paths, places, strict=True) if place is None]
    if lost:
        raise GateError(f"{where}: {len(lost)} of {len(paths)} images have no identity in it, such as {lost[0]}.")
    return [values[place] for place in places if place is not None]


def identities_of_pairs(comparisons: Comparisons, images: int) -> IndexArray:
    """Who is who from the pairs alone, (images,) int32: images that genuine pairs join, however far around, are one."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    genuine = comparisons.genuine()
    ones = np.ones(genuine.n_genuine, dtype=np.int8)
    graph = sparse.coo_matrix((ones, (genuine.first, genuine.second)), (images, images))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels, dtype=np.int32)


def numbered(names: Sequence[str]) -> IndexArray:
    """Identity names to (N,) int32 numbers from 0 in the names' order."""
    return np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)[1].astype(np.int32)


def contradictions(comparisons: Comparisons, identities: IndexArray) -> int:
    """Pairs whose label (one person, two people) is not what the identities of their images say."""
    agree = (identities[comparisons.first] == identities[comparisons.second]) == comparisons.same
    return int(np.count_nonzero(~agree))
