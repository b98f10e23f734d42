"""A camera that is lost comes back, whatever happened, and every frame is accounted for."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gate.capture.backoff import Backoff
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread
from gate.capture.causes import Cause, lost
from gate.capture.source import CorruptPictureError, FrameSource, Picture
from gate.config import CameraConfig
from gate.errors import CaptureError, ConfigError
from gate.types import Frame

Step = Picture | BaseException | Callable[[], Picture | None] | None


def picture(pts_ms: float | None = None) -> Picture:
    return Picture(np.zeros((2, 3, 3), np.uint8), pts_ms)


class FakeSource:
    """Plays a script: pictures, exceptions, the end, or calls that return one of them."""

    label = "fake"

    def __init__(self, *script: Step, live: bool = True, fails: Exception | None = None) -> None:
        self.script = list(script)
        self.live = live
        self.fails = fails
        self.closes = 0

    def open(self) -> None:
        if self.fails is not None:
            raise self.fails

    def read(self) -> Picture | None:
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    def close(self) -> None:
        self.closes += 1


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.messages: list[str] = []
        self.changes: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.frame_times_ms: list[int] = []

    def up(self, camera: str) -> None:
        self.story.append("up")

    def lost(self, camera: str, cause: str, message: str) -> None:
        self.story.append(cause)
        self.messages.append(message)

    def frame(self, camera: str, captured_ms: int) -> None:
        self.counts["frames"] += 1
        self.frame_times_ms.append(captured_ms)

    def dropped(self, camera: str, n: int) -> None:
        self.counts["dropped"] += n

    def corrupt(self, camera: str) -> None:
        self.counts["corrupt"] += 1

    def changed(self, camera: str, change: str, detail: str) -> None:
        self.changes.append((change, detail))

    def ended(self, camera: str) -> None:
        self.story.append("ended")


class Skipping(threading.Event):
    """A stop event whose waiting moves the clock."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock = clock
        self.waits_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits_s.append(timeout or 0.0)
        self.clock.advance(timeout or 0.0)
        return self.is_set()


class Stage:
    """A camera thread between fakes; it stops when its last source is used up."""

    def __init__(self, clock: Any, sources: list[FakeSource | Exception], **config: Any) -> None:
        self.clock = clock
        self.sources = list(sources)
        self.opened: list[FakeSource] = []
        self.board = SlotBoard()
        self.seen = Recorder()
        self.stop = Skipping(clock)
        self.camera = CameraThread(
            CameraConfig.model_validate({"name": "door", "url": "rtsp://admin:geheim@door.lan/live", **config}),
            self.next_source,
            self.board,
            clock=clock,
            observer=self.seen,
            backoff=Backoff(clock, seed=1),
            stop=self.stop,
        )

    def next_source(self) -> FrameSource:
        if not self.sources:
            self.stop.set()
            return FakeSource()
        source = self.sources.pop(0)
        if isinstance(source, Exception):
            raise source
        self.opened.append(source)
        return source

    def play(self) -> None:
        self.camera.start()
        assert self.camera.join(20), "the camera's thread did not end"


def test_frames_are_stamped_and_counted_from_zero_across_reconnects(fake_clock: Any) -> None:
    taken: list[Frame] = []

    def later(pts_ms: float) -> Callable[[], Picture]:
        def read() -> Picture:
            taken.extend(stage.board.take(0))
            fake_clock.advance(0.5)
            return picture(pts_ms)

        return read

    gone = lost("fake", Cause.END_OF_STREAM)
    stage = Stage(fake_clock, [FakeSource(later(10), later(20), gone), FakeSource(later(0), gone)])
    stage.play()
    taken.extend(stage.board.take(0))

    assert [(f.camera, f.seq, f.pts_ms) for f in taken] == [("door", 0, 10), ("door", 1, 20), ("door", 2, 0)]
    assert [f.captured_ms for f in taken] == stage.seen.frame_times_ms
    assert taken[0].captured_s == 1000.5
    assert taken[1].captured_s == 1001.0
    assert stage.seen.story == ["up", "end_of_stream", "up", "end_of_stream"]


