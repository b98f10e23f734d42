"""Who is who from one frame to the next.

A constant-velocity Kalman filter predicts every box, the Hungarian method pairs predictions and detections by overlap
(Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016). Unlike there, time is in seconds: cameras drop
frames, and a gap is as long as it lasted, not as many frames as somebody expected.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from gate.faces.geometry import iou_matrix
from gate.faces.motion import Motion
from gate.types import Face, TrackedFace

_MAX_TRACKS = 512
"""Most tracks that may wait to be seen again; beyond it the longest unseen end first."""


_REACH = 0.5
"""Most by which boxes grow on every side, in box sides, for tracks and detections that found no partner.

Somebody who runs past moves most of a face's width between two frames of 12 a second, and a track one frame old does
not know it yet: on four seconds of such a crowd, tracks of a single face fell from 25 to 3.
"""


_UNMOVED = 0.5
"""Overlap from which a face is taken for the same person though the whole picture has changed.

Whoever stands in a light that is switched on overlaps with where they were by 0.8 and more; at five cuts of a film, the
next person's face overlapped with the last one's by 0.33 at most.
"""


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """What one frame did to the tracks."""

    tracked: tuple[TrackedFace, ...]
    """The faces of the frame with their tracks, in the order they were given."""

    ended: tuple[int, ...]
    """Tracks that have ended, ascending; each is named once."""


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    motion: Motion
    unseen_s: float = 0.0


class Tracker:
    """Tracks the faces of one camera. Numbers start at 1 and are never used twice."""

    def __init__(self, *, min_iou: float = 0.2, max_gap_s: float = 1.5) -> None:
        """Start without tracks.

        Args:
            min_iou: Smallest overlap of a predicted box and a detection that can be the same person.
            max_gap_s: A track that was not seen for longer has ended.
        """
        self._min_iou = min_iou
        self._max_gap_s = max_gap_s
        self._tracks: list[_Track] = []
        self._next_number = 1
        self._now_s: float | None = None

    def update(self, faces: Sequence[Face], t_s: float, *, changed: bool = False) -> TrackUpdate:
        """Take the faces of a frame; call it with none as well, or nobody ever leaves.

        Args:
            faces: Detections of one frame.
            t_s: Capture time in seconds. Time that stands still or goes back moves nobody and ages nobody.
            changed: Whether the whole picture is another one than before. Then only tracks whose face is still where it
                was go on, and the others end.

        Raises:
            ValueError: `t_s` is not finite.
        """
        ended = self._pass_time(t_s)
        boxes = np.array([face.box_xywh for face in faces], dtype=np.float64).reshape(-1, 4)
        seen = self._unmoved(boxes) if changed else self._associate(boxes)
        if changed:
            ended += self._end_unseen({track.number for track in seen.values()})
        for row, track in seen.items():
            track.motion.correct(boxes[row])
            track.unseen_s = 0.0
        tracked = []
        for row, face in enumerate(faces):
            track = seen.get(row) or self._start(boxes[row])
            tracked.append(TrackedFace(face=face, track=track.number))
        ended += self._end_surplus({item.track for item in tracked})
        return TrackUpdate(tracked=tuple(tracked), ended=tuple(sorted(ended)))

    def __len__(self) -> int:
        """How many tracks have not ended."""
        return len(self._tracks)

    def flush(self) -> tuple[int, ...]:
        """End every track, ascending; for the end of a stream."""
        ended = tuple(track.number for track in self._tracks)
        self._tracks = []
        return ended

    def _pass_time(self, t_s: float) -> list[int]:
        """Move every track to `t_s` and end those that were unseen for too long."""
        if not math.isfinite(t_s):
            raise ValueError(f"t_s must be finite, got {t_s}")
        dt_s = 0.0 if self._now_s is None else max(0.0, t_s - self._now_s)
        self._now_s = t_s
        for track in self._tracks:
            track.unseen_s += dt_s
        ended = [track.number for track in self._tracks if track.unseen_s > self._max_gap_s]
        self._tracks = [track for track in self._tracks if track.unseen_s <= self._max_gap_s]
        for track in self._tracks:
            track.motion.predict(dt_s)
        return ended

    def _associate(self, boxes: npt.NDArray[np.float64]) -> dict[int, _Track]:
        """Row of `boxes` → the track it continues."""
        seen: dict[int, _Track] = {}
        for reach in (0.0, _REACH):
            free = [row for row in range(len(boxes)) if row not in seen]
            taken = {track.number for track in seen.values()}
            waiting = [track for track in self._tracks if track.number not in taken]
            for a, b in self._best_pairs(waiting, boxes[free], reach, self._min_iou):
                seen[free[b]] = waiting[a]
        return seen

    def _unmoved(self, boxes: npt.NDArray[np.float64]) -> dict[int, _Track]:
        """Row of `boxes` → the track it continues, of those that are where they were."""
        return {b: self._tracks[a] for a, b in self._best_pairs(self._tracks, boxes, 0.0, max(_UNMOVED, self._min_iou))}

    def _end_unseen(self, seen: set[int]) -> list[int]:
        ended = [track.number for track in self._tracks if track.number not in seen]
        self._tracks = [track for track in self._tracks if track.number in seen]
        return ended

    def _best_pairs(
        self, tracks: list[_Track], boxes: npt.NDArray[np.float64], reach: float, min_iou: float
    ) -> list[tuple[int, int]]:
        """Pairs (index of a track, row of `boxes`) of the largest total overlap.

        Boxes are grown by what the track does not know about its place, but `reach` at most: the buffered IoU of Yang
        et al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the
        Matching Space", WACV 2023, with the filter's own buffer.
        """
        if not (tracks and len(boxes)):
            return []
        predicted = np.array([track.motion.box_xywh for track in tracks])
        unsure_px = np.array([track.motion.uncertainty_px for track in tracks])
        margins_px = np.minimum(2 * unsure_px, reach * np.sqrt(predicted[:, 2] * predicted[:, 3]))
        iou = iou_matrix(predicted, boxes, margins_px=margins_px)
        # Pairs that may not be are worth nothing, lest they outbid a pair that may.
        worth = np.where(iou >= min_iou, iou, 0.0)
        rows, columns = linear_sum_assignment(worth, maximize=True)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return [(a, b) for a, b in pairs if worth[a, b] > 0]

    def _start(self, box_xywh: npt.NDArray[np.float64]) -> _Track:
        track = _Track(number=self._next_number, motion=Motion(box_xywh))
        self._next_number += 1
        self._tracks.append(track)
        return track

    def _end_surplus(self, seen_now: set[int]) -> list[int]:
        """Keep memory bounded even when time stands still and nobody can age."""
        surplus = len(self._tracks) - _MAX_TRACKS
        if surplus <= 0:
            return []
        waiting = [track for track in self._tracks if track.number not in seen_now]
        waiting.sort(key=lambda track: (-track.unseen_s, track.number))
        gone = {track.number for track in waiting[:surplus]}
        self._tracks = [track for track in self._tracks if track.number not in gone]
        return list(gone)
