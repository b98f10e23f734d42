"""A gate whose configuration changes while it runs."""

import gc
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gate.camera_set import Line
from gate.config import GateConfig, load_config
from gate.config_change import ConfigChange
from gate.daemon import Daemon
from gate.errors import ConfigError, GateError
from gate.reload import ConfigFile
from tests.daemon.conftest import LONGEST_WAIT_S, assert_adds_up, config_of, read_stream, wait_for

WHOLE_PICTURE = [[0, 0], [1, 0], [1, 1], [0, 1]]


class Gate:
    """A gate with the file it was started from."""

    def __init__(self, path: Path, redis_url: str) -> None:
        self.path = path
        self.redis_url = redis_url
        self.daemon: Daemon = None  # type: ignore[assignment]

    def write(self, *cameras: dict[str, Any], **sections: Any) -> None:
        self.path.write_text(json.dumps(self.content(*cameras, **sections)))

    def content(self, *cameras: dict[str, Any], **sections: Any) -> dict[str, Any]:
        quality = {"method": "embedding-norm", "threads": 1}
        base = {"redis": {"url": self.redis_url}, "http": {"port": 0}, "quality": quality}
        return {"cameras": list(cameras), **base, **sections}

    def config(self, *cameras: dict[str, Any], **sections: Any) -> GateConfig:
        self.write(*cameras, **sections)
        return load_config(self.path)

    @contextmanager
    def running(self, *cameras: dict[str, Any]) -> Iterator[Daemon]:
        self.write(*cameras)
        file = ConfigFile(self.path, lambda: load_config(self.path))
        self.daemon = Daemon(load_config(self.path), file=file)
        self.daemon.start()
        try:
            yield self.daemon
        finally:
            self.daemon.shut_down()
        assert not self.daemon.failed
        assert_adds_up(self.daemon.observer.tally.summary(), self.redis_url)

    def processed(self, camera: str) -> int:
        found: int = self.status(camera)["frames"]["processed"]
        return found

    def status(self, camera: str) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.observer.status()["cameras"][camera]
        return found

    def goes_on(self, camera: str) -> None:
        """Wait for more frames of a camera."""
        before = self.processed(camera)
        wait_for(lambda: self.processed(camera) > before + 2)

    def scrape(self) -> str:
        return self.daemon.observer.metrics.render()[0].decode()

    def ready(self) -> str:
        with urllib.request.urlopen(f"{self.daemon.http_address}readyz", timeout=5) as answer:  # noqa: S310 - ours
            assert answer.status == 200
            text: str = answer.read().decode()
        return text


@pytest.fixture
def gate(tmp_path: Path, redis_url: str) -> Gate:
    return Gate(tmp_path / "gate.yaml", redis_url)


@pytest.fixture
def camera(visitor_clip: Path) -> Callable[..., dict[str, Any]]:
    return lambda name, **keys: {"name": name, "url": str(visitor_clip), "loop": True, **keys}


Camera = Callable[..., dict[str, Any]]


def visits_of(url: str, camera: str) -> list[Any]:
    return [end for end in read_stream(url)[1] if end.camera == camera]


def test_a_camera_joins_and_leaves_while_another_goes_on_with_its_visit(gate: Gate, camera: Camera) -> None:
    with gate.running(camera("door")) as daemon:
        wait_for(lambda: read_stream(gate.redis_url)[0])
        gate.write(camera("door"), camera("lobby"))
        daemon._reloader.ask()
        wait_for(lambda: "lobby" in daemon.observer.status()["cameras"])
        wait_for(lambda: gate.status("lobby")["faces"]["accepted"])
        before = gate.processed("door")
        assert daemon.change_to(gate.config(camera("door"))) == ConfigChange(removed=("lobby",))
        assert list(daemon.observer.status()["cameras"]) == ["door"]
        assert 'camera="lobby"' not in gate.scrape()
        assert gate.processed("door") >= before
        wait_for(lambda: visits_of(gate.redis_url, "lobby"))
        wait_for(lambda: "camera-lobby" not in {thread.name for thread in threading.enumerate()})
        gate.goes_on("door")
        assert 'camera="lobby"' not in gate.scrape()
        assert visits_of(gate.redis_url, "door") == []
        frames = gate.processed("door")
    (door,) = visits_of(gate.redis_url, "door")
    (lobby,) = visits_of(gate.redis_url, "lobby")
    assert (door.published, lobby.published) == (2, 2)
    assert door.faces >= frames


def test_a_camera_that_comes_back_starts_anew(gate: Gate, camera: Camera) -> None:
    with gate.running(camera("door"), camera("lobby")) as daemon:
        wait_for(lambda: gate.processed("lobby"))
        daemon.change_to(gate.config(camera("door")))
        daemon.change_to(gate.config(camera("door"), camera("lobby")))
        assert gate.status("lobby")["visits"] == {"published": 0, "unusable": 0}
        gate.goes_on("lobby")
    assert len(visits_of(gate.redis_url, "lobby")) == 2


