import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import redis

import gate.daemon
import gate.outgoing
from gate.config import GateConfig, build_config
from gate.daemon import Daemon
from gate.errors import ConfigError, GateError
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import FaceEvent, VisitEndEvent, decode
from gate.publish.jpeg import decode_crop
from gate.types import Face, Image

FRAMES = 30
LONGEST_WAIT_S = 60.0


def write_clip(file: Path, pictures: list[Image], *, fps: int = 10) -> Path:
    """H.264 with its index in front of the pictures, so that a cut file can still be opened."""
    with av.open(str(file), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "g": str(fps)})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file


@pytest.fixture(scope="session")
def visitor_clip(tmp_path_factory: pytest.TempPathFactory, portraits: dict[str, Image]) -> Path:
    """Somebody stands at the door for three seconds, swaying, at 10 frames a second."""
    portrait = portraits["astronaut"][:384, 64:448]
    pictures = [np.roll(portrait, index % 8, axis=1) for index in range(FRAMES)]
    return write_clip(tmp_path_factory.mktemp("clips") / "visitor.mp4", pictures)


@pytest.fixture(scope="session")
def nobody_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grey = np.full((96, 128, 3), 128, np.uint8)
    return write_clip(tmp_path_factory.mktemp("clips") / "nobody.mp4", [grey] * FRAMES)


@pytest.fixture(scope="session")
def clip_without_pictures(tmp_path_factory: pytest.TempPathFactory, visitor_clip: Path) -> Path:
    """An index that promises pictures, and nothing behind it."""
    whole = visitor_clip.read_bytes()
    file = tmp_path_factory.mktemp("clips") / "cut.mp4"
    file.write_bytes(whole[: whole.index(b"mdat") + 4])
    return file


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A server that outlives the gate, so that a test can read what was delivered."""
    with EmbeddedRedis(tcp_port=0) as server:
        assert server.tcp_url is not None
        yield server.tcp_url


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[Any]"]:
    """Every process that is started."""
    started: list[subprocess.Popen[Any]] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """No thread of a gate outlives its test."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left


def config_of(*sources: str | Path, redis_url: str = "embedded:", fast: bool = True, **sections: Any) -> GateConfig:
    """A camera for each source, named after its place, and the quickest method with a network."""
    cameras = [
        {"name": f"cam{number}", "url": str(source), "pace": "fast" if fast else "realtime"}
        for number, source in enumerate(sources)
    ]
    quality = {"method": "embedding-norm", "threads": 1}
    base = {"cameras": cameras, "redis": {"url": redis_url}, "http": {"port": 0}, "quality": quality}
    return build_config({**base, **sections})


def run_to_the_end(config: GateConfig, summary: Path | None = None) -> Daemon:
    daemon = Daemon(config, until_eof=True, summary=summary)
    daemon.start()
    try:
        assert daemon.wait(LONGEST_WAIT_S)
    finally:
        daemon.shut_down()
    return daemon


def read_stream(url: str) -> tuple[list[FaceEvent], list[VisitEndEvent]]:
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange("facegate:faces")
    events = [decode(fields) for _, fields in entries]
    faces = [event for event in events if isinstance(event, FaceEvent)]
    return faces, [event for event in events if isinstance(event, VisitEndEvent)]


def wait_for(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_S
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_adds_up(summary: dict[str, Any], url: str) -> None:
    """The summary and the stream tell the same story."""
    faces, ends = read_stream(url)
    assert summary["published"] == len(faces) + len(ends)
    assert sum(summary["visits"].values()) == len(ends)
    assert summary["visits"]["published"] == len({face.visit for face in faces})
    assert sum(end.published for end in ends) == len(faces)
    assert sum(end.accepted for end in ends) == summary["faces"]["accepted"]
    assert sum(sum(end.reasons_counts.values()) for end in ends) == summary["faces"]["rejected"]
    assert sum(summary["faces"]["reasons"].values()) == summary["faces"]["rejected"]
    assert {face.visit for face in faces} <= {end.visit for end in ends}


def test_the_summary_and_the_stream_of_a_file_add_up(visitor_clip: Path, redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url), file)
    summary = json.loads(file.read_text())
    assert not daemon.failed
    assert summary["frames"] == {"processed": FRAMES, "dropped": 0, "corrupt": 0}
    assert summary["faces"]["accepted"] + summary["faces"]["rejected"] >= FRAMES
    assert_adds_up(summary, redis_url)
    faces, _ = read_stream(redis_url)
    assert [face.final for face in faces] == [False, True]
    assert faces[1].supersedes == faces[0].event_id
    assert decode_crop(faces[1].crop).shape == (112, 112, 3)


