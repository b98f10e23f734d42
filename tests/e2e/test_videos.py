"""Three videos of real people, end to end. What is asked of them was counted by eye, on a sheet of every track."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gate.config import build_config
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import FaceEvent, VisitEndEvent
from tests.daemon.conftest import assert_adds_up, read_stream, run_to_the_end

pytestmark = pytest.mark.slow

VIDEOS = {"film": "faces-480x270.mp4", "crowd": "crowd-1080p.mp4", "hall": "people-no-face-768x432.mp4"}

CUTS_S = (3.12, 6.54, 9.46, 14.12, 16.04)
"""Where the film changes to other people."""

FILMED = (4, 3, 2, 2, 1, 1)
"""Faces to be seen between the cuts; those of the first and third scene are 11 to 25 pixels wide."""

LARGE = (0, 3, 0, 2, 1, 1)
"""Those of them that are large enough to be recognised."""


class Run:
    """What came of the three, watched at once."""

    def __init__(self, faces: Sequence[FaceEvent], ends: Sequence[VisitEndEvent], status: dict[str, Any]) -> None:
        self.ends = {camera: [end for end in ends if end.camera == camera] for camera in VIDEOS}
        self.visits: dict[str, dict[str, list[FaceEvent]]] = {camera: defaultdict(list) for camera in VIDEOS}
        for face in faces:
            self.visits[face.camera][face.visit].append(face)
        self.cameras = status["cameras"]


@pytest.fixture(scope="module")
def run(shared_data: Path) -> Run:
    cameras: list[dict[str, Any]] = [
        {"name": name, "url": str(shared_data / "data" / "video" / file), "pace": "fast"}
        for name, file in VIDEOS.items()
    ]
    # Two minutes of people from behind, some of them in full profile; four frames a second show all of them.
    cameras[-1]["max_fps"] = 4
    with EmbeddedRedis(tcp_port=0) as server:
        redis = {"url": server.tcp_url or server.url}
        quality = {"threads": 1, "fallback": []}
        config = build_config({"cameras": cameras, "redis": redis, "quality": quality, "http": {"enabled": False}})
        daemon = run_to_the_end(config, timeout_s=600)
        assert not daemon.failed
        assert_adds_up(daemon.observer.tally.summary(), redis["url"])
        return Run(*read_stream(redis["url"]), daemon.observer.status())


def scene_of(face: FaceEvent) -> int:
    assert face.frame_pts_ms is not None
    return bisect_right(CUTS_S, face.frame_pts_ms / 1000)


def test_every_face_of_the_film_is_a_visit_of_its_own(run: Run) -> None:
    # The detector may lose one of thirteen for longer than a gap.
    assert sum(FILMED) <= len(run.ends["film"]) <= sum(FILMED) + 1


def test_no_visit_goes_on_with_another_person_after_a_cut(run: Run) -> None:
    scenes = [{scene_of(face) for face in shots} for shots in run.visits["film"].values()]
    assert scenes
    assert all(len(found) == 1 for found in scenes)


def test_whom_the_film_shows_close_by_and_from_the_front_is_published_and_nobody_twice(run: Run) -> None:
    finals = [shots[-1] for shots in run.visits["film"].values()]
    published = [sum(scene_of(final) == scene for final in finals) for scene in range(len(LARGE))]
    assert all(count <= most for count, most in zip(published, LARGE, strict=True))
    # Two men look into the camera; the second smiles into it for five seconds.
    assert published[3] >= 1
    assert published[5] == 1
    (smiling,) = [final for final in finals if scene_of(final) == 5]
    assert smiling.quality > 65


def test_those_who_face_the_camera_in_a_crowd_are_published_and_those_who_turn_away_are_not(run: Run) -> None:
    # Six people turn their faces to the camera, four of them close by; eight pass in profile, far away or hidden.
    assert 3 <= len(run.visits["crowd"]) <= 6
    assert 13 <= len(run.ends["crowd"]) <= 20


def test_where_nobody_shows_a_face_nothing_is_published(run: Run) -> None:
    assert run.cameras["hall"]["frames"]["processed"] > 400
    assert run.visits["hall"] == {}
    assert run.cameras["hall"]["faces"]["accepted"] == 0


def test_the_final_face_of_a_visit_is_the_best_of_those_published(run: Run) -> None:
    for visits in run.visits.values():
        for shots in visits.values():
            assert [shot.final for shot in shots] == [False] * (len(shots) - 1) + [True]
            assert shots[-1].quality == max(shot.quality for shot in shots)
