"""Who comes when and does what: visits as data, evaluated at any time.

Distances are given as the eye distance they make at 720 rows: 12 px is the door at the back of the hall (about 6 m
for a 60° lens), 90 px an arm's length.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from gate.capture.scene_sprites import Cover

SLOT_S = 5.2
"""A new visitor every so often; a visit lasts a little longer, so the next one is already coming in."""

_RAMP_S = 0.3


class Act(str, Enum):
    """What a visitor does. The first three move him, one after the other; the others happen meanwhile."""

    ENTER = "enter"
    STAND = "stand"
    LEAVE = "leave"
    TURN_AWAY = "turn_away"
    BLUR = "blur"
    DARK = "dark"
    COVER = "cover"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the hall as the camera sees it."""

    x: float
    """Share of the picture's width, 0 left, 1 right; outside it nobody is seen."""

    eye_px: float
    """Nearness: the eye distance at 720 rows. Infinity in front, never 0."""


@dataclass(frozen=True, slots=True)
class Move:
    """Walk (or keep still) until the next spot is reached."""

    act: Act
    seconds: float
    to: Spot


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happens to the face for a while; it fades in and out within 0.3 s."""

    act: Act
    start_s: float
    end_s: float
    amount: float = 1.0
    """TURN_AWAY: degrees, positive towards the image's right. The others: 0..1."""

    def at(self, t_s: float) -> float:
        """The amount at `t_s` seconds after the visit began."""
        rise = min((t_s - self.start_s) / _RAMP_S, (self.end_s - t_s) / _RAMP_S, 1.0)
        return self.amount * _smooth(rise)


@dataclass(frozen=True, slots=True)
class Pose:
    """A visitor at one moment."""

    spot: Spot
    walking: float
    """Speed, 1 being a brisk walk."""
    yaw_deg: float
    blur: float
    dark: float
    cover: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One person's way through the picture."""

    person_id: str
    start_s: float
    """Seconds since frame 0."""
    origin: Spot
    moves: tuple[Move, ...]
    effects: tuple[Effect, ...] = ()
    wears: Cover | None = None
    """What COVER puts before the face; it hangs beside its place when it does not."""
    index: int = 0

    @property
    def end_s(self) -> float:
        """When the visitor is gone, in seconds since frame 0."""
        return self.start_s + sum(move.seconds for move in self.moves)

    @property
    def acts(self) -> frozenset[Act]:
        """Everything the visitor does."""
        return frozenset([move.act for move in self.moves] + [effect.act for effect in self.effects])

    def pose(self, t_s: float) -> Pose | None:
        """The visitor at `t_s` seconds since frame 0; None before and after the visit."""
        if not self.start_s <= t_s < self.end_s:
            return None
        local = t_s - self.start_s
        spot, walking = self._place(local)
        return Pose(
            spot=spot,
            walking=walking,
            yaw_deg=self._amount(Act.TURN_AWAY, local),
            blur=self._amount(Act.BLUR, local),
            dark=self._amount(Act.DARK, local),
            cover=self._amount(Act.COVER, local),
        )

    def _amount(self, act: Act, local_s: float) -> float:
        amounts = [effect.at(local_s) for effect in self.effects if effect.act is act]
        return max(amounts, key=abs, default=0.0)

    def _place(self, local_s: float) -> tuple[Spot, float]:
        here = self.origin
        for move in self.moves:
            if local_s < move.seconds:
                gone = local_s / move.seconds
                metres = abs(1 / here.eye_px - 1 / move.to.eye_px) * 70 + abs(here.x - move.to.x)
                speed = min(1.0, metres / move.seconds) if move.act is not Act.STAND else 0.0
                return _between(here, move.to, _eased(gone)), speed * min(1.0, 4 * gone, 4 * (1 - gone))
            local_s -= move.seconds
            here = move.to
        return here, 0.0


def _smooth(share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)


def _eased(share: float) -> float:
    """Constant speed with a soft start and stop."""
    return 0.5 * share + 0.5 * _smooth(share)


def _between(a: Spot, b: Spot, share: float) -> Spot:
    """A straight line on the floor, which in the picture grows faster the nearer it comes."""
    far_a, far_b = 1 / a.eye_px, 1 / b.eye_px
    far = far_a + (far_b - far_a) * share
    side = (a.x - 0.5) * far_a + ((b.x - 0.5) * far_b - (a.x - 0.5) * far_a) * share
    return Spot(0.5 + side / far, 1 / far)


