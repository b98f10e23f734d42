"""Pictures for the page: the latest crops of each camera, and a preview for as long as somebody looks.

Nothing is encoded, and no frame is kept, unless a browser asks; crops are kept as they are, a bounded number of them
and for a bounded time. This room is entered only with `page.images: true`.
"""

import base64
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.clock import Clock
from gate.types import Face, Frame, Image, JudgedFace, TrackedFace

Encode = Callable[[Image, int], bytes]
"""(H, W, 3) uint8 RGB and a quality in 1..100 to a JPEG file."""

CROPS_A_KIND = 4
"""Accepted people kept a camera, and as many rejected ones."""

CROPS = 512
"""Crops kept in all: 19 MB."""

KEEP_CROP_S = 3600.0

PREVIEW_SIDE_PX = 640
PREVIEW_EVERY_S = 1.0

MOST_FACES = 64
"""Faces drawn into one preview."""

_WAIT_S = 2.0
"""How long a browser waits for the next frame of a camera."""

_FORGET_PREVIEW_S = 10.0

_CROP_QUALITY, _PREVIEW_QUALITY = 90, 70


@dataclass(slots=True, eq=False)
class _Crop:
    number: int
    camera: str
    track: int
    accepted: bool
    quality: float | None
    reasons: tuple[str, ...]
    captured_ms: int
    kept_s: float
    image: Image

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "quality": None if self.quality is None else round(self.quality, 1),
            "reasons": list(self.reasons),
            "captured_ms": self.captured_ms,
        }

    def is_better_than(self, other: "_Crop") -> bool:
        """Whether it shows the same person better, or, where neither was scored, as of now."""
        if self.quality is None or other.quality is None:
            return other.quality is None and self.kept_s - other.kept_s >= PREVIEW_EVERY_S
        return self.quality > other.quality


class _View:
    """What somebody wants to see of one camera."""

    def __init__(self) -> None:
        self.waiting = 0
        self.found: tuple[Frame, Sequence[JudgedFace], Sequence[TrackedFace]] | None = None
        self.made: bytes | None = None
        self.made_s = -float("inf")


