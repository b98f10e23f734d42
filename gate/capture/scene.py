"""The virtual camera's picture and the truth about it, frame by frame."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np

from gate.capture import scene_script
from gate.capture.scene_people import CLOSERS, OPENERS
from gate.capture.scene_render import Placed, dim, draw, draw_shadow, place
from gate.capture.scene_script import SLOT_S, Pose, Visit
from gate.capture.scene_sprites import HOODED, PERSON_IDS, build_covers, build_sprite
from gate.capture.scene_stage import Noise, paint_stage
from gate.capture.scene_truth import USABLE_EYE_PX, Condition, PersonTruth, Truth
from gate.types import Image

VISITS_PER_ROUND = 5

ROUND_S = VISITS_PER_ROUND * SLOT_S
"""A round of visits lasts 26 s; the next one draws other people, places and ways."""

_HOODED_NEAR_PX = 56.0
_LONGEST_VISIT_S = 2 * SLOT_S

Role = Callable[[np.random.Generator, str, float, float], Visit]


def visits_of_round(seed: int, number: int) -> tuple[Visit, ...]:
    """The default script: five visits of round `number`, the same for the same seed.

    One of them never shows a usable face. Nobody comes twice in a row: within a round everybody comes at most once,
    and a round is opened and closed by different groups of people.
    """
    rng = np.random.default_rng((seed, number))
    opener, *middle = rng.permutation(np.array([person.person_id for person in OPENERS])).tolist()
    closer, *others = rng.permutation(np.array([person.person_id for person in CLOSERS])).tolist()
    middle = rng.permutation(np.array([*middle, *others]))[: VISITS_PER_ROUND - 2].tolist()
    people = [opener, *middle, closer]
    unusable: tuple[Role, ...] = (scene_script.veiled, scene_script.pass_by, _hooded)
    rest: list[Role] = [scene_script.restless, scene_script.night, scene_script.reveal]
    rest.append(unusable[int(rng.integers(len(unusable)))])
    roles: list[Role] = [scene_script.approach, *(rest[i] for i in rng.permutation(len(rest)))]
    near = {person.person_id: person.near_eye_px for person in (*OPENERS, *CLOSERS)}
    first = number * VISITS_PER_ROUND
    return tuple(
        _numbered(role(rng, person, (first + slot) * SLOT_S, near[person]), first + slot)
        for slot, (role, person) in enumerate(zip(roles, people, strict=True))
    )


def _hooded(rng: np.random.Generator, _person: str, start_s: float, _near_eye_px: float) -> Visit:
    return scene_script.veiled(rng, HOODED, start_s, _HOODED_NEAR_PX)


def _numbered(visit: Visit, index: int) -> Visit:
    return replace(visit, index=index)


class Scene:
    """People at a door, rendered. The same seed, size and rate give the same frames, in any order.

    Args:
        seed: decides who comes, from where, and how.
        width: columns of a frame.
        height: rows of a frame; sizes of people scale with it.
        fps: frames a second of scene time.

    A person is painted when first seen, which takes ten times as long as a frame; `prepare` does it for all.
    """

    def __init__(self, seed: int, width: int = 1280, height: int = 720, fps: float = 15.0) -> None:
        self.seed = seed
        self.fps = fps
        self._size = (width, height)
        self._stage = paint_stage(width, height)
        self._noise = Noise(width, height)
        self._sprite = cache(build_sprite)
        self._covers = build_covers()
        self._round = lru_cache(maxsize=4)(self._visits)

    def _visits(self, number: int) -> tuple[Visit, ...]:
        return visits_of_round(self.seed, number)

    def prepare(self) -> None:
        """Paint everybody now, in about a second, so that no frame of a live stream is late for it.

        Raises:
            gate.errors.CaptureError: a portrait's package is not installed as it should be.
        """
        for person_id in PERSON_IDS:
            self._sprite(person_id)

    def frame(self, index: int) -> tuple[Image, Truth]:
        """Frame `index` (≥ 0): (height, width, 3) uint8 RGB, and what it shows. Raises as `prepare`."""
        t_s = index / self.fps
        placed = self._placed(t_s)
        image = self._stage.copy()
        for person in placed:
            draw_shadow(image, person)
        for person in placed:
            draw(image, person, self._covers)
        dark = max((person.pose.dark for person in placed), default=0.0)
        image = dim(image, dark)
        self._noise.add(image, np.random.default_rng((self.seed, index)))
        people = (self._truth(person, dark) for person in placed)
        return image, Truth(t_s, tuple(person for person in people if person is not None))

    def _placed(self, t_s: float) -> list[Placed]:
        """Everybody in the hall, the farthest first."""
        number = int(t_s // ROUND_S)
        visits = [visit for n in (number - 1, number) if n >= 0 for visit in self._round(n)]
        poses = ((visit, visit.pose(t_s)) for visit in visits)
        placed = [self._place(visit, pose, t_s) for visit, pose in poses if pose is not None]
        return sorted(placed, key=lambda person: person.eye_px)

    def _place(self, visit: Visit, pose: Pose, t_s: float) -> Placed:
        return place(visit, self._sprite(visit.person_id), pose, t_s, self._size)

    def _truth(self, placed: Placed, dark: float) -> PersonTruth | None:
        """What is true of one person; None when no part of the face is in the picture."""
        sprite = placed.sprite
        landmarks = placed.mapped(sprite.landmarks)
        left, top, right, bottom = placed.face_edges()
        width, height = self._size
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            return None
        cut = bool(left < 0 or top < 0 or right > width or bottom > height)
        far = placed.eye_px < USABLE_EYE_PX * height / 720
        pose = placed.pose
        slight = pose.blur > 0.02 or dark > 0.02 or abs(pose.yaw_deg) > 8 or (pose.cover > 0.02)
        present = {
            Condition.BLUR: pose.blur > 0.3,
            Condition.DARK: dark > 0.5,
            Condition.COVERED: sprite.faceless or pose.cover > 0.5,
            Condition.TURNED: abs(pose.yaw_deg) > 30,
            Condition.FAR: far,
            Condition.CUT: cut,
        }
        acts = tuple(condition for condition, holds in present.items() if holds)
        return PersonTruth(
            person_id=sprite.person_id,
            visit_index=placed.visit.index,
            box_xywh=np.array([left, top, right - left, bottom - top], np.float32),
            landmarks=landmarks,
            acts=acts,
            usable=not acts and not slight,
        )