def test_a_file_in_its_own_time_loses_no_frame_unnoticed(visitor_clip: Path, redis_url: str) -> None:
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url, fast=False))
    summary = daemon.observer.tally.summary()
    assert summary["frames"]["processed"] + summary["frames"]["dropped"] == FRAMES
    assert_adds_up(summary, redis_url)


def test_a_method_without_weights_loses_no_face(visitor_clip: Path, redis_url: str) -> None:
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url, quality={"method": "sharpness"}))
    assert daemon.observer.tally.summary()["faces"]["accepted"]
    assert_adds_up(daemon.observer.tally.summary(), redis_url)
    assert {face.model for face in read_stream(redis_url)[0]} == {"sharpness"}


def test_files_that_cannot_be_read_do_not_keep_the_others_waiting_and_are_a_failure(
    visitor_clip: Path, redis_url: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    daemon = run_to_the_end(config_of(tmp_path / "missing.mp4", visitor_clip, empty, redis_url=redis_url))
    assert daemon.failed
    assert daemon.observer.tally.summary()["frames"]["processed"] == FRAMES
    assert_adds_up(daemon.observer.tally.summary(), redis_url)


def test_a_file_without_one_picture_is_a_failure(clip_without_pictures: Path) -> None:
    daemon = run_to_the_end(config_of(clip_without_pictures))
    assert daemon.failed
    assert daemon.observer.tally.summary()["frames"]["processed"] == 0


def test_the_virtual_camera_ends_when_it_is_told_to(redis_url: str) -> None:
    daemon = run_to_the_end(config_of("virtual:?seconds=1&fps=5", redis_url=redis_url))
    assert not daemon.failed
    assert daemon.observer.tally.summary()["frames"] == {"processed": 5, "dropped": 0, "corrupt": 0}


@pytest.mark.parametrize("source", ["virtual:", "virtual:?fps=5", "webcam:0", "WEBCAM:0", "rtsp://door.lan/"])
def test_a_run_to_the_end_of_what_never_ends_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="never ends with cam0"):
        Daemon(config_of(source), until_eof=True).run()


def test_a_run_to_the_end_of_a_looped_file_is_refused(nobody_clip: Path) -> None:
    cameras = [{"name": "hall", "url": str(nobody_clip), "loop": True}]
    with pytest.raises(ConfigError, match="never ends with hall"):
        Daemon(config_of(cameras=cameras), until_eof=True).run()


def test_a_camera_never_plays_fast_whatever_its_pace_says() -> None:
    assert [gate.daemon._is_live(address) for address in ("rtsp://door.lan/", "http://door.lan/", "webcam:0")] == [
        True,
        True,
        True,
    ]
    assert not any(gate.daemon._is_live(address) for address in ("clip.mp4", "file:///clip.mp4", "virtual:"))


def test_a_file_that_is_over_ends_its_visits_while_another_keeps_the_engine_busy(
    visitor_clip: Path, nobody_clip: Path
) -> None:
    cameras = [
        {"name": "door", "url": str(visitor_clip), "pace": "fast"},
        {"name": "hall", "url": str(nobody_clip), "pace": "fast", "loop": True},
    ]
    daemon = Daemon(config_of(cameras=cameras))
    daemon.start()
    try:
        wait_for(lambda: daemon.observer.status()["cameras"]["door"]["visits"]["published"])
        assert daemon.observer.status()["cameras"]["hall"]["state"] == "up"
    finally:
        daemon.shut_down()


