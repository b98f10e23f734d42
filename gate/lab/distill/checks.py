"""What a student is worth on crops that it has not seen: order against the labels, and errors that go away."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gate.lab.curves import dense_ranks, pair_ranks, step_area, step_curve, threshold_at
from gate.lab.det import spearman
from gate.lab.distill.lessons import Lesson
from gate.lab.distill.material import UNKNOWN
from gate.lab.embeddings import similarities, unit
from gate.lab.pairs import Comparisons, genuine_pairs, impostor_pairs
from gate.lab.results import IndexArray
from gate.types import FloatArray, Image

FMR = 1e-3
DISCARDED = 0.2

_GENUINE_A_PERSON = 200
_IMPOSTORS = 500_000
_SPOILT = 256

Scorer = Callable[[Image], FloatArray]
"""(N, 112, 112, 3) uint8 RGB to (N,) scores."""


@dataclass(frozen=True, eq=False)
class Exam:
    """Crops that were held back, and what is known about them."""

    crops: Image
    labels: FloatArray
    spoilt: Image
    """(K, 112, 112, 3) spoilt versions of the first K crops; none where the run has no such versions."""

    pairs: Comparisons
    """Pairs of the crops whose people are known."""

    similarity: Mapping[str, FloatArray]
    """Recognizer's name → (pairs,) cosines."""

    def results(self, scorer: Scorer) -> dict[str, float]:
        """Name of a check → its number; a check that the crops do not allow is left out."""
        if not len(self.crops):
            return {}
        scores = scorer(self.crops)
        found = {"spearman with labels": _rho(scores, self.labels)}
        for name, similarity in self.similarity.items():
            found[f"pAUC {name}"] = self._area(scores, similarity)
        if len(self.spoilt):
            found["spoilt below clean"] = float((scorer(self.spoilt) < scores[: len(self.spoilt)]).mean())
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def described(self) -> str:
        """How much the numbers rest on."""
        text = f"{len(self.crops):,} crops"
        if self.similarity:
            text += f", {self.pairs.n_genuine:,} genuine and {self.pairs.n_impostor:,} impostor pairs of known people"
        return text

    def _area(self, scores: FloatArray, similarity: FloatArray) -> float:
        """Normalised pAUC to 20 % discarded at FMR 1e-3; NaN where there are no errors to discard."""
        ranks, count = dense_ranks(scores)
        genuine = np.flatnonzero(self.pairs.same)
        threshold = np.float32(threshold_at(similarity[~self.pairs.same], FMR))
        kept = pair_ranks(ranks, self.pairs.first[genuine], self.pairs.second[genuine])
        return step_area(step_curve(kept, similarity[genuine] <= threshold, count), DISCARDED).normalised


def held_back_exam(lesson: Lesson, embeddings: Mapping[str, FloatArray], most: int | None = None) -> Exam:
    """The crops that training does not see.

    Args:
        lesson: what is learnt, and what is not.
        embeddings: recognizer's name → (S, D) of all samples.
        most: keep at most about so many crops; whole people where people are known.
    """
    samples, material = lesson.samples, lesson.material
    rows = np.flatnonzero((samples.version == 0) & ~lesson.taught & ~np.isnan(lesson.labels)).astype(np.int32)
    if most is not None:
        rows = _fewer(rows, material.identities[samples.index[rows]], most)
    places = samples.index[rows]
    people = material.identities[places]
    pairs = _pairs(people, lesson.seed)
    similarity = {}
    if pairs.n_genuine and pairs.n_impostor:
        names = tuple(material.paths[place] for place in places)
        units = {name: unit(values[rows].astype(np.float32), names) for name, values in embeddings.items()}
        similarity = {name: similarities(values, pairs) for name, values in units.items()}
    worse = [int(row) + 1 for row in rows[:_SPOILT] if row + 1 < len(samples) and samples.version[row + 1] == 1]
    spoilt = [samples.picture(material, row, lesson.seed) for row in worse] if len(worse) == len(rows[:_SPOILT]) else []
    none = np.empty((0, *material.crops.shape[1:]), dtype=np.uint8)
    return Exam(material.crops[places], lesson.labels[rows], np.stack(spoilt) if spoilt else none, pairs, similarity)


def _fewer(rows: IndexArray, people: IndexArray, most: int) -> IndexArray:
    """The first people who together have about `most` crops; strangers count as a person each."""
    order = np.where(people == UNKNOWN, people.max(initial=0) + 1 + np.arange(len(people)), people)
    known = order[people != UNKNOWN]
    # Half of the room for strangers, so that both kinds are there where both kinds are.
    room = most if not len(known) or len(known) == len(people) else most // 2
    chosen = np.zeros(len(rows), dtype=np.bool_)
    for kind in (people != UNKNOWN, people == UNKNOWN):
        names, count = np.unique(order[kind], return_counts=True)
        chosen |= kind & np.isin(order, names[np.cumsum(count) - count < room])
    return rows[chosen]


def _pairs(people: IndexArray, seed: int) -> Comparisons:
    known = np.flatnonzero(people != UNKNOWN).astype(np.int32)
    if len(known) < 2:
        nothing = np.empty(0, dtype=np.int32)
        return Comparisons(nothing, nothing, np.empty(0, dtype=np.bool_))
    # Numbers without gaps: a person of whom nothing was held back has none.
    names = np.unique(people[known], return_inverse=True)[1].astype(np.int32)
    genuine = genuine_pairs(names, _GENUINE_A_PERSON, seed)
    pairs = genuine.joined(impostor_pairs(names, _IMPOSTORS, seed))
    return Comparisons(known[pairs.first], known[pairs.second], pairs.same)


def _rho(a: FloatArray, b: FloatArray) -> float:
    return float("nan") if len(a) < 3 else spearman(("a", "b"), (a, b)).rho[0][1]
