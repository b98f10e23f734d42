import base64
import json
import threading
import time

import numpy as np
import pytest

from gate.observe.access import Access
from gate.observe.images import CROPS, CROPS_A_KIND, KEEP_CROP_S, PREVIEW_SIDE_PX, Images
from gate.observe.observer import Observer
from gate.observe.request import Request
from gate.observe.routes import build_routes
from gate.publish.jpeg import decode_crop, encode_crop
from gate.types import Face, Frame, JudgedFace, ScoredFace, Signals, TrackedFace, Verdict
from tests.conftest import FakeClock


def frame(camera: str = "door", seq: int = 0, width: int = 1280, height: int = 720) -> Frame:
    return Frame(camera, seq, np.full((height, width, 3), 90, np.uint8), 1.0, 1_700_000_000_000 + seq)


def judged(
    seen: Frame, track: int, quality: float | None, *reasons: str, box: tuple[float, ...] = (10, 20, 30, 40)
) -> JudgedFace:
    points = np.array([[15, 30], [30, 30], [22, 40], [17, 50], [29, 50]], np.float32)
    face = Face(np.array(box, np.float32), points, 0.9)
    scored = ScoredFace(
        sighting=seen.sighting,
        tracked=TrackedFace(face, track),
        signals=Signals(*[0.0] * len(Signals.__dataclass_fields__)),
        crop=np.full((112, 112, 3), track % 256, np.uint8),
        quality=quality,
        raw=quality,
        method="regressor",
        model="",
    )
    return JudgedFace(scored, Verdict(reasons))


@pytest.fixture
def images(fake_clock: FakeClock) -> Images:
    images = Images(fake_clock, encode_crop)
    for camera in ("door", "yard"):
        images.add_camera(camera)
    return images


def shown(images: Images, kind: str, camera: str = "door") -> list[float | None]:
    return [crop["quality"] for crop in images.latest([camera])[camera][kind]]


def test_the_best_of_each_person_is_shown_newest_first(images: Images) -> None:
    for track, quality in [(1, 50.0), (1, 71.23), (1, 60.0), (2, 44.0)]:
        images.looked(frame(), [judged(frame(), track, quality)], [])
    images.looked(frame(), [judged(frame(), 3, 12.0, "low_quality", "yaw")], [])
    assert shown(images, "accepted") == [44.0, 71.2]
    (rejected,) = images.latest(["door"])["door"]["rejected"]
    assert rejected["reasons"] == ["low_quality", "yaw"]
    crop = images.crop(rejected["id"])
    assert crop is not None
    assert abs(int(decode_crop(crop).mean()) - 3) <= 1


def test_of_faces_without_a_quality_the_present_one_is_shown(images: Images, fake_clock: FakeClock) -> None:
    for seq in range(30):
        images.looked(frame(seq=seq), [judged(frame(seq=seq), 1, None, "too_small")], [])
        fake_clock.advance(0.1)
    (crop,) = images.latest(["door"])["door"]["rejected"]
    assert crop["captured_ms"] == 1_700_000_000_020


def test_only_a_bounded_number_of_crops_is_kept(images: Images) -> None:
    for camera in range(CROPS // 2):
        for track in range(CROPS_A_KIND + 3):
            seen = frame(f"cam{camera}")
            images.looked(seen, [judged(seen, track, 50.0), judged(seen, track, 10.0, "low_quality")], [])
        assert len(images._crops) <= CROPS
        assert sum(len(crops) for crops in images._latest.values()) == len(images._crops)
    assert shown(images, "accepted", f"cam{camera}") == [50.0] * CROPS_A_KIND


def test_crops_are_forgotten_after_an_hour_and_with_their_camera(images: Images, fake_clock: FakeClock) -> None:
    images.looked(frame(), [judged(frame(), 1, 50.0)], [])
    images.looked(frame("yard"), [judged(frame("yard"), 1, 50.0)], [])
    (crop,) = images.latest(["door"])["door"]["accepted"]
    images.forget_camera("yard")
    assert shown(images, "accepted", "yard") == []
    fake_clock.advance(KEEP_CROP_S + 1)
    assert images.crop(crop["id"]) is None
    assert images._crops == {}


def watch(images: Images, camera: str, answers: list[bytes | None]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(images.preview(camera)))
    thread.start()
    deadline = time.monotonic() + 10
    while not images._views[camera].waiting and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    return thread


def test_whoever_looks_gets_the_next_frame_small_with_its_faces(images: Images) -> None:
    answers: list[bytes | None] = []
    first, second = (watch(images, "door", answers) for _ in range(2))
    seen = frame(width=1920, height=1080)
    hidden = judged(seen, 2, 50.0, box=(float("nan"), 0, 1, 1))
    left_out = judged(seen, 3, None, box=(200, 20, 30, 40)).face.tracked
    images.looked(seen, [judged(seen, 1, 41.26, "yaw"), hidden], [left_out])
    first.join(10)
    second.join(10)
    assert answers[0] is not None
    assert answers[0] == answers[1]
    preview = json.loads(answers[0])
    assert (preview["width"], preview["height"]) == (1920, 1080)
    face, other = preview["faces"]
    assert (face["box"], face["quality"], face["reasons"]) == ([10, 20, 30, 40], 41.3, ["yaw"])
    assert (face["verdict"], other["verdict"], other["box"]) == ("rejected", "unscored", [200, 20, 30, 40])
    assert decode_crop(base64.b64decode(preview["jpeg"])).shape == (360, PREVIEW_SIDE_PX, 3)


def test_nobody_looking_keeps_no_frame_and_encodes_nothing(fake_clock: FakeClock) -> None:
    def encode(*_: object) -> bytes:
        raise AssertionError("nobody asked")

    images = Images(fake_clock, encode)
    images.add_camera("door")
    images.looked(frame(), [judged(frame(), 1, 50.0)], [])
    assert images._views["door"].found is None


def test_a_silent_or_unknown_camera_has_no_picture(images: Images) -> None:
    assert images.preview("nobody") is None
    assert images.preview("door") is None
    images.looked(frame(), [], [])
    assert images._views["door"].found is None


def get(observer: Observer, clock: FakeClock, path: str, query: str = "") -> tuple[int, bytes]:
    handler = build_routes(observer, Access(clock)).get(path)
    if handler is None:
        return 404, b""
    answer = handler(Request("GET", path, query, {}))
    return answer.status, answer.body


def test_without_images_no_route_gives_a_picture(fake_clock: FakeClock) -> None:
    observer = Observer(fake_clock)
    assert observer.status()["images"] is False
    for path in ("/crops", "/crop", "/preview"):
        assert get(observer, fake_clock, path)[0] == 404


@pytest.mark.parametrize("query", ["", "id=", "id=-1", "id=1e3", "id=٣", "id=" + "9" * 30, "id=7&id=8", "&" * 500])
def test_a_crop_that_is_not_there_is_not_found(images: Images, fake_clock: FakeClock, query: str) -> None:
    assert get(Observer(fake_clock, images=images), fake_clock, "/crop", query)[0] == 404


def test_crops_are_listed_and_fetched_by_the_page(images: Images, fake_clock: FakeClock) -> None:
    observer = Observer(fake_clock, images=images)
    images.looked(frame(), [judged(frame(), 1, 50.0)], [])
    status, body = get(observer, fake_clock, "/crops", "camera=door&camera=yard")
    assert status == 200
    (crop,) = json.loads(body)["door"]["accepted"]
    assert get(observer, fake_clock, "/crop", f"id={crop['id']}")[1].startswith(b"\xff\xd8\xff")