def test_a_camera_that_is_read_in_another_way_restarts_alone(gate: Gate, camera: Camera) -> None:
    with gate.running(camera("door"), camera("lobby")) as daemon:
        wait_for(lambda: len({face.camera for face in read_stream(gate.redis_url)[0]}) == 2)
        change = daemon.change_to(gate.config(camera("door"), camera("lobby", max_fps=9)))
        assert change == ConfigChange(restarted=("lobby",))
        gate.goes_on("lobby")
        gate.goes_on("door")
        wait_for(lambda: visits_of(gate.redis_url, "lobby"))
        assert gate.status("lobby")["state"] == "up"
        assert visits_of(gate.redis_url, "door") == []
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("camera-")]
        assert sorted(names) == ["camera-door", "camera-lobby"]
    assert len(visits_of(gate.redis_url, "lobby")) == 2
    assert len(visits_of(gate.redis_url, "door")) == 1


def test_other_rules_and_zones_hold_for_the_visit_that_is_open(gate: Gate, camera: Camera) -> None:
    nowhere = {"exclude": [WHOLE_PICTURE]}
    unreachable = {"min_quality": 99, "on_exit": False, "max_scores_per_s": None}
    with gate.running(camera("door"), camera("lobby")) as daemon:
        wait_for(lambda: len({face.camera for face in read_stream(gate.redis_url)[0]}) == 2)
        change = daemon.change_to(gate.config(camera("door", zones=nowhere), camera("lobby", decide=unreachable)))
        assert gate.status("door")["zones"]["exclude"] == nowhere["exclude"]
        assert change == ConfigChange(adjusted=("door", "lobby"))
        gate.goes_on("door")
        gate.goes_on("lobby")
    (door,), (lobby,) = visits_of(gate.redis_url, "door"), visits_of(gate.redis_url, "lobby")
    assert set(door.reasons_counts) == {"outside_zone"}
    assert set(lobby.reasons_counts) == {"low_quality"}
    assert (door.published, lobby.published) == (2, 1)


def test_cameras_that_begin_to_look_for_duplicates_share_a_book(gate: Gate, camera: Camera) -> None:
    with gate.running(camera("door"), camera("lobby")) as daemon:
        daemon.change_to(gate.config(camera("door"), camera("lobby"), decide={"duplicate_s": 60}))
        assert daemon._live is not None
        states = daemon._live._parts.pipeline._cameras
        book = states["door"].duplicates
        assert book is not None
        assert states["lobby"].duplicates is book
        daemon.change_to(gate.config(camera("door"), camera("lobby"), camera("new"), decide={"duplicate_s": 30}))
        assert {id(state.duplicates) for state in states.values()} == {id(book)}
        daemon.change_to(gate.config(camera("door"), camera("lobby"), camera("new")))
        assert {state.duplicates for state in states.values()} == {None}


BAD_YAML = "cameras: [{name: door"
UNKNOWN_KEY = "cameras: [{name: door, url: 'rtsp://u:hunter2@door.lan/', pasword_file: x}]"
ANCHOR = "cameras: [{name: door, url: *hunter2}]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BAD_YAML, "not valid YAML"),
        (UNKNOWN_KEY, "did you mean 'password_file'"),
        (ANCHOR, "undefined alias"),
        (None, "No such"),
    ],
)
def test_a_bad_file_keeps_what_is_in_force_and_says_why(
    *, gate: Gate, camera: Camera, text: str | None, problem: str
) -> None:
    with gate.running(camera("door")) as daemon:
        wait_for(lambda: gate.processed("door"))
        assert "facegate_config_reload_success 1.0" in gate.scrape()
        if text is None:
            gate.path.unlink()
        else:
            gate.path.write_text(text)
        daemon._reloader.ask()
        wait_for(lambda: "facegate_config_reload_success 0.0" in gate.scrape())
        wait_for(lambda: "config: " in gate.ready())
        told = gate.ready()
        assert problem in told
        status = daemon.observer.status()
        assert problem in status["config"]["problem"]
        assert status["ready"]
        assert "hunter2" not in told + json.dumps(status) + gate.scrape()
        gate.goes_on("door")
        gate.write(camera("door", decide={"min_quality": 35}))
        daemon._reloader.ask()
        wait_for(lambda: "facegate_config_reload_success 1.0" in gate.scrape())
        wait_for(lambda: daemon.observer.status()["config"]["problem"] is None)
        assert "config" not in gate.ready()
    assert len(visits_of(gate.redis_url, "door")) == 1


