"""What the engine works with: the seams to its neighbours, and what it remembers of a camera."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from gate.config import DecideConfig, ZonesConfig
from gate.decide.bars import Circumstances
from gate.decide.duplicates import DuplicateBook
from gate.decide.visits import VisitBook
from gate.decide.worth import ScoreBook
from gate.decide.zones import Approach, in_zone
from gate.faces.change import PictureChange
from gate.faces.geometry import outside_share
from gate.faces.stillness import Stillness
from gate.faces.tracker import Tracker
from gate.types import Frame, Image, JudgedFace, Rating, ScoredFace, Sighting, TrackedFace


class Scorer(Protocol):
    """What the engine needs of quality methods."""

    name: str
    """The method in use; each rating names its own."""

    model: str

    def rate(self, crops: Image) -> Sequence[Rating]:
        """(N, 112, 112, 3) uint8 RGB → N ratings, not-a-number where no method has one."""
        ...


class FrameBoard(Protocol):
    """Where the cameras leave their newest frames."""

    @property
    def displaced(self) -> int:
        """How many frames newer ones have taken the place of so far."""
        ...

    def take(self, timeout_s: float, limit: int | None = None) -> list[Frame]:
        """At most one frame a camera, those first that were served longest ago; empty after the time-out."""
        ...

    def waiting(self) -> frozenset[str]:
        """The cameras whose frame has not been taken yet."""
        ...


class PipelineReport(Protocol):
    """Who is told what happened. Every call is cheap."""

    def alive(self) -> None:
        """The engine goes on: called between the parts of a batch that takes long."""
        ...

    def processed(self, camera: str, age_s: float) -> None:
        """A frame has been looked at, so long after its decode."""
        ...

    def broken(self, camera: str) -> None:
        """A frame could not be looked at."""
        ...

    def still(self, camera: str) -> None:
        """A frame was not searched, for it showed what an empty one had shown."""
        ...

    def stage(self, stage: str, seconds: float) -> None:
        """A stage took so long."""
        ...

    def batch(self, faces: int) -> None:
        """So many faces were scored together."""
        ...

    def scored(self, *, ok: bool) -> None:
        """A batch was scored, or the method failed."""
        ...

    def face(
        self, camera: str, *, accepted: bool, reason: str, quality: float | None, method: str, sample: bool
    ) -> None:
        """A face got its verdict; `reason` is the decisive one, empty when accepted.

        `sample` tells that its quality stands for what the camera sees; others were scored for being promising.
        """
        ...

    def unscored(self, camera: str) -> None:
        """A face was left out: a score of it could not have changed what is published."""
        ...

    def visit(self, camera: str, result: str, *, best_quality: float | None) -> None:
        """A visit ended: `published` or `unusable`; the best quality is None where no face was worth scoring."""
        ...


class Tracer(Protocol):
    """Who follows single frames. Called in the engine's thread."""

    def taken(self, frames: Sequence[Frame]) -> None:
        """Their way through the engine begins."""
        ...

    def stage(self, stage: str, of: Iterable[Frame | Sighting], seconds: float, told: Mapping[str, str | int]) -> None:
        """A stage worked on these frames for so long, until now, and tells this about it."""
        ...

    def broken(self, frame: Frame) -> None:
        """A frame could not be looked at."""
        ...

    def left(self, frames: Sequence[Frame]) -> None:
        """The step that looked at these frames is over."""
        ...


class Stages:
    """Times the stages of a step.

    Args:
        report: Is told how long each took.
        tracer: Is told for which frames too; None costs nothing.
    """

    def __init__(self, report: PipelineReport, tracer: Tracer | None) -> None:
        self._report = report
        self._tracer = tracer

    @contextmanager
    def timed(self, stage: str, of: Iterable[Frame | Sighting] = ()) -> Iterator[dict[str, str | int]]:
        """Time a stage that works on these frames; what is written into the dictionary goes into their traces."""
        told: dict[str, str | int] = {}
        start = time.perf_counter()
        yield told
        seconds = time.perf_counter() - start
        self._report.stage(stage, seconds)
        if self._tracer is not None:
            self._tracer.stage(stage, of, seconds, told)


class Watcher(Protocol):
    """Who shows people what the cameras see. Called in the engine's thread: it may keep what it is given, no more."""

    def looked(self, frame: Frame, judged: Sequence[JudgedFace], unscored: Sequence[TrackedFace]) -> None:
        """A frame was looked at.

        Args:
            frame: The frame.
            judged: Faces that have a verdict now; those that waited for a score are of earlier frames.
            unscored: Its other faces: left out, or waiting for their turn.
        """
        ...