DOOR = Spot(0.5, 12.0)


def _way(origin: Spot, near: Spot, enter_s: float, stand_s: float, exit_x: float) -> tuple[Spot, tuple[Move, ...]]:
    moves = (
        Move(Act.ENTER, enter_s, near),
        Move(Act.STAND, stand_s, replace(near, eye_px=near.eye_px * 1.04)),
        Move(Act.LEAVE, 1.5, Spot(exit_x, near.eye_px * 0.92)),
    )
    return origin, moves


def _side(rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)))


def _near(rng: np.random.Generator, near_eye_px: float, share: float = 1.0) -> Spot:
    return Spot(float(rng.uniform(0.42, 0.58)), near_eye_px * share)


def _exit_x(side: int) -> float:
    return 0.5 + 0.92 * side


def approach(rng: np.random.Generator, person: str, start_s: float, near_eye_px: float) -> Visit:
    """Comes straight to the camera, looks into it, and leaves: the visitor the gate is made for."""
    side = _side(rng)
    origin, moves = _way(DOOR, _near(rng, near_eye_px), 2.9, 1.8, _exit_x(side))
    leaving = Effect(Act.TURN_AWAY, 4.6, 9.0, 58.0 * side)
    return Visit(person, start_s, origin, moves, (leaving,))


def restless(rng: np.random.Generator, person: str, start_s: float, near_eye_px: float) -> Visit:
    """Hurries in from a side, smeared at first, then turns away and back."""
    side = _side(rng)
    origin, moves = _way(Spot(0.5 - 0.72 * side, 17.0), _near(rng, near_eye_px, 0.9), 2.4, 3.0, _exit_x(side))
    effects = (
        Effect(Act.BLUR, 0.8, 2.9),
        Effect(Act.TURN_AWAY, 3.5, 4.7, -66.0 * side),
        Effect(Act.TURN_AWAY, 5.3, 9.0, 58.0 * side),
    )
    return Visit(person, start_s, origin, moves, effects)


def night(rng: np.random.Generator, person: str, start_s: float, near_eye_px: float) -> Visit:
    """The light goes off while this one stands there, and comes back."""
    side = _side(rng)
    origin, moves = _way(DOOR, _near(rng, near_eye_px, 0.95), 2.7, 2.6, _exit_x(side))
    effects = (Effect(Act.DARK, 2.2, 4.3), Effect(Act.TURN_AWAY, 5.2, 9.0, 58.0 * side))
    return Visit(person, start_s, origin, moves, effects)


def reveal(rng: np.random.Generator, person: str, start_s: float, near_eye_px: float) -> Visit:
    """Wears something before the face and takes it off at the door."""
    side = _side(rng)
    origin, moves = _way(DOOR, _near(rng, near_eye_px, 0.95), 2.6, 2.6, _exit_x(side))
    effects = (Effect(Act.COVER, -1.0, 3.4), Effect(Act.TURN_AWAY, 5.1, 9.0, 58.0 * side))
    wears = (Cover.SUNGLASSES, Cover.MASK)[int(rng.integers(2))]
    return Visit(person, start_s, origin, moves, effects, wears)


def veiled(rng: np.random.Generator, person: str, start_s: float, near_eye_px: float) -> Visit:
    """Comes near but never shows the face."""
    side = _side(rng)
    origin, moves = _way(DOOR, _near(rng, near_eye_px, 0.9), 2.7, 1.8, _exit_x(side))
    effects = (Effect(Act.COVER, -1.0, 9.0), Effect(Act.TURN_AWAY, 4.4, 9.0, 58.0 * side))
    return Visit(person, start_s, origin, moves, effects, Cover.SCARF)


def pass_by(rng: np.random.Generator, person: str, start_s: float, _near_eye_px: float) -> Visit:
    """Crosses the hall far away, looking where the way goes."""
    side = _side(rng)
    path = Spot(0.5 + 0.56 * side, 15.0)
    moves = (Move(Act.ENTER, 3.0, Spot(0.5, 14.0)), Move(Act.LEAVE, 3.0, path))
    return Visit(
        person, start_s, Spot(0.5 - 0.56 * side, 13.0), moves, (Effect(Act.TURN_AWAY, -1.0, 9.0, 40.0 * side),)
    )
