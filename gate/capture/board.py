"""Where cameras leave frames and the engine finds them: one slot a camera, the newest frame wins."""

import threading

from gate.types import Frame

STOP_POLL_S = 0.1
"""How often a blocked `put_wait` looks at its stop event, which cannot wake it."""


class SlotBoard:
    """One newest-frame slot per camera under one condition.

    Freshness beats completeness: a full slot loses its older frame. Every frame that is lost is told to whoever put
    one, so that frames put = frames taken + frames lost + frames pending, always.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._slots: dict[str, Frame] = {}
        self._served: dict[str, int] = {}
        self._turn = 0
        self._displaced = 0
        self._closed = False

    def put(self, frame: Frame, stop: threading.Event | None = None) -> bool:
        """Leave a frame; True when this cost a frame: the older one in the slot or, after `close` or `stop`, this one.

        So nothing of a camera arrives any more once it was stopped and then removed.
        """
        with self._changed:
            if self._closed or (stop is not None and stop.is_set()):
                return True
            displaced = frame.camera in self._slots
            self._displaced += displaced
            self._slots[frame.camera] = frame
            self._changed.notify_all()
            return displaced

    def put_wait(self, frame: Frame, stop: threading.Event) -> bool:
        """Leave a frame once the camera's slot is free; False when stopped or closed, then the frame is lost."""
        with self._changed:
            while frame.camera in self._slots and not self._closed and not stop.is_set():
                self._changed.wait(STOP_POLL_S)
            if self._closed or stop.is_set():
                return False
            self._slots[frame.camera] = frame
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float, limit: int | None = None) -> list[Frame]:
        """At most one frame per camera, those first that were served longest ago.

        Waits up to `timeout_s` for the first frame, and not for more; with `limit`, the rest stays for the next call.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slots or self._closed, timeout_s)
            order = sorted(self._slots, key=lambda camera: self._served.get(camera, -1))
            frames = [self._slots.pop(camera) for camera in order[:limit]]
            for frame in frames:
                self._served[frame.camera] = self._turn
                self._turn += 1
            if frames:
                self._changed.notify_all()
            return frames

    @property
    def displaced(self) -> int:
        """How many frames newer ones have taken the place of so far: nobody had time for them."""
        with self._changed:
            return self._displaced

    def waiting(self) -> frozenset[str]:
        """The cameras whose frame waits in its slot."""
        with self._changed:
            return frozenset(self._slots)

    def pending(self) -> int:
        """Frames that wait in their slots."""
        with self._changed:
            return len(self._slots)

    def remove(self, camera: str) -> bool:
        """Forget a camera; True when this cost its frame."""
        with self._changed:
            self._served.pop(camera, None)
            lost = self._slots.pop(camera, None) is not None
            self._changed.notify_all()
            return lost

    def close(self) -> None:
        """Let nobody wait any more. What is pending may still be taken; nothing new is."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
