"""A gate that runs to the end of its files."""

import json
from pathlib import Path

import pytest

from gate.daemon import Daemon
from gate.errors import ConfigError
from gate.publish.jpeg import decode_crop
from tests.daemon.conftest import FRAMES, assert_adds_up, config_of, read_stream, run_to_the_end, wait_for


def test_the_summary_and_the_stream_of_a_file_add_up(visitor_clip: Path, redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url), file)
    summary = json.loads(file.read_text())
    assert not daemon.failed
    assert summary["frames"] == {"processed": FRAMES, "dropped": 0, "corrupt": 0}
    assert summary["faces"]["accepted"] + summary["faces"]["rejected"] + summary["faces"]["unscored"] >= FRAMES
    assert summary["lost"] == {}
    assert summary["latency_ms"]["p50"] is not None
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


def test_the_length_of_a_visit_is_no_latency(visitor_clip: Path, redis_url: str) -> None:
    # The file is over while its visitor stands there, so no frame triggered the best shot.
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url, decide={"on_enter": False}))
    assert [face.final for face in read_stream(redis_url)[0]] == [True]
    assert daemon.observer.tally.summary()["latency_ms"]["p50"] is None
