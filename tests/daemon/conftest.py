"""Clips to run a gate on, a Redis that outlives it, and what a run leaves behind."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import redis

from gate.config import GateConfig, build_config, kind_of
from gate.daemon import Daemon
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import FaceEvent, VisitEndEvent, decode
from gate.types import Image

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
        {"name": f"cam{number}", "url": str(source), "pace": "fast" if fast and _has_own_speed(source) else "realtime"}
        for number, source in enumerate(sources)
    ]
    quality = {"method": "embedding-norm", "threads": 1}
    base = {"cameras": cameras, "redis": {"url": redis_url}, "http": {"port": 0}, "quality": quality}
    return build_config({**base, **sections})


def _has_own_speed(source: str | Path) -> bool:
    return kind_of(str(source)) in {"file", "virtual"}


def run_to_the_end(config: GateConfig, summary: Path | None = None, timeout_s: float = LONGEST_WAIT_S) -> Daemon:
    daemon = Daemon(config, until_eof=True, summary=summary)
    daemon.start()
    try:
        assert daemon.wait(timeout_s)
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
    assert sum(end.unscored or 0 for end in ends) == summary["faces"]["unscored"]
    judged = ("accepted", "rejected", "unscored")
    assert sum(end.faces for end in ends) == sum(summary["faces"][verdict] for verdict in judged)
    assert {face.visit for face in faces} <= {end.visit for end in ends}
