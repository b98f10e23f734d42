"""What teacher recognizers make of every crop and of its degraded versions, kept on disk as it comes."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gate.errors import GateError
from gate.lab.distill.material import Material
from gate.lab.distill.spoil import spoil
from gate.lab.results import IndexArray
from gate.types import FloatArray, Image

SHARD = 2048
"""Samples a file: what an interruption can cost is half a minute."""


class Teacher(Protocol):
    """A recognition network."""

    name: str

    @property
    def model(self) -> str:
        """name@first 8 of sha256."""
        ...

    def embed(self, crops: Image) -> FloatArray:
        """(N, 112, 112, 3) uint8 RGB to (N, D) float32, not normalised where the network does not force it."""
        ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Which picture each row is: crop `index`, and its degraded `version` (0 is the crop itself)."""

    index: IndexArray
    version: IndexArray

    def __len__(self) -> int:
        return len(self.index)

    def picture(self, material: Material, row: int, seed: int) -> Image:
        """The crop of a row, (112, 112, 3) uint8 RGB."""
        index, version = int(self.index[row]), int(self.version[row])
        crop: Image = material.crops[index]
        return crop if version == 0 else spoil(crop, seed=seed, index=index, version=version).crop


def plan_samples(material: Material, versions: Sequence[int]) -> Samples:
    """Every crop itself and `versions[i]` degraded versions of crop i, all versions of a crop side by side."""
    count = np.asarray(versions, dtype=np.int32) + 1
    if len(count) != len(material):
        raise GateError(f"{len(count)} counts of versions for {len(material)} crops")
    index = np.repeat(np.arange(len(count), dtype=np.int32), count)
    starts = np.repeat(np.cumsum(count) - count, count)
    return Samples(index, (np.arange(len(index)) - starts).astype(np.int32))


def taught(
    teachers: Sequence[Teacher],
    material: Material,
    samples: Samples,
    *,
    seed: int,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
    workers: int = 1,
) -> dict[str, FloatArray]:
    """Embeddings by every teacher of every sample; a run that was stopped goes on where it was.

    Returns:
        Teacher's name → (samples, D) float16 on disk.

    Raises:
        GateError: the folder cannot be written or holds another run's files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, teachers, material, samples, seed)
    starts = range(0, len(samples), SHARD)
    for start in starts:
        path = folder / f"{start:08d}.npz"
        rows = range(start, min(start + SHARD, len(samples)))
        if not path.exists():
            answers: dict[str, Any] = _answers(teachers, material, samples, rows, seed=seed, workers=workers)
            part = path.with_suffix(".part.npz")
            np.savez(part, **answers)
            part.replace(path)
        progress(rows.stop)
    return {teacher.name: _joined(folder, starts, teacher.name) for teacher in teachers}


def _answers(
    teachers: Sequence[Teacher], material: Material, samples: Samples, rows: range, *, seed: int, workers: int
) -> dict[str, FloatArray]:
    def one(chunk: range) -> list[FloatArray]:
        pictures = np.stack([samples.picture(material, row, seed) for row in chunk])
        return [teacher.embed(pictures).astype(np.float16) for teacher in teachers]

    chunks = list(_chunks(rows, 64))
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(one, chunks))
    return {teacher.name: np.concatenate([part[k] for part in parts]) for k, teacher in enumerate(teachers)}


def _chunks(rows: range, size: int) -> Iterator[range]:
    for start in range(rows.start, rows.stop, size):
        yield range(start, min(start + size, rows.stop))


def _joined(folder: Path, starts: range, name: str) -> FloatArray:
    return np.concatenate([np.load(folder / f"{start:08d}.npz")[name] for start in starts])


def _claim(folder: Path, teachers: Sequence[Teacher], material: Material, samples: Samples, seed: int) -> None:
    plan = hashlib.sha256(samples.index.tobytes() + samples.version.tobytes()).hexdigest()
    facts = {
        "teachers": [teacher.model for teacher in teachers],
        "crops": material.checksum,
        "samples": plan,
        "seed": seed,
    }
    path = folder / "taught.json"
    text = json.dumps(facts, indent=1) + "\n"
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise GateError(f"{folder} holds what other teachers or crops gave; name another folder or empty this one.")
        return
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
