"""Embeddings of crops, computed through the cache or read from a file, and the similarity of pairs."""

import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.errors import GateError
from gate.lab.cache import Cache
from gate.lab.datasets import CropSet
from gate.lab.pairs import Comparisons, PathIndex
from gate.lab.recognizers import Embedder
from gate.lab.results import Recognizer
from gate.scoring.inputs import read_list
from gate.types import FloatArray, Image

_CHUNK = 1024
"""Pairs at once: both sides of 512 numbers take 4 MB and stay in the cache. 3 million pairs take 2.0 s; with chunks of
4096, 2.7 s; as blocks of the full product, 2.8 s."""

Progress = Callable[[str, int, int], None]
"""What is being done, how many images are done, how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What the recognizer says of N images."""

    recognizer: Recognizer
    plain: FloatArray
    """(N, D) float32, of the crops, any length."""

    mirrored: FloatArray | None
    """(N, D) float32, of the crops' mirror images; None when not asked for, or not in the file."""


def compute_embeddings(
    embedder: Embedder, crops: CropSet, cache: Cache, *, mirrored: bool, progress: Progress | None = None
) -> Embeddings:
    """Embed every crop that the cache does not know yet, and its mirror image where wanted."""
    plain, ms_per_crop = _through_cache(embedder, crops, cache, mirror=False, progress=progress)
    twin = _through_cache(embedder, crops, cache, mirror=True, progress=progress)[0] if mirrored else None
    recognizer = Recognizer(embedder.name, embedder.model, embedder.sha256, embedder.kind, plain.shape[1], ms_per_crop)
    return Embeddings(recognizer, plain, twin)


def _through_cache(
    embedder: Embedder, crops: CropSet, cache: Cache, *, mirror: bool, progress: Progress | None
) -> tuple[FloatArray, float]:
    def compute(places: Sequence[int]) -> tuple[FloatArray, float]:
        rows: list[FloatArray] = []
        seconds = 0.0
        for _, images in crops.batches(places):
            start_s = time.perf_counter()
            rows.append(embedder.embed(mirror_images(images) if mirror else images))
            seconds += time.perf_counter() - start_s
        return np.concatenate(rows), seconds

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(f"{embedder.name}{', mirrored' if mirror else ''}", done, total)

    kind = f"embedding-{embedder.name}"
    return cache.fetch(kind, {**embedder.identity, "mirror": mirror}, crops.digests, compute, progress=tell)


def mirror_images(images: Image) -> Image:
    """(N, H, W, 3) crops, left and right exchanged."""
    return np.ascontiguousarray(images[:, :, ::-1])


def read_embeddings(path: Path, paths: Sequence[str]) -> Embeddings:
    """Embeddings that were computed elsewhere.

    Args:
        path: `.npz` with `names` (M,) and `embeddings` (M, D), and `mirrored` (M, D) where they are known; or `.npy`
            (M, D) beside a text file of the same name with `.txt`, one image path a line.
        paths: N images whose rows are wanted; names are matched as `gate.lab.pairs.PathIndex` does.

    Raises:
        GateError: the file cannot be read, has other arrays, or lacks an image.
    """
    from gate.weights.sums import sha256_of

    names, arrays = _arrays(path)
    for array in arrays:
        if array.ndim != 2 or len(array) != len(names) or not np.isfinite(array).all():
            raise GateError(
                f"embeddings {path}: {len(names)} names need ({len(names)}, D) finite numbers, "
                f"got {array.shape} {array.dtype}."
            )
    index = PathIndex(names)
    found = [index.find(name) for name in paths]
    places = [place for place in found if place is not None]
    if len(places) < len(paths):
        lost = paths[found.index(None)]
        raise GateError(
            f"embeddings {path}: {len(paths) - len(places)} of {len(paths)} images are not in it, such as {lost}."
        )
    plain, *mirrored = (array[places].astype(np.float32) for array in arrays)
    digest = sha256_of(path)
    recognizer = Recognizer(path.name, f"{path.name}@{digest[:8]}", digest, "embeddings", plain.shape[1], float("nan"))
    return Embeddings(recognizer, plain, mirrored[0] if mirrored else None)


def _arrays(path: Path) -> tuple[list[str], list[FloatArray]]:
    try:
        if path.suffix == ".npy":
            return read_list(path.with_suffix(".txt")), [np.load(path, allow_pickle=False)]
        # Given the path, numpy leaves the file open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            wanted = ["embeddings", *(["mirrored"] if "mirrored" in data else [])]
            return [str(name) for name in data["names"]], [data[name] for name in wanted]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise GateError(
            f"embeddings {path} cannot be read: {error}. Give an .npz with names and embeddings, or an .npy and beside "
            "it a .txt with one path a line."
        ) from None


def unit(embeddings: FloatArray, paths: Sequence[str]) -> FloatArray:
    """(N, D) embeddings at length 1.

    Raises:
        GateError: an embedding is zero or not finite, so that it has no direction.
    """
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    bad = np.flatnonzero(~(lengths[:, 0] > 0) | ~np.isfinite(lengths[:, 0]))
    if len(bad):
        raise GateError(f"{len(bad)} embedding(s) are zero or not finite, such as that of {paths[bad[0]]}.")
    result: FloatArray = (embeddings / lengths).astype(np.float32)
    return result


def similarities(units: FloatArray, pairs: Comparisons) -> FloatArray:
    """(P,) float32 cosines of pairs of (N, D) unit embeddings, in chunks."""
    result = np.empty(len(pairs.first), dtype=np.float32)
    for start in range(0, len(result), _CHUNK):
        rows = slice(start, start + _CHUNK)
        result[rows] = np.einsum("ij,ij->i", units[pairs.first[rows]], units[pairs.second[rows]])
    return result
