"""A gate whose parts fail while it runs."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gate.daemon
import gate.outgoing
from gate.daemon import Daemon
from gate.errors import ConfigError
from gate.pipeline import MAX_FAILURES_IN_A_ROW
from gate.types import Face, Image
from tests.daemon.conftest import FRAMES, LONGEST_WAIT_S, config_of, read_stream, run_to_the_end


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Redis that is away, for which nobody waits long."""
    monkeypatch.setattr(gate.daemon, "DRAIN_TIMEOUT_S", 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{closed.getsockname()[1]}/0"


def test_without_a_spool_what_redis_never_took_is_a_failure(visitor_clip: Path, tmp_path: Path, nobody: str) -> None:
    file = tmp_path / "summary.json"
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=nobody, spool={"enabled": False}), file)
    assert daemon.failed
    summary = json.loads(file.read_text())
    assert summary["published"] == 0
    assert summary["lost"] == {"closed": 3}


def test_what_redis_never_took_is_sent_after_the_next_start(
    visitor_clip: Path, tmp_path: Path, nobody: str, redis_url: str
) -> None:
    file = tmp_path / "summary.json"
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=nobody), file)
    assert not daemon.failed
    assert json.loads(file.read_text())["lost"] == {}
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url))
    assert not daemon.failed
    faces, ends = read_stream(redis_url)
    assert (len(faces), len(ends)) == (4, 2)
    assert daemon.observer.status()["redis"]["lost"] == {}


def test_a_spool_that_cannot_be_used_is_told_and_costs_no_face(
    visitor_clip: Path, tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    config = config_of(visitor_clip, redis_url=redis_url, spool={"dir": str(tmp_path / "file" / "spool")})
    daemon = run_to_the_end(config)
    assert not daemon.failed
    assert "spool: accepted faces wait in memory alone: read_only" in daemon.observer.health.ready()[1]
    assert b"facegate_spool_durable 0.0" in daemon.observer.metrics.render()[0]
    assert len(read_stream(redis_url)[0]) == 2


def test_the_key_of_another_spool_keeps_the_gate_from_starting(visitor_clip: Path, tmp_path: Path, nobody: str) -> None:
    (tmp_path / "key").write_text("00" * 32)
    spool = {"dir": str(tmp_path / "spool"), "key_file": str(tmp_path / "key")}
    run_to_the_end(config_of(visitor_clip, redis_url=nobody, spool=spool))
    (tmp_path / "key").write_text("11" * 32)
    with pytest.raises(ConfigError, match="the key is another one"):
        Daemon(config_of(visitor_clip, redis_url=nobody, spool=spool)).start()


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
    assert daemon.observer.tally.summary()["frames"]["dropped"] >= MAX_FAILURES_IN_A_ROW


def test_an_engine_that_dies_ends_the_gate(nobody_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Daemon, "_close_ended", die)
    assert run_to_the_end(config_of(nobody_clip)).failed


def test_a_context_picture_too_large_for_an_event_costs_no_face_and_is_counted(
    visitor_clip: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(visitor_clip, redis={"url": redis_url, "context_margin": 0.2})
    run_to_the_end(config)
    faces, _ = read_stream(redis_url)
    assert [face.context is not None for face in faces] == [True, True]
    monkeypatch.setattr(gate.outgoing, "MOST_CONTEXT_BYTES", 100)
    daemon = run_to_the_end(config)
    more = read_stream(redis_url)[0][2:]
    assert [face.context for face in more] == [None, None]
    assert 'facegate_fallback_total{cause="context_left_out"} 2.0' in daemon.observer.metrics.render()[0].decode()
    assert daemon.observer.tally.summary()["lost"] == {}