def test_a_gate_that_is_stopped_closes_its_visits_and_delivers_them(
    visitor_clip: Path, redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "summary.json"
    cameras = [{"name": "door", "url": str(visitor_clip), "loop": True}]
    daemon = Daemon(config_of(cameras=cameras, redis_url=redis_url), summary=file)
    daemon.start()
    try:
        page = daemon.http_address
        assert page is not None
        with urllib.request.urlopen(f"{page}livez", timeout=5) as answer:  # noqa: S310 - http:// of this machine
            assert answer.status == 200
        wait_for(lambda: daemon.observer.tally.summary()["published"])
        assert not daemon.wait(0)
        daemon.stop()
        assert daemon.wait(0)
    finally:
        daemon.shut_down()
    daemon.shut_down()
    assert not daemon.failed
    summary = json.loads(file.read_text())
    assert summary["visits"]["published"] >= 1
    assert_adds_up(summary, redis_url)
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system likes
        urllib.request.urlopen(f"{page}livez", timeout=5)  # noqa: S310 - as above


def test_without_http_nothing_listens(nobody_clip: Path) -> None:
    daemon = Daemon(config_of(nobody_clip, http={"enabled": False}))
    daemon.start()
    try:
        assert daemon.http_address is None
        assert "http" not in {thread.name for thread in threading.enumerate()}
    finally:
        daemon.shut_down()


def test_what_redis_never_took_is_a_failure(visitor_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.daemon, "DRAIN_TIMEOUT_S", 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        daemon = run_to_the_end(config_of(visitor_clip, redis_url=f"redis://127.0.0.1:{closed.getsockname()[1]}/0"))
    assert daemon.failed
    assert daemon.observer.tally.summary()["published"] == 0
    assert daemon.observer.status()["redis"]["lost"] == {"closed": 3}


def test_a_publication_that_cannot_be_encoded_is_counted_and_costs_nothing_else(
    visitor_clip: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_event(publication: Any, jpeg_quality: int) -> Any:
        if hasattr(publication, "face"):
            raise RuntimeError("the encoder is out of order")
        return gate.outgoing.to_event(publication, jpeg_quality)

    monkeypatch.setattr(gate.daemon, "to_event", to_event)
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url))
    faces, ends = read_stream(redis_url)
    assert (len(faces), len(ends)) == (0, 1)
    assert daemon.observer.status()["redis"]["lost"] == {"invalid": 2}
    assert daemon.observer.tally.summary()["frames"]["processed"] == FRAMES


def test_a_detector_that_always_fails_ends_the_gate_with_every_frame_counted(
    visitor_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        name, device = "broken", "cpu"

        def detect(self, image: Image) -> list[Face]:
            raise RuntimeError("device lost")

    monkeypatch.setattr(gate.daemon, "load_detector", lambda _config: Broken())
    cameras = [{"name": "door", "url": str(visitor_clip), "pace": "fast", "loop": True}]
    daemon = Daemon(config_of(cameras=cameras))
    daemon.start()
    try:
        assert daemon.wait(LONGEST_WAIT_S)
    finally:
        daemon.shut_down()
    assert daemon.failed
    assert daemon.observer.tally.summary()["frames"]["dropped"] >= gate.daemon.MAX_FAILURES_IN_A_ROW


def test_an_engine_that_dies_ends_the_gate(nobody_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Daemon, "_close_ended", die)
    assert run_to_the_end(config_of(nobody_clip)).failed


def test_an_address_in_use_ends_the_start(nobody_clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Daemon(config_of(nobody_clip, http={"port": taken.getsockname()[1]}))
        with pytest.raises(GateError, match="in use"):
            daemon.start()
    assert daemon.wait(0)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"quality": {"method": "no-such-method"}}, "no-such-method"),
        ({"detector": {"weights": "no-such-weights"}}, "no-such-weights"),
        ({"redis": {"url": "http://127.0.0.1/"}}, "Redis address"),
        ({"cameras": [{"name": "door", "url": "rtmp://u:hunter2@door.lan/"}]}, "'door': the url is of no known kind"),
        ({"cameras": [{"name": "door", "url": "webcam:front"}]}, "webcam: wants a number"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing_running(
    sections: dict[str, Any], message: str, nobody_clip: Path
) -> None:
    with pytest.raises(GateError, match=message) as failure:
        Daemon(config_of(nobody_clip, **sections)).start()
    assert "hunter2" not in str(failure.value)


def test_a_start_that_fails_late_stops_the_cameras_and_the_embedded_redis(
    nobody_clip: Path, processes: list["subprocess.Popen[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "camera-cam1":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    cameras = [{"name": name, "url": str(nobody_clip), "loop": True} for name in ("cam0", "cam1")]
    with pytest.raises(RuntimeError, match="new thread"):
        Daemon(config_of(cameras=cameras)).start()
    assert [process.poll() for process in processes] == [0]


def test_an_embedded_redis_ends_with_its_gate(nobody_clip: Path, processes: list["subprocess.Popen[Any]"]) -> None:
    run_to_the_end(config_of(nobody_clip))
    assert [process.poll() for process in processes] == [0]


def test_a_summary_that_cannot_be_written_is_known_before_the_run(nobody_clip: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "missing" / "summary.json", tmp_path):
        with pytest.raises(ConfigError, match=r"--summary .*\. Give a file in a folder that is there"):
            Daemon(config_of(nobody_clip), summary=place).start()
    assert list(tmp_path.iterdir()) == []


def test_a_summary_behind_a_link_is_written_there(nobody_clip: Path, tmp_path: Path) -> None:
    link, file = tmp_path / "stdout", tmp_path / "file"
    file.touch()
    link.symlink_to(file)
    run_to_the_end(config_of(nobody_clip), link)
    assert link.is_symlink()
    assert json.loads(file.read_text())["frames"]["processed"] == FRAMES


def test_a_summary_that_can_no_longer_be_written_is_a_failure(nobody_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    folder.mkdir()
    daemon = Daemon(config_of(nobody_clip), summary=folder / "summary.json")
    daemon.start()
    folder.rmdir()
    daemon.shut_down()
    assert daemon.failed


def test_the_summary_of_an_earlier_run_does_not_outlive_a_start_that_fails(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    file.write_text("{}")
    with pytest.raises(ConfigError):
        Daemon(config_of("webcam:front"), summary=file).start()
    assert not file.exists()


def test_only_a_second_signal_is_impatience(nobody_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    daemon = Daemon(config_of(nobody_clip))
    daemon.stop()
    daemon._on_signal(signal.SIGTERM, None)
    assert left == []
    daemon._on_signal(signal.SIGTERM, None)
    assert left == [128 + signal.SIGTERM]


def test_a_signal_during_the_start_ends_it_at_once_and_cleanly(
    nobody_clip: Path, processes: list["subprocess.Popen[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_config: GateConfig) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONGEST_WAIT_S)

    monkeypatch.setattr(gate.daemon, "load_scorer", load)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    started = time.monotonic()
    try:
        assert Daemon(config_of(nobody_clip)).run() == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert time.monotonic() - started < LONGEST_WAIT_S
    assert processes == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_with_its_visits_delivered(
    number: signal.Signals, visitor_clip: Path, redis_url: str, tmp_path: Path
) -> None:
    file, config = tmp_path / "summary.json", tmp_path / "gate.json"
    sections = {
        "cameras": [{"name": "door", "url": str(visitor_clip), "loop": True}],
        "redis": {"url": redis_url},
        "http": {"port": 0},
        "quality": {"method": "embedding-norm"},
    }
    config.write_text(json.dumps(sections))
    command = [sys.executable, "-m", "gate", "run", "-c", str(config), "--summary", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: process.poll() is not None or read_stream(redis_url)[0])
            process.send_signal(number)
            _, written = process.communicate(timeout=LONGEST_WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, written
    assert_adds_up(json.loads(file.read_text()), redis_url)
