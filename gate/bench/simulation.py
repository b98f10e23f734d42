"""How many cameras a machine would take: the gate's way of working, played through with measured stage times.

Cameras send pictures at their own rate and phase, each decoded by its own thread, one at a time; those that are to be
looked at are left on the camera's slot, where a newer one takes the place of one that still waits. One engine takes
what waits, detects, scores all faces of it together and goes on. Threads share the cores evenly.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from gate.bench.running import SUSTAINED_SHARE
from gate.bench.stages import StageTime
from gate.pipeline import FRESH_SHARE


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds of one core."""

    decode_ms: float
    """A picture."""

    convert_ms: float
    """A picture that is looked at, to RGB."""

    detect_ms: float
    """A frame."""

    face_ms: float
    """A face: alignment and signals."""

    score_ms: float
    """A face that is scored."""

    batch_ms: float = 0.0
    """A batch, whatever its size: what a GPU's call costs before the first crop."""

    publish_ms: float = 0.0
    """A frame: what is published of it."""


@dataclass(frozen=True, slots=True)
class World:
    """What stands before the machine."""

    cameras: int

    analysed_fps: float
    """Frames to be looked at, a second and camera."""

    sent_fps: float = 25.0
    """Pictures a camera sends, a second."""

    faces: float = 2.0
    """Mean number of faces a frame."""

    scores_per_s: float = 20.0
    """Most faces scored, a second and camera (`decide.max_scores_per_s`)."""

    cores: int = 2

    window_s: float = 0.0
    """How long the engine waits for more frames after the first; the gate's own does not wait."""

    max_frame_age_s: float = 1.0
    """The engine takes no more frames at once than it can look at within `FRESH_SHARE` of this."""

    seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    looked_at_share: float
    """Of the frames that were to be looked at."""

    latency_p50_ms: float
    """From decode to the end of the step that looked at the frame."""

    latency_p95_ms: float
    decode_lag_p95_ms: float
    """From a picture's arrival to its decode: grows where the cores cannot decode what comes."""

    frames_a_step: float
    cores_used: float
    """Core seconds a second."""

    @property
    def sustained(self) -> bool:
        """Whether nearly every frame was looked at, and decoding kept up."""
        return self.looked_at_share >= SUSTAINED_SHARE and self.decode_lag_p95_ms < 1000


@dataclass(slots=True)
class _Camera:
    waiting: deque[float] = field(default_factory=deque)
    """Arrival times of pictures that wait for their decoder."""

    decoding: bool = False
    slot_s: float | None = None
    """When the frame on its slot was decoded."""

    due: float = 0.0
    """Pictures until the next one that is to be looked at."""


def simulate(costs: Costs, world: World, seed: int = 0) -> Outcome:
    """Play a world through; the same seed gives the same outcome."""
    return _Play(costs, world, np.random.default_rng(seed)).run()


def costs_of(stages: Iterable[StageTime]) -> Costs:
    """Costs as `gate bench` measured them; of what was timed by several engines, the first."""
    first: dict[str, float] = {}
    for line in stages:
        words = line.stage.replace(",", "").split()
        kind = words[0] if words[0] != "score" or words[-1] == "8" else line.stage
        first.setdefault(kind, line.timing.cpu_ms.median)
    return Costs(
        decode_ms=first["decode"],
        convert_ms=first["to"],
        detect_ms=first["detect"],
        face_ms=first["align"] + first["signals"],
        score_ms=first["score"],
        publish_ms=first["encode"] + first["publish"],
    )


_ENGINE = -1


