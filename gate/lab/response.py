"""How a quality method answers faces that were made worse on purpose.

For each degradation and level: the share of faces that score lower than their own clean original. A method that has
learnt quality is near 100 % at level 5; one that guesses is at 50 %.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from gate.errors import QualityError
from gate.lab.degrade import LEVELS, SCALES, Degradation, degrade_set, flat_images, noise_images
from gate.lab.intervals import DoubleArray, wilson
from gate.types import FloatArray, Image

NOISE_PROBES = 8


class Scores(Protocol):
    """The part of a quality method that is used here; every `gate.quality.QualityMethod` is one."""

    name: str

    def score(self, crops: Image, *, seeds: Sequence[int] | None = None) -> FloatArray:
        """(N, 112, 112, 3) uint8 RGB to (N,), higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class ResponseCell:
    """One degradation at one level."""

    kind: str
    """Value of `Degradation`."""

    level: int
    """1 to 5."""

    strength: float
    """What the level is, in `unit`."""

    unit: str

    count: int
    """Faces whose clean and degraded scores are both numbers."""

    lower: int
    """Those of them that scored lower than their clean original; equal is not lower."""

    share: float
    """lower / count, 0..1; NaN when nothing could be compared."""

    low: float
    """Lower end of the share's 95 % Wilson interval."""

    high: float
    """Upper end."""

    drop: float
    """Mean fall of the score, in standard deviations of the clean scores; NaN when those are all the same."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Pictures without a face."""

    name: str

    pictures: int

    share_above: float
    """Share of (clean face, picture) pairs in which the face scores higher, 0..1: should be 1."""


@dataclass(frozen=True, slots=True)
class DegradationResponse:
    """One method's answers to the whole suite."""

    method: str

    faces: int

    seed: int

    cells: tuple[ResponseCell, ...]

    probes: tuple[Probe, ...]

    def cell(self, kind: Degradation, level: int) -> ResponseCell:
        """The answer to one degradation; raises KeyError when it was not asked for."""
        for cell in self.cells:
            if cell.kind == kind.value and cell.level == level:
                return cell
        raise KeyError((kind.value, level))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The degradations asked for, in order."""
        return tuple(dict.fromkeys(cell.kind for cell in self.cells))

    def mean_share(self, level: int) -> float:
        """Mean of the shares of all degradations at a level."""
        return float(np.mean([cell.share for cell in self.cells if cell.level == level]))


def run_suite(
    method: Scores,
    crops: Image,
    *,
    seed: int = 0,
    kinds: Sequence[Degradation] = tuple(Degradation),
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DegradationResponse:
    """Degrade every crop in every way, score it, and compare with the clean original.

    A crop's clean and degraded versions are scored with the same seed, so that a method that draws noise draws the
    same one for both.

    Args:
        method: Scores the crops; (5 * kinds + 1) * N + 13 of them.
        crops: (N, 112, 112, 3) uint8 RGB, aligned, N at least 1.
        seed: Of the degradations and of the method, at least 0.
        kinds: Which degradations, all by default.
        name: How the report calls the method; its own name by default.
        progress: Called with sets of crops done and in all, after each.

    Raises:
        QualityError: There are no crops, or they have another shape or type.
    """
    if len(crops) == 0:
        raise QualityError("the degradation suite needs at least one crop")
    seeds = [seed + index for index in range(len(crops))]
    clean = method.score(crops, seeds=seeds).astype(np.float64)
    cells = []
    for kind in kinds:
        for level in LEVELS:
            worse = method.score(degrade_set(crops, kind, level, seed=seed), seeds=seeds).astype(np.float64)
            cells.append(_compare(kind, level, clean, worse))
            if progress is not None:
                progress(len(cells), len(kinds) * len(LEVELS))
    probes = tuple(
        _probe(method, label, pictures, clean, seed)
        for label, pictures in (("random noise", noise_images(NOISE_PROBES, seed=seed)), ("flat grey", flat_images()))
    )
    return DegradationResponse(name or method.name, len(crops), seed, tuple(cells), probes)


def _compare(kind: Degradation, level: int, clean: DoubleArray, worse: DoubleArray) -> ResponseCell:
    scale = SCALES[kind]
    both = np.isfinite(clean) & np.isfinite(worse)
    fall = clean[both] - worse[both]
    count, lower = len(fall), int(np.count_nonzero(fall > 0))
    low, high = wilson(lower, count)
    spread = float(clean[both].std()) if count else 0.0
    return ResponseCell(
        kind=kind.value,
        level=level,
        strength=scale.strength(level),
        unit=scale.unit,
        count=count,
        lower=lower,
        share=lower / count if count else float("nan"),
        low=low,
        high=high,
        drop=float(fall.mean()) / spread if spread > 0 else float("nan"),
    )


def _probe(method: Scores, label: str, pictures: Image, clean: DoubleArray, seed: int) -> Probe:
    scores = method.score(pictures, seeds=[seed + index for index in range(len(pictures))])
    return Probe(label, len(pictures), float(np.mean(clean[:, None] > scores[None, :])))


def to_csv(responses: Sequence[DegradationResponse]) -> str:
    """One row for each method, degradation and level."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["method", *ResponseCell.__dataclass_fields__], lineterminator="\n")
    writer.writeheader()
    for response in responses:
        writer.writerows({"method": response.method, **asdict(cell)} for cell in response.cells)
    return text.getvalue()


def to_markdown(response: DegradationResponse) -> str:
    """The table of one method: a row for each degradation, a column for each level, cells in per cent."""
    lines = [
        f"| {response.method} ({response.faces} faces) | " + " | ".join(f"level {n}" for n in LEVELS) + " |",
        "|---|" + "---:|" * len(LEVELS),
    ]
    for kind in response.kinds:
        shares = [response.cell(Degradation(kind), level).share for level in LEVELS]
        lines.append(f"| {kind} | " + " | ".join(f"{100 * share:.0f}" for share in shares) + " |")
    means = [f"**{100 * response.mean_share(level):.0f}**" for level in LEVELS]
    lines.append("| **mean** | " + " | ".join(means) + " |")
    lines.extend(
        f"| faces above {probe.name} | {100 * probe.share_above:.1f} |" + " |" * (len(LEVELS) - 1)
        for probe in response.probes
    )
    return "\n".join(lines) + "\n"
