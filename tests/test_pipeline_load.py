"""An engine that cannot keep up with its cameras, on a real board."""

from collections import Counter

import numpy as np
import pytest

from gate.capture.board import SlotBoard
from gate.config import DecideConfig
from gate.decide.visits import Publication, VisitBook, VisitEnd
from gate.faces.tracker import Tracker
from gate.pipeline import Pipeline
from gate.pipeline_parts import CameraState
from gate.reasons import Shed
from gate.shedding import Shedding
from gate.types import Face, Frame, Image
from tests.conftest import FakeClock
from tests.test_pipeline import Counts, Script, a_face

FRAME_S = 0.04
DETECTION_S = 0.1
CAMERAS = [f"door{number:02}" for number in range(30)]


class Site(Counts):
    """Thirty cameras of 25 frames a second, somebody before each, and a detector that takes a tenth of a second.

    One pass over all of them takes three seconds, and a face is stale after two: without shedding, the last eleven
    cameras of the pass have nothing but stale faces.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock, self.board, self.script = clock, SlotBoard(), Script(clock)
        self.seen: Counter[str] = Counter()
        self.stale: Counter[str] = Counter()
        self.left_out: Counter[Shed] = Counter()
        self.published: list[Publication] = []
        self.image = np.full((480, 640, 3), 120, np.uint8)
        self.image[::2] = 140
        self.put_s = clock.now_s
        ids = iter(range(10**9))
        self.pipeline = Pipeline(
            cameras={
                name: CameraState(Tracker(), VisitBook(name, DecideConfig(), lambda: f"{next(ids)}"), lossless=False)
                for name in CAMERAS
            },
            board=self.board,
            detector=self,
            scorer=self.script,
            publish=self.published.append,
            report=self,
            clock=clock,
            shedding=Shedding(clock, self),
        )

    name = device = "slow"

    def detect(self, image: Image) -> list[Face]:
        self.clock.advance(DETECTION_S)
        return [a_face()]

    def processed(self, camera: str, age_s: float) -> None:
        self.seen[camera] += 1

    def face(
        self, camera: str, *, accepted: bool, reason: str, quality: float | None, method: str, sample: bool
    ) -> None:
        self.stale[camera] += reason == "stale"

    def shedding(self, what: Shed, *, on: bool, lost_share: float) -> None:
        assert (what, on) == (Shed.FRAMES, True)

    def shed(self, what: Shed, count: int) -> None:
        self.left_out[what] += count

    def run(self, seconds: float) -> None:
        """What cameras would have sent while the engine worked, the newest of it, then a step."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            while self.put_s <= self.clock.now_s:
                for camera in CAMERAS:
                    self.board.put(Frame(camera, 0, self.image, self.put_s, self.clock.now_ms))
                self.put_s += FRAME_S
            self.pipeline.step(0.0)
            self.clock.advance(0.001)

    def forget(self) -> None:
        self.seen.clear()
        self.stale.clear()


@pytest.fixture
def site(fake_clock: FakeClock) -> Site:
    return Site(fake_clock)


def test_an_engine_that_cannot_keep_up_looks_at_every_camera_as_often_and_at_nothing_stale(site: Site) -> None:
    site.run(30)
    site.forget()
    site.run(60)
    assert site.stale.total() == 0
    assert set(site.seen) == set(CAMERAS)
    assert max(site.seen.values()) - min(site.seen.values()) <= 1
    # No slower than before: a frame still takes a tenth of a second.
    assert site.seen.total() >= 0.95 * 60 / DETECTION_S


def test_frames_that_are_shed_are_counted_and_nothing_that_was_accepted_is(site: Site) -> None:
    site.run(30)
    before, displaced = site.left_out[Shed.FRAMES], site.board.displaced
    site.run(30)
    assert site.left_out[Shed.FRAMES] - before == site.board.displaced - displaced > 0
    assert {publication.face.quality for publication in site.published if not isinstance(publication, VisitEnd)} == {50}


def test_who_stands_before_a_camera_that_waits_its_turn_does_not_leave(site: Site) -> None:
    # A turn of all cameras takes three seconds, and a camera that is silent for one and a half has no visitors.
    site.run(30)
    site.published.clear()
    site.run(30)
    assert [publication for publication in site.published if isinstance(publication, VisitEnd)] == []