class _Play:
    """Jobs share the cores evenly: each gets the same service, and a job is done when that has grown by its size."""

    def __init__(self, costs: Costs, world: World, rng: np.random.Generator) -> None:
        self._costs, self._world, self._rng = costs, world, rng
        self._cameras = [_Camera(due=rng.uniform(0, world.sent_fps / world.analysed_fps)) for _ in range(world.cameras)]
        self._arrivals = [(rng.uniform(0, 1 / world.sent_fps), number) for number in range(world.cameras)]
        heapq.heapify(self._arrivals)
        self._jobs: list[tuple[float, int, float, bool]] = []
        """Service at which it is done, camera or engine, when its picture came, whether that is looked at."""
        self._now_s = self._service_s = self._busy_s = 0.0
        self._taken: list[float] = []
        self._order: deque[int] = deque()
        self._engine_busy = False
        self._wake_s = np.inf
        self._step_s = 0.0
        self._wanted = self._steps = 0
        self._latencies_s: list[float] = []
        self._lags_s: list[float] = []

    def run(self) -> Outcome:
        """Until the world's time is over."""
        while self._now_s < self._world.seconds:
            self._advance()
        done = np.asarray(self._latencies_s or [np.nan]) * 1e3
        return Outcome(
            looked_at_share=len(self._latencies_s) / max(1, self._wanted),
            latency_p50_ms=float(np.percentile(done, 50)),
            latency_p95_ms=float(np.percentile(done, 95)),
            decode_lag_p95_ms=float(np.percentile(np.asarray(self._lags_s or [0.0]) * 1e3, 95)),
            frames_a_step=len(self._latencies_s) / max(1, self._steps),
            cores_used=self._busy_s / self._now_s,
        )

    def _advance(self) -> None:
        """To the next thing that happens."""
        active = len(self._jobs)
        rate = min(1.0, self._world.cores / active) if active else 1.0
        done_s = self._now_s + (self._jobs[0][0] - self._service_s) / rate if active else np.inf
        at_s = min(done_s, self._arrivals[0][0], self._wake_s)
        passed_s, self._now_s = at_s - self._now_s, at_s
        self._service_s += passed_s * rate
        self._busy_s += passed_s * rate * active
        if at_s == done_s:
            self._finish(*heapq.heappop(self._jobs)[1:])
        elif at_s == self._wake_s:
            self._wake_s = np.inf
            self._begin_step()
        else:
            self._arrive(heapq.heappop(self._arrivals)[1])

    def _start(self, who: int, cost_ms: float, came_s: float, *, looked_at: bool = False) -> None:
        heapq.heappush(self._jobs, (self._service_s + cost_ms / 1e3, who, came_s, looked_at))

    def _arrive(self, number: int) -> None:
        camera = self._cameras[number]
        heapq.heappush(self._arrivals, (self._now_s + 1 / self._world.sent_fps, number))
        camera.waiting.append(self._now_s)
        if not camera.decoding:
            self._decode(number)

    def _decode(self, number: int) -> None:
        camera = self._cameras[number]
        camera.decoding, came_s = True, camera.waiting.popleft()
        camera.due -= 1
        looked_at = camera.due <= 0
        if looked_at:
            camera.due += self._world.sent_fps / self._world.analysed_fps
        cost_ms = self._costs.decode_ms + (self._costs.convert_ms if looked_at else 0.0)
        self._start(number, cost_ms, came_s, looked_at=looked_at)

    def _finish(self, who: int, came_s: float, looked_at: bool) -> None:  # noqa: FBT001 - the rest of a job
        if who == _ENGINE:
            self._latencies_s += [self._now_s - decoded_s for decoded_s in self._taken]
            self._engine_busy = False
            self._step_s = (self._now_s - came_s) / max(1, len(self._taken))
        else:
            camera = self._cameras[who]
            self._lags_s.append(self._now_s - came_s)
            camera.decoding = False
            if looked_at:
                self._wanted += 1
                if camera.slot_s is None:
                    self._order.append(who)
                camera.slot_s = self._now_s
            if camera.waiting:
                self._decode(who)
        if not self._engine_busy and self._order and self._wake_s == np.inf:
            self._wake_s = self._now_s + self._world.window_s

    def _begin_step(self) -> None:
        world, costs = self._world, self._costs
        most = len(self._order)
        if self._step_s > 0:
            most = max(1, min(most, int(FRESH_SHARE * world.max_frame_age_s / self._step_s)))
        self._taken = []
        faces = 0
        for number in [self._order.popleft() for _ in range(most)]:
            camera = self._cameras[number]
            self._taken.append(self._now_s if camera.slot_s is None else camera.slot_s)
            camera.slot_s = None
            faces += int(self._rng.poisson(world.faces))
        scored = min(float(faces), world.scores_per_s / world.analysed_fps * most)
        cost_ms = most * (costs.detect_ms + costs.publish_ms) + faces * costs.face_ms
        cost_ms += scored * costs.score_ms + (costs.batch_ms if scored else 0.0)
        self._engine_busy = True
        self._steps += 1
        self._start(_ENGINE, cost_ms, self._now_s)