@pytest.mark.parametrize("cause", ["auth", "refused", "stalled", "tls", "codec", "a word nobody knows"])
def test_a_lost_camera_is_reported_and_opened_again(fake_clock: Any, cause: str) -> None:
    failing = FakeSource(fails=CaptureError("door.lan: gone", cause=cause))
    stage = Stage(fake_clock, [failing, FakeSource(picture(), lost("fake", Cause.STALLED))])
    stage.play()

    named = cause if " " not in cause else "other"
    assert stage.seen.story == [named, "up", "stalled"]
    assert stage.seen.messages[0] == "door.lan: gone"
    assert [source.closes for source in stage.opened] == [1, 1]


def test_it_waits_longer_each_time_and_much_longer_after_a_wrong_password(fake_clock: Any) -> None:
    refused = [FakeSource(fails=lost("x", Cause.REFUSED)) for _ in range(8)]
    stage = Stage(fake_clock, [*refused, FakeSource(fails=lost("x", Cause.AUTH))])
    stage.play()

    waits_s = stage.stop.waits_s
    assert len(waits_s) == 9
    assert all(wait_s <= min(30, 2**n) for n, wait_s in enumerate(waits_s[:8]))
    assert waits_s[8] >= 30


def test_a_bug_in_a_source_is_told_without_its_text_and_survived(fake_clock: Any) -> None:
    bug = RuntimeError("rtsp://admin:geheim@door.lan/live exploded")
    stage = Stage(fake_clock, [FakeSource(bug), FakeSource(fails=bug), bug, FakeSource(picture(), bug)])
    stage.play()

    assert stage.seen.story == ["other", "other", "other", "up", "other"]
    assert all("geheim" not in message for message in stage.seen.messages)
    assert all("rtsp://door.lan" in message and "RuntimeError" in message for message in stage.seen.messages)
    assert "test_camera_thread.py:" in stage.seen.messages[0]


def test_a_configuration_fault_found_late_is_told_and_retried(fake_clock: Any) -> None:
    stage = Stage(fake_clock, [ConfigError("camera 'door': nonsense"), FakeSource(picture(), None, live=False)])
    stage.play()

    assert stage.seen.story == ["other", "up", "ended"]
    assert stage.seen.messages == ["camera 'door': nonsense"]


def test_the_end_of_a_file_ends_the_thread(fake_clock: Any) -> None:
    stage = Stage(fake_clock, [FakeSource(picture(), picture(), None, live=False), FakeSource(picture())])
    ended_before = stage.camera.ended
    stage.play()

    assert not ended_before
    assert stage.camera.ended
    assert not stage.camera.is_alive
    assert stage.seen.story == ["up", "ended"]
    assert len(stage.opened) == 1
    assert stage.opened[0].closes == 1


def test_corrupt_pictures_are_counted_and_passed_over(fake_clock: Any) -> None:
    broken = CorruptPictureError("x")
    stage = Stage(fake_clock, [FakeSource(broken, picture(), broken, broken, picture(), None, live=False)])
    stage.play()

    assert stage.seen.counts == {"frames": 2, "corrupt": 3, "dropped": 1}
    assert stage.seen.story == ["up", "ended"]


def test_live_frames_nobody_takes_are_dropped_all_but_the_newest(fake_clock: Any) -> None:
    stage = Stage(fake_clock, [FakeSource(*[picture() for _ in range(10)], lost("x", Cause.STALLED))])
    stage.play()

    assert stage.seen.counts == {"frames": 10, "dropped": 9}
    assert [f.seq for f in stage.board.take(0)] == [9]


