"""Batches: which pictures a training step sees, decided by the seed and the step alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from gate.lab.distill.material import Material
from gate.lab.distill.recipe import Recipe
from gate.lab.distill.spoil import disguise, faceless
from gate.lab.distill.teach import Samples
from gate.lab.results import IndexArray
from gate.types import FloatArray, Image

FACELESS_LABEL = -0.1
"""Label of a picture without a face, below that of every face: cosines of strangers are about 0."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network learns from."""

    material: Material
    samples: Samples

    labels: FloatArray
    """(S,) float32, NaN for samples that are left out."""

    embeddings: FloatArray | None
    """(S, D) the teacher's that the student's embeddings are kept near, of the crops themselves or of all samples."""

    taught: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """(S,) samples to train on; the others are held back."""

    known: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """(S,) samples of people with several crops."""

    seed: int


@dataclass(frozen=True, eq=False)
class Batch:
    """B pictures."""

    crops: Image
    """(B, 112, 112, 3) uint8 RGB."""

    labels: FloatArray
    """(B,) float32."""

    embeddings: FloatArray | None
    """(B, D) float32, the teacher's; rows of zeros for pictures without a face."""

    clean: IndexArray
    """(B,) place in the batch of the crop before it was spoilt, -1 where there is none."""


class Timetable:
    """The batches of a run."""

    def __init__(self, lesson: Lesson, recipe: Recipe) -> None:
        self._lesson = lesson
        self._recipe = recipe
        learnt = lesson.taught & ~np.isnan(lesson.labels)
        clean = np.flatnonzero(learnt & (lesson.samples.version == 0))
        self._known, self._other = clean[lesson.known[clean]], clean[~lesson.known[clean]]
        count = np.bincount(lesson.samples.index)
        self._versions = count - 1
        self._size = int(np.count_nonzero(learnt))

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return max(1, round(self._recipe.epochs * self._size / self._recipe.batch))

    def batches(self, first_step: int) -> Iterator[Batch]:
        """The batches from a step on, made two ahead by another thread."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.batch, step) for step in range(first_step, min(first_step + 2, self.steps))]
            for step in range(first_step, self.steps):
                batch = waiting.pop(0).result()
                if step + 2 < self.steps:
                    waiting.append(pool.submit(self.batch, step + 2))
                yield batch

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        lesson, recipe = self._lesson, self._recipe
        rng = np.random.default_rng([lesson.seed, 2, step])
        empty = round(recipe.batch * recipe.faceless)
        spoilt = round(recipe.batch * recipe.spoilt)
        rows = self._drawn(rng, recipe.batch - empty - spoilt)
        clean = np.full(recipe.batch, -1, dtype=np.int32)
        worse: list[np.int64] = []
        for place in np.resize(rng.permutation(len(rows)), spoilt) if len(rows) else ():
            versions = self._versions[lesson.samples.index[rows[place]]]
            if versions:
                clean[len(rows) + len(worse)] = place
                worse.append(rows[place] + rng.integers(1, versions + 1))
        rows = np.concatenate([rows, np.asarray(worse, dtype=rows.dtype)])
        crops = [disguise(lesson.samples.picture(lesson.material, int(row), lesson.seed), rng) for row in rows]
        crops += [faceless(rng) for _ in range(empty)]
        labels = np.concatenate([lesson.labels[rows], np.full(empty, FACELESS_LABEL, dtype=np.float32)])
        return Batch(np.stack(crops), labels, self._embeddings(rows, empty), clean[: len(crops)])

    def _drawn(self, rng: np.random.Generator, count: int) -> IndexArray:
        """Rows of clean samples; each pass over them is its own order."""
        share = self._recipe.known_share
        if share is None:
            share = len(self._known) / max(1, len(self._known) + len(self._other))
        known = round(count * share) if len(self._known) and len(self._other) else count * bool(len(self._known))
        parts = [
            rng.choice(rows, number, replace=number > len(rows))
            for rows, number in ((self._known, known), (self._other, count - known))
            if number
        ]
        return np.concatenate(parts)

    def _embeddings(self, rows: IndexArray, empty: int) -> FloatArray | None:
        if self._lesson.embeddings is None:
            return None
        values = self._lesson.embeddings[rows].astype(np.float32)
        return np.concatenate([values, np.zeros((empty, values.shape[1]), dtype=np.float32)])