class Images:
    """The watcher of the engine, and what the page asks for. Safe to use from every thread.

    Args:
        clock: Ages.
        encode: Makes JPEG files.
    """

    def __init__(self, clock: Clock, encode: Encode) -> None:
        self._clock = clock
        self._encode = encode
        self._lock = threading.Lock()
        self._crops: OrderedDict[int, _Crop] = OrderedDict()
        self._latest: dict[tuple[str, bool], list[_Crop]] = {}
        self._numbers = 0
        self._seen = threading.Condition()
        self._views: dict[str, _View] = {}
        self._one_at_a_time = threading.Lock()

    def looked(self, frame: Frame, judged: Sequence[JudgedFace], unscored: Sequence[TrackedFace]) -> None:
        """Keep the crops of a frame, and the frame itself where somebody waits for it."""
        for one in judged:
            self._keep(one)
        # Read without the lock: a frame later is soon enough for somebody who has just begun to wait.
        view = self._views.get(frame.camera)
        if view is None or not view.waiting:
            return
        with self._seen:
            if view.waiting and view.found is None:
                own = [one for one in judged if one.face.sighting.seq == frame.seq]
                view.found = (frame, own, unscored)
                self._seen.notify_all()

    def add_camera(self, camera: str) -> None:
        """Let people see a camera; again does nothing."""
        with self._seen:
            self._views.setdefault(camera, _View())

    def forget_camera(self, camera: str) -> None:
        """Forget a camera's pictures."""
        with self._lock:
            for crop in [crop for crop in self._crops.values() if crop.camera == camera]:
                self._drop(crop)
        with self._seen:
            self._views.pop(camera, None)

    def latest(self, cameras: Sequence[str]) -> dict[str, Any]:
        """The latest `accepted` and `rejected` crops of cameras, newest first: id, quality, reasons, time."""
        with self._lock:
            self._forget_old()
            return {
                camera: {
                    name: [crop.describe() for crop in reversed(self._latest.get((camera, accepted), []))]
                    for name, accepted in (("accepted", True), ("rejected", False))
                }
                for camera in cameras
            }

    def crop(self, number: int) -> bytes | None:
        """The JPEG file of a crop; None when it is not kept any more."""
        with self._lock:
            self._forget_old()
            crop = self._crops.get(number)
        return None if crop is None else self._encode(crop.image, _CROP_QUALITY)

    def preview(self, camera: str) -> bytes | None:
        """JSON of a camera's next frame with its faces; None when no frame comes. At most one a second is made."""
        with self._seen:
            self._forget_previews()
            view = self._views.get(camera)
            if view is None:
                return None
            if view.made is not None and time.monotonic() - view.made_s < PREVIEW_EVERY_S:
                return view.made
            before_s = view.made_s
            view.waiting += 1
            self._seen.wait_for(lambda: view.found is not None or view.made_s > before_s, _WAIT_S)
            view.waiting -= 1
            found, view.found = view.found, None
            if found is None:
                # Somebody else has made it meanwhile, or no frame came.
                return view.made if view.made_s > before_s else None
        # One at a time, so that watching costs one core at most.
        with self._one_at_a_time:
            made = self._make(*found)
        with self._seen:
            view.made, view.made_s = made, time.monotonic()
            self._seen.notify_all()
        return made

    def _forget_previews(self) -> None:
        for view in self._views.values():
            if time.monotonic() - view.made_s > _FORGET_PREVIEW_S:
                view.made = None

    def _make(self, frame: Frame, judged: Sequence[JudgedFace], unscored: Sequence[TrackedFace]) -> bytes:
        import cv2

        shrink = min(1.0, PREVIEW_SIDE_PX / max(frame.width_px, frame.height_px))
        size = max(1, round(frame.width_px * shrink)), max(1, round(frame.height_px * shrink))
        small = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        shown = {
            "width": frame.width_px,
            "height": frame.height_px,
            "captured_ms": frame.captured_ms,
            "faces": _drawn(judged, unscored),
            "jpeg": base64.b64encode(self._encode(small, _PREVIEW_QUALITY)).decode("ascii"),
        }
        return json.dumps(shown, allow_nan=False).encode()

    def _keep(self, judged: JudgedFace) -> None:
        face, accepted = judged.face, judged.verdict.accepted
        with self._lock:
            self._numbers += 1
            crop = _Crop(
                number=self._numbers,
                camera=face.sighting.camera,
                track=face.tracked.track,
                accepted=accepted,
                quality=face.quality,
                reasons=judged.verdict.reasons,
                captured_ms=face.sighting.captured_ms,
                kept_s=self._clock.monotonic_s(),
                image=face.crop,
            )
            latest = self._latest.setdefault((crop.camera, accepted), [])
            known = next((other for other in latest if other.track == crop.track), None)
            if known is not None and not crop.is_better_than(known):
                return
            if known is not None:
                self._drop(known)
            elif len(latest) >= CROPS_A_KIND:
                self._drop(latest[0])
            self._latest.setdefault((crop.camera, accepted), []).append(crop)
            self._crops[crop.number] = crop
            if len(self._crops) > CROPS:
                self._drop(next(iter(self._crops.values())))

    def _forget_old(self) -> None:
        oldest_s = self._clock.monotonic_s() - KEEP_CROP_S
        while self._crops and (crop := next(iter(self._crops.values()))).kept_s < oldest_s:
            self._drop(crop)

    def _drop(self, crop: _Crop) -> None:
        del self._crops[crop.number]
        kind = (crop.camera, crop.accepted)
        self._latest[kind].remove(crop)
        if not self._latest[kind]:
            del self._latest[kind]


def _drawn(judged: Sequence[JudgedFace], unscored: Sequence[TrackedFace]) -> list[dict[str, Any]]:
    """Faces as the page draws them, those with a verdict first."""
    faces = [(one.face.tracked.face, _told(one)) for one in judged]
    faces += [(tracked.face, {"verdict": "unscored", "quality": None, "reasons": []}) for tracked in unscored]
    return [{**_outline(face), **told} for face, told in faces[:MOST_FACES] if _can_be_drawn(face)]


def _told(judged: JudgedFace) -> dict[str, Any]:
    quality = judged.face.quality
    return {
        "verdict": "accepted" if judged.verdict.accepted else "rejected",
        "quality": None if quality is None else round(quality, 1),
        "reasons": list(judged.verdict.reasons),
    }


def _can_be_drawn(face: Face) -> bool:
    return bool(np.isfinite(face.box_xywh).all() and np.isfinite(face.landmarks).all())


def _outline(face: Face) -> dict[str, Any]:
    """Where a face is, in pixels of the full frame."""
    return {
        "box": [round(value, 1) for value in face.box_xywh.tolist()],
        "landmarks": [[round(value, 1) for value in point] for point in face.landmarks.tolist()],
    }