def test_a_fast_file_loses_nothing_however_slow_the_engine(fake_clock: Any) -> None:
    stage = Stage(
        fake_clock, [FakeSource(*[picture() for _ in range(50)], None, live=False)], url="door.mp4", pace="fast"
    )
    taken: list[int] = []
    stage.camera.start()
    while len(taken) < 50:
        frames = stage.board.take(10)
        assert frames, "no frame came for ten seconds"
        taken += [f.seq for f in frames]
    assert stage.camera.join(20)

    assert taken == list(range(50))
    assert stage.seen.counts == {"frames": 50}


def test_a_stop_while_a_fast_file_waits_counts_its_frame(fake_clock: Any) -> None:
    stage = Stage(fake_clock, [], url="door.mp4", pace="fast")

    def stop_then_picture() -> Picture:
        stage.stop.set()
        return picture()

    stage.sources.append(FakeSource(picture(), stop_then_picture, live=False))
    stage.play()

    assert stage.seen.counts == {"frames": 2, "dropped": 1}
    assert stage.board.pending() == 1
    assert not stage.camera.ended


def test_frames_beyond_max_fps_are_decoded_and_dropped(fake_clock: Any) -> None:
    def tick() -> Picture:
        fake_clock.advance(0.04)
        return picture(pts_ms=0.0)

    stage = Stage(fake_clock, [FakeSource(*[tick] * 50, lost("x", Cause.STALLED))], max_fps=5)
    analysed: list[int] = []
    original = stage.board.put

    def put(frame: Frame, stop: threading.Event | None = None) -> bool:
        analysed.append(frame.seq)
        return original(frame, stop)

    stage.board.put = put  # type: ignore[method-assign]
    stage.play()

    assert analysed == list(range(0, 50, 5))
    assert stage.seen.counts == {"frames": 50, "dropped": 49}


def test_max_fps_of_a_file_counts_in_the_files_own_time(fake_clock: Any) -> None:
    pictures = [picture(pts_ms=40.0 * n) for n in range(50)]
    stage = Stage(fake_clock, [FakeSource(*pictures, None, live=False)], max_fps=5, url="door.mp4", pace="fast")
    taken: list[int] = []
    stage.camera.start()
    while len(taken) < 10:
        taken += [f.seq for f in stage.board.take(10)]
    assert stage.camera.join(20)

    assert taken == list(range(0, 50, 5))
    assert stage.seen.counts == {"frames": 50, "dropped": 40}


def test_a_stop_is_not_a_loss(fake_clock: Any) -> None:
    stage = Stage(fake_clock, [])

    def stop_and_fail() -> Picture:
        stage.stop.set()
        raise lost("x", Cause.END_OF_STREAM)

    stage.sources.append(FakeSource(picture(), stop_and_fail))
    stage.play()

    assert stage.seen.story == ["up"]
    assert stage.opened[0].closes == 1


def test_a_stop_interrupts_the_wait_for_the_next_attempt(fake_clock: Any) -> None:
    lost_once = threading.Event()

    class Signalling(Recorder):
        def lost(self, camera: str, cause: str, message: str) -> None:
            lost_once.set()

    camera = CameraThread(
        CameraConfig.model_validate({"name": "door", "url": "rtsp://door.lan"}),
        lambda: FakeSource(fails=lost("x", Cause.AUTH)),
        SlotBoard(),
        clock=fake_clock,
        observer=Signalling(),
        backoff=Backoff(fake_clock, seed=0),
    )
    camera.start()
    assert lost_once.wait(10)
    camera.stop()

    assert camera.join(10), "it slept on through the half minute after a wrong password"


def test_a_camera_that_hangs_does_not_hold_another(fake_clock: Any) -> None:
    release = threading.Event()

    def hang() -> Picture:
        release.wait(20)
        return picture()

    hanging = Stage(fake_clock, [FakeSource(hang, None, live=False)])
    healthy = Stage(fake_clock, [FakeSource(picture(), None, live=False)])
    hanging.camera.start()
    healthy.play()

    assert healthy.camera.ended
    assert hanging.camera.is_alive
    assert not hanging.camera.join(0)
    release.set()
    assert hanging.camera.join(20)
