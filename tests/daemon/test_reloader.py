"""When the configuration file is read again, and what is said when it cannot be used."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from gate.config import GateConfig, load_config
from gate.config_change import ConfigChange
from gate.errors import ConfigError
from gate.reload import ConfigFile, Reloader
from tests.daemon.conftest import wait_for

GOOD = "cameras: [{name: door, url: 'virtual:'}]\n"
OTHER = "cameras: [{name: lobby, url: 'virtual:'}]\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "gate.yaml"
    file.write_text(GOOD)
    return file


@pytest.fixture
def file(path: Path) -> ConfigFile:
    return ConfigFile(path, lambda: load_config(path))


def looks(file: ConfigFile, times: int = 3) -> list[bool]:
    return [file.has_changed() for _ in range(times)]


def test_a_file_that_is_only_touched_is_no_news(file: ConfigFile, path: Path) -> None:
    path.write_text(GOOD)
    os.utime(path, (0, 0))
    assert looks(file) == [False] * 3


def test_a_change_is_news_once_it_was_found_the_same_twice(file: ConfigFile, path: Path) -> None:
    path.write_text(OTHER)
    assert looks(file) == [False, True, True]
    file.remember()
    assert looks(file) == [False] * 3


def test_a_change_of_the_same_length_at_the_same_time_is_news(file: ConfigFile, path: Path) -> None:
    before = path.stat()
    path.write_text(GOOD.replace("door", "gate"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert looks(file, 2) == [False, True]


def test_a_file_that_is_still_being_written_is_left_alone(file: ConfigFile, path: Path) -> None:
    found = []
    for end in (5, 17, len(OTHER)):
        path.write_text(OTHER[:end])
        found.append(file.has_changed())
    assert [*found, *looks(file, 1)] == [False, False, False, True]


def test_another_file_in_its_place_is_news(file: ConfigFile, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "gate.yaml~"
    other.write_text(OTHER)
    other.replace(path)
    assert looks(file, 2) == [False, True]


def test_a_missing_file_is_news_but_not_one_that_is_only_replaced(file: ConfigFile, path: Path) -> None:
    path.unlink()
    assert not file.has_changed()
    path.write_text(GOOD)
    assert looks(file) == [False] * 3
    path.unlink()
    assert looks(file, 2) == [False, True]


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    file = ConfigFile(pipe, lambda: load_config(pipe))
    assert not file.can_be_read_again
    assert looks(file) == [False] * 3


class Told:
    def __init__(self) -> None:
        self.reloads: list[dict[str, list[str]]] = []
        self.problems: list[str] = []
        self.configs: list[GateConfig] = []

    def reloaded(self, names: dict[str, list[str]]) -> None:
        self.reloads.append(names)

    def kept(self, problem: str) -> None:
        self.problems.append(problem)

    def change_to(self, config: GateConfig) -> ConfigChange:
        self.configs.append(config)
        return ConfigChange(added=tuple(camera.name for camera in config.cameras))


@pytest.fixture
def told() -> Told:
    return Told()


Start = Callable[..., Reloader]


@pytest.fixture
def start(told: Told) -> Iterator[Start]:
    started: list[Reloader] = []

    def begin(
        file: ConfigFile | None,
        change_to: Callable[[GateConfig], ConfigChange] = told.change_to,
        poll_s: float = 0.01,
    ) -> Reloader:
        reloader = Reloader(file, change_to, told, poll_s)
        reloader.start()
        started.append(reloader)
        return reloader

    yield begin
    for reloader in started:
        reloader.close()


def test_a_change_of_the_file_is_taken_over(told: Told, start: Start, file: ConfigFile, path: Path) -> None:
    start(file)
    path.write_text(OTHER)
    wait_for(lambda: told.reloads)
    assert told.reloads == [{"added": ["lobby"]}]


def test_who_asks_is_served_without_a_change_and_at_once(told: Told, start: Start, file: ConfigFile) -> None:
    start(file, poll_s=3600.0).ask()
    wait_for(lambda: told.reloads)
    assert told.configs[0].cameras[0].name == "door"


def test_a_bad_file_is_told_once_and_the_next_change_read(
    told: Told, start: Start, file: ConfigFile, path: Path
) -> None:
    start(file)
    path.write_text("cameras: [")
    wait_for(lambda: told.problems)
    path.write_text(OTHER)
    wait_for(lambda: told.reloads)
    assert len(told.problems) == 1
    assert "not valid YAML" in told.problems[0]


def test_a_fault_of_the_program_does_not_end_reloading(told: Told, start: Start, file: ConfigFile) -> None:
    def change_to(config: GateConfig) -> ConfigChange:
        if not told.problems:
            raise RuntimeError("rtsp://u:hunter2@door.lan/")
        return told.change_to(config)

    reloader = start(file, change_to, poll_s=3600.0)
    reloader.ask()
    wait_for(lambda: told.problems)
    assert told.problems == ["unexpected RuntimeError; the log says where"]
    reloader.ask()
    wait_for(lambda: told.reloads)


def test_what_fails_because_the_gate_ends_is_not_told(told: Told, start: Start, file: ConfigFile) -> None:
    def change_to(_config: GateConfig) -> ConfigChange:
        reloader._left = True
        raise ConfigError("the gate ends")

    reloader = start(file, change_to, poll_s=3600.0)
    reloader.ask()
    wait_for(lambda: not reloader._thread.is_alive())
    assert told.problems == []


def test_without_a_file_asking_is_answered_in_the_log(told: Told, start: Start) -> None:
    with structlog.testing.capture_logs() as entries:
        reloader = start(None)
        reloader.ask()
        wait_for(lambda: entries)
        reloader.ask()
        wait_for(lambda: len(entries) == 2)
    assert [entry["event"] for entry in entries] == ["no_config_file"] * 2
    assert (told.reloads, told.problems) == ([], [])