@dataclass(slots=True)
class CameraState:
    """What the engine remembers of one camera."""

    tracker: Tracker
    visits: VisitBook
    lossless: bool
    """True for files played as fast as possible: their time is the file's own, and no frame is ever stale."""

    rules: DecideConfig = field(default_factory=DecideConfig)
    """The bars of this camera."""

    zones: ZonesConfig = field(default_factory=ZonesConfig)
    """Where in its picture faces count."""

    approach: Approach = field(init=False)

    scores: ScoreBook = field(init=False)
    """Which of its faces are scored."""

    change: PictureChange = field(default_factory=PictureChange)

    stillness: Stillness | None = None
    """What an empty picture looks like; None has every frame searched."""

    taken_s: float = -math.inf
    """Monotonic seconds when the engine last took a frame of this camera."""

    captured_s: float = -math.inf
    """Monotonic seconds when that frame was decoded."""

    tracked_s: float = 0.0
    """The tracker's own time: as the camera's, but without what the engine missed while it was busy."""

    now_s: float = 0.0
    """The camera's time at that frame: the file's own where it is played fast, else `tracked_s`."""

    broken: int = 0
    """Frames of this camera that could not be looked at."""

    duplicates: DuplicateBook | None = None
    """What its group of cameras has published lately, where duplicates are looked for."""

    def __post_init__(self) -> None:
        self.approach = Approach(self.rules.direction_window_s)
        self.scores = ScoreBook(self.rules.max_scores_per_s)

    def change_rules(self, rules: DecideConfig, zones: ZonesConfig, duplicates: DuplicateBook | None) -> None:
        """From now on judge by other rules; open visits and tracks go on."""
        if rules.direction_window_s != self.rules.direction_window_s:
            self.approach = Approach(rules.direction_window_s)
        self.rules, self.zones, self.duplicates = rules, zones, duplicates
        self.visits.change_rules(rules)
        self.scores.change_budget(rules.max_scores_per_s)


def circumstances_of(
    tracked: TrackedFace,
    sighting: Sighting,
    zones: ZonesConfig,
    approach: Approach | None,
    *,
    at_s: float,
    age_s: float,
) -> Circumstances:
    """What bars ask about a face beside its own looks.

    Args:
        tracked: The face.
        sighting: Its frame.
        zones: Where faces count.
        approach: Is told of the face and says whether it moves away; None where nobody asks.
        at_s: The camera's time.
        age_s: How old the frame is.
    """
    if approach is not None:
        approach.see(tracked.track, tracked.face, at_s)
    return Circumstances(
        age_s=age_s,
        outside_share=outside_share(tracked.face.box_xywh, sighting.width_px, sighting.height_px),
        in_zone=in_zone(zones, tracked.face, sighting.width_px, sighting.height_px),
        receding=approach is not None and approach.receding(tracked.track),
    )


def cut_context(frame: Frame, tracked: TrackedFace, margin: float) -> Image | None:
    """The face with a margin (share of its box's sides) from the full frame; None where nothing of it is inside."""
    x, y, w, h = tracked.face.box_xywh.tolist()
    left, top = max(0, math.floor(x - w * margin)), max(0, math.floor(y - h * margin))
    right, bottom = math.ceil(x + w + w * margin), math.ceil(y + h + h * margin)
    cut = frame.image[top:bottom, left:right]
    # A copy, lest the best shot of a long visit keeps the whole frame.
    return cut.copy() if cut.size else None


def show(
    watcher: Watcher, frames: Iterable[Frame], judged: Iterable[JudgedFace], measured: Iterable[ScoredFace]
) -> None:
    """Show a watcher the frames of a step with all their faces; those of `measured` without a verdict are unscored."""
    faces: dict[str, list[JudgedFace]] = {}
    others: dict[str, list[TrackedFace]] = {}
    told = set()
    for one in judged:
        faces.setdefault(one.face.sighting.camera, []).append(one)
        told.add(_place(one.face))
    for face in measured:
        if _place(face) not in told:
            others.setdefault(face.sighting.camera, []).append(face.tracked)
    for frame in frames:
        watcher.looked(frame, faces.get(frame.camera, ()), others.get(frame.camera, ()))


def _place(face: ScoredFace) -> tuple[str, int, int]:
    return face.sighting.camera, face.sighting.seq, face.tracked.track
