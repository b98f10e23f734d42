"""The best faces of a visit: the best of all, and others that show something else."""

from dataclasses import dataclass

from gate.types import ScoredFace, Signals

_OTHER_POSE_DEG = 15.0
"""Difference in yaw or pitch from which a face shows another side: five landmarks tell yaw to some 4 degrees."""

_OTHER_MOMENT_S = 1.0
"""Time between two shots from which the second is more than the first once more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    face: ScoredFace
    at_s: float
    quality: float


class Shots:
    """At most `most` faces of one visit, each unlike the others in pose or time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[_Shot] = []

    @property
    def best(self) -> ScoredFace | None:
        """The face of highest quality, the earliest of equals; None before the first."""
        return self._kept[0].face if self._kept else None

    @property
    def others(self) -> list[ScoredFace]:
        """The other shots, best first."""
        return [shot.face for shot in self._kept[1:]]

    def add(self, face: ScoredFace, at_s: float) -> None:
        """Consider an accepted face. The best of all is always kept; a like shot of lower quality gives way.

        Raises:
            ValueError: the face has no quality.
        """
        if face.quality is None:
            raise ValueError("only a scored face can be a shot")
        shots = sorted([*self._kept, _Shot(face, at_s, face.quality)], key=lambda shot: -shot.quality)
        kept: list[_Shot] = []
        for shot in shots:
            if len(kept) < self._most and not any(_alike(shot, other) for other in kept):
                kept.append(shot)
        self._kept = kept


def shows_another_side(first: Signals, second: Signals) -> bool:
    """Whether the head is turned or nodded so differently that two faces are two views of it."""
    turned_deg = abs(first.yaw_deg - second.yaw_deg)
    nodded_deg = abs(first.pitch_deg - second.pitch_deg)
    return max(turned_deg, nodded_deg) >= _OTHER_POSE_DEG


def _alike(first: _Shot, second: _Shot) -> bool:
    another_moment = abs(first.at_s - second.at_s) >= _OTHER_MOMENT_S
    return not another_moment and not shows_another_side(first.face.signals, second.face.signals)
