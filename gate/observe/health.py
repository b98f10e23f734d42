"""Alive and ready: two questions an orchestrator asks, answered from named facts.

Alive means that the engine still turns and that frames of cameras that deliver get through it; a process that is not
alive is restarted. Ready means that a person at the door would be served. One camera of several that is down is told
but does not make the gate unready: the other doors still work, and taking the whole process out of service (or paging
as if it were) would close them too. With every camera down nobody is served, so then it is unready.
"""

import threading
from collections.abc import Iterable

from gate.clock import Clock

FRAMES_LIMIT_S = 240.0
"""How long cameras may deliver without one frame being analysed. A camera may keep silent for 120 s before it counts as
lost (the highest `read_timeout_s`), and `max_fps` may leave out what comes within 60 s."""

Answer = tuple[bool, list[str]]
"""Whether all is well, and what is not; a list that is not empty beside True is worth a look but not an alarm."""


class Health:
    """Named conditions, cameras and heartbeats; safe to use from every thread.

    Args:
        clock: where ages come from.
        required: conditions that fail as "starting" until they are first set.
        heartbeat_limit_s: a heartbeat that is older is a stuck loop, unless `allow` says otherwise.
    """

    def __init__(
        self, clock: Clock, *, required: Iterable[str] = ("method", "redis"), heartbeat_limit_s: float = 30.0
    ) -> None:
        self._clock = clock
        self._limit_s = heartbeat_limit_s
        self._lock = threading.Lock()
        self._faults: dict[str, str | None] = dict.fromkeys(required, "starting")
        self._cameras: dict[str, str | None] = {}
        self._notes: dict[str, str] = {}
        self._beats: dict[str, float] = {}
        self._allowed_s: dict[str, float] = {}
        self._progress_s = 0.0

    def set(self, name: str, *, ok: bool, reason: str = "") -> None:
        """State a condition that readiness needs; `reason` says in a word or two why it does not hold."""
        with self._lock:
            self._faults[name] = None if ok else reason or "not ready"

    def note(self, name: str, text: str | None) -> None:
        """Tell something beside the answer of `ready` that does not change it; None takes it back."""
        with self._lock:
            if text is None:
                self._notes.pop(name, None)
            else:
                self._notes[name] = text

    def add_camera(self, name: str) -> None:
        """Ask for a camera from now on; it is connecting."""
        with self._lock:
            self._cameras.setdefault(name, "connecting")

    def set_camera(self, name: str, *, ok: bool, reason: str = "") -> None:
        """State whether a camera delivers; one that was not added, or is forgotten, is not asked for."""
        with self._lock:
            if name in self._cameras:
                if ok and None not in self._cameras.values():
                    # While every camera was away no frame could get through.
                    self._progress_s = self._clock.monotonic_s()
                self._cameras[name] = None if ok else reason or "down"

    def forget_camera(self, name: str) -> None:
        """Stop asking for a camera: it was removed, or its file ended as files do."""
        with self._lock:
            self._cameras.pop(name, None)

    def beat(self, name: str) -> None:
        """The loop of this name has turned. It is watched from its first beat on: loading weights may take minutes."""
        with self._lock:
            self._beats[name] = self._clock.monotonic_s()

    def progress(self) -> None:
        """A frame was analysed, or a part of its faces."""
        with self._lock:
            self._progress_s = self._clock.monotonic_s()

    def allow(self, name: str, seconds: float) -> None:
        """Let the loop of this name take so long between two beats, where that is longer than the limit of all."""
        with self._lock:
            self._allowed_s[name] = seconds

    def retire(self, name: str) -> None:
        """Stop watching a loop that ends on purpose."""
        with self._lock:
            self._beats.pop(name, None)

    def alive(self) -> Answer:
        """Whether every loop that has started still turns, and frames get through where a camera delivers them."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            ages = {name: now_s - beat_s for name, beat_s in self._beats.items()}
            limits = {name: max(self._limit_s, self._allowed_s.get(name, 0.0)) for name in ages}
            delivers = None in self._cameras.values()
            silent_s = now_s - self._progress_s
        late = [f"{name}: no sign of life for {age_s:.0f} s" for name, age_s in ages.items() if age_s > limits[name]]
        if ages and delivers and silent_s > FRAMES_LIMIT_S:
            late.append(f"frames: cameras deliver, and none was analysed for {silent_s:.0f} s")
        return not late, late

    def ready(self) -> Answer:
        """Whether faces can go from at least one camera to Redis; the reasons name every camera that is down.

        What was noted follows them.
        """
        with self._lock:
            faults = [f"{name}: {reason}" for name, reason in self._faults.items() if reason is not None]
            down = [f"camera {name}: {reason}" for name, reason in self._cameras.items() if reason is not None]
            blind = bool(self._cameras) and len(down) == len(self._cameras)
            notes = [f"{name}: {text}" for name, text in self._notes.items()]
        return not faults and not blind, faults + down + notes
