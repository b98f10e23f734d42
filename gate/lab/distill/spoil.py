"""What training does to a crop: degradations that lower the label, and changes that must not matter."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.lab.degrade import SCALES, Degradation, degrade_by
from gate.types import CROP_SIDE_PX, Image

KINDS = tuple(Degradation)

_HARD = {Degradation.ROTATION, Degradation.MISALIGNMENT, Degradation.BRIGHTER}
"""Drawn twice as often as the others: learnt last. With equal draws 94 to 95 % of faces fell below their clean
original at level 3, where every other kind had 97 % or more."""

_SHARES = np.array([2.0 if kind in _HARD else 1.0 for kind in KINDS])
_SHARES /= _SHARES.sum()


@dataclass(frozen=True, slots=True, eq=False)
class Spoilt:
    """A degraded crop and how."""

    crop: Image
    """(112, 112, 3) uint8 RGB."""

    kinds: tuple[Degradation, ...]

    level: float
    """The worst level of `kinds`, 0.5 to 5 on the scale of `gate.lab.degrade`, with values between."""


def spoil(crop: Image, *, seed: int, index: int, version: int) -> Spoilt:
    """One degraded version of a crop: one or two degradations at levels between half of 1 and 5.

    The same numbers give the same picture, so versions need not be kept.

    Args:
        crop: (112, 112, 3) uint8 RGB.
        seed: of the whole run.
        index: number of the crop in the run's material.
        version: 1, 2, ...; each is another picture.
    """
    rng = np.random.default_rng([seed, index, version])
    count = 1 if rng.random() < 0.75 else 2
    kinds = tuple(KINDS[place] for place in rng.choice(len(KINDS), count, replace=False, p=_SHARES))
    worst = 0.0
    for kind in kinds:
        level = rng.uniform(0.5, 5.0 if count == 1 else 3.0)
        crop = degrade_by(crop, kind, strength_between(kind, level), rng)
        worst = max(worst, level)
    return Spoilt(crop, kinds, worst)


def strength_between(kind: Degradation, level: float) -> float:
    """The strength of a level that need not be whole; below 1 it runs towards no change.

    >>> strength_between(Degradation.ROTATION, 2.5)
    15.0
    """
    whole = SCALES[kind].strengths
    none = {
        Degradation.DOWNSAMPLE: float(CROP_SIDE_PX),
        Degradation.JPEG: 95.0,
        Degradation.DARKER: 1.0,
        Degradation.BRIGHTER: 1.0,
        Degradation.GAMMA: 1.0,
    }.get(kind, 0.0)
    return float(np.interp(level, range(6), (none, *whole)))


def disguise(crop: Image, rng: np.random.Generator) -> Image:
    """A crop with changes that say nothing about its quality.

    Mirrored or not, moved by a pixel or two, a slightly other exposure; and borders of any colour, as aligned crops
    of tight pictures carry them, so that a network cannot learn that a black corner means anything.
    """
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.6:
        crop = _moved(crop, rng)
    if rng.random() < 0.35:
        crop = _bordered(crop, rng)
    if rng.random() < 0.3:
        values: Any = crop * rng.uniform(0.93, 1.07) + rng.uniform(-5, 5)
        crop = np.clip(values, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(crop)


def _moved(crop: Image, rng: np.random.Generator) -> Image:
    import cv2

    middle = (CROP_SIDE_PX - 1) / 2
    matrix: Any = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-2, 2), rng.uniform(0.98, 1.02))
    matrix[:, 2] += rng.uniform(-1.2, 1.2, 2)
    mode = cv2.BORDER_REFLECT_101 if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    moved = cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=_grey(rng))
    return np.asarray(moved, dtype=np.uint8)


def _bordered(crop: Image, rng: np.random.Generator) -> Image:
    """One to three edges or corners cut off by straight lines that leave the face alone."""
    rows, columns = np.mgrid[0:CROP_SIDE_PX, 0:CROP_SIDE_PX] - (CROP_SIDE_PX - 1) / 2
    bordered = crop.copy()
    colour = _grey(rng) if rng.random() < 0.7 else tuple(int(value) for value in rng.integers(0, 256, 3))
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, 2 * np.pi)
        across = columns * np.cos(angle) + rows * np.sin(angle)
        # 47 px from the middle is outside the template's eyes and mouth by at least 10 px in every direction.
        bordered[across > rng.uniform(47, 70)] = colour
    return bordered


def _grey(rng: np.random.Generator) -> tuple[int, int, int]:
    value = 0 if rng.random() < 0.5 else int(rng.integers(0, 256))
    return (value, value, value)


def faceless(rng: np.random.Generator) -> Image:
    """A picture without a face, (112, 112, 3) uint8: noise of any grain, one colour, or stripes."""
    import cv2

    kind = rng.random()
    if kind < 0.4:
        side = int(rng.choice([112, 112, 56, 28, 14, 7, 4]))
        noise: Image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        if rng.random() < 0.3:
            noise[:] = noise[:, :, :1]
        grain = cv2.resize(noise, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=int(rng.integers(0, 3)))
        return np.asarray(grain, dtype=np.uint8)
    if kind < 0.7:
        return np.full((CROP_SIDE_PX, CROP_SIDE_PX, 3), _grey(rng) if rng.random() < 0.6 else 0, dtype=np.uint8) + (
            rng.integers(0, 256, 3, dtype=np.uint8) if rng.random() < 0.3 else np.zeros(3, dtype=np.uint8)
        )
    rows, columns = np.mgrid[0:CROP_SIDE_PX, 0:CROP_SIDE_PX] / CROP_SIDE_PX
    angle, waves = rng.uniform(0, np.pi), rng.uniform(0.3, 12)
    phase = rng.uniform(0, 2 * np.pi, 3)
    wave = np.sin(2 * np.pi * waves * (columns * np.cos(angle) + rows * np.sin(angle))[:, :, None] + phase)
    low, high = sorted(rng.uniform(0, 255, 2))
    stripes: Image = np.clip(low + (high - low) * (wave + 1) / 2, 0, 255).astype(np.uint8)
    return stripes