def test_what_cannot_change_is_refused_whole(gate: Gate, camera: Camera) -> None:
    with gate.running(camera("door")) as daemon:
        wait_for(lambda: gate.processed("door"))
        with pytest.raises(ConfigError, match=r"detector\.min_score: cannot change while the gate runs"):
            daemon.change_to(gate.config(camera("lobby"), detector={"min_score": 0.5}))
        with pytest.raises(ConfigError, match="of no known kind"):
            daemon.change_to(gate.config(camera("door"), {"name": "lobby", "url": "rtmp://u:hunter2@x/"}))
        assert list(daemon.observer.status()["cameras"]) == ["door"]
        gate.goes_on("door")


def test_a_thread_that_cannot_start_leaves_the_old_configuration_whole(
    gate: Gate, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "camera-yard":
            raise RuntimeError("can't start new thread")
        real(thread)

    with gate.running(camera("door"), camera("old")) as daemon:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            daemon.change_to(gate.config(camera("door", max_fps=9), camera("lobby"), camera("yard")))
        assert sorted(daemon.observer.status()["cameras"]) == ["door", "old"]
        gate.goes_on("door")
        gate.goes_on("old")
        wait_for(lambda: "camera-lobby" not in {thread.name for thread in threading.enumerate()})
        monkeypatch.undo()
        daemon.change_to(gate.config(camera("door"), camera("yard")))
        gate.goes_on("yard")


def test_a_gate_that_does_not_run_takes_nothing(nobody_clip: Path) -> None:
    daemon = Daemon(config_of(nobody_clip))
    with pytest.raises(GateError, match="does not run"):
        daemon.change_to(config_of(nobody_clip))
    daemon.start()
    daemon.shut_down()
    with pytest.raises(GateError, match="the gate ends"):
        daemon.change_to(config_of(nobody_clip))


def test_a_run_to_the_end_of_files_takes_no_camera_without_one(nobody_clip: Path) -> None:
    slow = [{"name": "door", "url": str(nobody_clip)}]
    daemon = Daemon(config_of(cameras=slow), until_eof=True)
    daemon.start()
    try:
        with pytest.raises(ConfigError, match="never ends with lobby"):
            daemon.change_to(config_of(cameras=[*slow, {"name": "lobby", "url": "virtual:"}]))
        daemon.change_to(config_of(cameras=[{"name": "other", "url": str(nobody_clip), "pace": "fast"}]))
        assert daemon.wait(LONGEST_WAIT_S)
    finally:
        daemon.shut_down()
    assert not daemon.failed


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
def test_fifty_reloads_leave_threads_descriptors_and_series_as_they_were(gate: Gate, camera: Camera) -> None:
    def series() -> set[str]:
        return {line.rpartition(" ")[0] for line in gate.scrape().splitlines() if line.startswith("facegate_")}

    with gate.running(camera("door"), camera("lobby")) as daemon:
        wait_for(lambda: len({face.camera for face in read_stream(gate.redis_url)[0]}) == 2)
        thread_of_door = daemon._cameras._lines["door"].thread
        before = threading.active_count(), series()
        open_before = descriptors()
        for turn in range(25):
            daemon.change_to(gate.config(camera("door"), camera(f"guest{turn}"), camera("lobby", max_fps=9)))
            if turn % 5 == 0:
                gate.goes_on(f"guest{turn}")
            daemon.change_to(gate.config(camera("door"), camera("lobby")))
        wait_for(lambda: gate.status("lobby")["state"] == "up")
        wait_for(lambda: threading.active_count() == before[0])
        wait_for(lambda: descriptors() <= open_before + 2)
        assert series() == before[1]
        gc.collect()
        assert sum(type(thing) is Line for thing in gc.get_objects()) <= 4
        assert daemon._cameras._lines["door"].thread is thread_of_door
        frames = gate.processed("door")
    (door,) = visits_of(gate.redis_url, "door")
    assert door.faces >= frames


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_the_program_reads_its_file_again_on_sighup_and_on_a_change(gate: Gate, camera: Camera) -> None:
    gate.write(camera("door"))
    command = [sys.executable, "-m", "gate", "run", "-c", str(gate.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: process.poll() is not None or read_stream(gate.redis_url)[0])
            gate.write(camera("door"), camera("hup"))
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: process.poll() is not None or "hup" in cameras_seen(gate.redis_url))
            gate.write(camera("door"), camera("hup"), camera("poll"))
            wait_for(lambda: process.poll() is not None or "poll" in cameras_seen(gate.redis_url))
            gate.path.write_text(BAD_YAML)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            _, written = process.communicate(timeout=LONGEST_WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, written
    entries = [json.loads(line) for line in written.splitlines()]
    reloads = [entry["added"] for entry in entries if entry["event"] == "config_reloaded"]
    assert reloads == [["hup"], ["poll"]]
    assert len(visits_of(gate.redis_url, "door")) == 1


def cameras_seen(url: str) -> set[str]:
    return {face.camera for face in read_stream(url)[0]}
