"""A gate that is asked to end, and the summary it leaves."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gate.cli import INTERRUPTED, TERMINATED
from gate.daemon import Daemon
from gate.errors import ConfigError
from tests.daemon.conftest import (
    FRAMES,
    LONGEST_WAIT_S,
    assert_adds_up,
    config_of,
    read_stream,
    run_to_the_end,
    wait_for,
)


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
    daemon._on_signal(signal.SIGINT, None)
    assert left == [TERMINATED, INTERRUPTED]


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
