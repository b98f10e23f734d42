import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from gate.errors import WeightsError
from gate.faces.detector import Detector
from gate.faces.geometry import iou_matrix
from gate.faces.shrink import shrink
from gate.faces.yunet import YuNetDetector
from gate.faces.yunet_openvino import OpenVinoYuNet
from gate.types import Image
from tests.faces.conftest import MakeYunet


def test_the_portraits_hold_one_one_and_six_faces(yunet: Detector, portraits: dict[str, Image]) -> None:
    assert {name: len(yunet.detect(image)) for name, image in portraits.items()} == {
        "astronaut": 1,
        "grace_hopper": 1,
        "group": 6,
    }


def test_landmarks_are_the_eyes_nose_and_mouth_with_the_image_left_first(
    yunet: Detector, portraits: dict[str, Image]
) -> None:
    (face,) = yunet.detect(portraits["astronaut"])
    # Read off the enlarged picture by eye: pupils, tip of the nose, corners of the mouth.
    seen = np.array([[203, 101], [247, 103], [223, 126], [202, 140], [246, 140]])
    assert np.abs(face.landmarks - seen).max() < 8
    assert face.landmarks.dtype == np.float32
    assert face.box_xywh.dtype == np.float32


def test_mirroring_the_picture_mirrors_faces_and_keeps_the_landmark_order(
    yunet: Detector, portraits: dict[str, Image]
) -> None:
    image = portraits["astronaut"]
    (face,), (mirrored,) = yunet.detect(image), yunet.detect(np.ascontiguousarray(image[:, ::-1]))
    expected = face.landmarks[[1, 0, 2, 4, 3]] * [-1, 1] + [image.shape[1], 0]
    eyes_px = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
    assert np.abs(mirrored.landmarks - expected).max() < 0.2 * eyes_px


def test_red_is_red(make_yunet: MakeYunet, yunet_weights: Path, portraits: dict[str, Image]) -> None:
    image = portraits["astronaut"]
    net = cv2.FaceDetectorYN.create(str(yunet_weights), "", (512, 512), 0.6, 0.3)
    _, rows = net.detect(np.ascontiguousarray(image[:, :, ::-1]))
    (face,) = make_yunet(yunet_weights).detect(image)
    assert face.score == pytest.approx(float(rows[0, 14]), abs=1e-6)
    assert face.box_xywh == pytest.approx(rows[0, :4], abs=1e-3)


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper", "group"])
def test_a_picture_twice_as_large_has_the_same_faces_at_twice_the_coordinates(
    yunet: Detector, portraits: dict[str, Image], name: str
) -> None:
    image = portraits[name]
    large = np.asarray(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    faces, enlarged = yunet.detect(image), yunet.detect(large)
    assert len(faces) == len(enlarged)
    overlap = iou_matrix([face.box_xywh for face in faces], [face.box_xywh / 2 for face in enlarged])
    assert overlap.max(axis=1).min() > 0.7
    for face, partner in zip(faces, overlap.argmax(axis=1), strict=True):
        eyes_px = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
        off = np.linalg.norm(enlarged[partner].landmarks / 2 - face.landmarks, axis=1)
        assert off.mean() < 0.3 * eyes_px


def test_a_wide_frame_is_mapped_back_along_both_axes(yunet: Detector, portraits: dict[str, Image]) -> None:
    image = portraits["astronaut"][:256]
    wide = np.zeros((700, 2333, 3), dtype=np.uint8)
    wide[300:556, 1500:2012] = image
    (alone,), (found,) = yunet.detect(image), yunet.detect(wide)
    shifted = alone.box_xywh + np.array([1500, 300, 0, 0], dtype=np.float32)
    assert iou_matrix([shifted], [found.box_xywh])[0, 0] > 0.7


def test_frame_sizes_may_change_from_frame_to_frame(
    make_yunet: MakeYunet, yunet_weights: Path, portraits: dict[str, Image]
) -> None:
    detector = make_yunet(yunet_weights)
    first = detector.detect(portraits["astronaut"])
    detector.detect(portraits["group"])
    again = detector.detect(portraits["astronaut"])
    assert first[0].box_xywh.tolist() == again[0].box_xywh.tolist()


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 900), (900, 1), (7, 5), (33, 31), (3000, 4000)])
def test_black_frames_of_any_size_hold_nobody(yunet: Detector, shape: tuple[int, int]) -> None:
    assert yunet.detect(np.zeros((*shape, 3), dtype=np.uint8)) == []


def test_a_huge_frame_is_searched_at_the_configured_size(yunet: Detector, portraits: dict[str, Image]) -> None:
    huge = np.zeros((3000, 4000, 3), dtype=np.uint8)
    big = cv2.resize(portraits["grace_hopper"], (2048, 2400))
    huge[300:2700, 500:2548] = big
    (face,) = yunet.detect(huge)
    (alone,) = yunet.detect(portraits["grace_hopper"])
    assert iou_matrix([alone.box_xywh * 4 + np.array([500, 300, 0, 0])], [face.box_xywh])[0, 0] > 0.6


def test_small_frames_are_not_enlarged_and_keep_their_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    small = shrink(image, 640)
    assert small.image is image
    assert (small.scale_x, small.scale_y) == (1.0, 1.0)


@pytest.mark.parametrize("shape", [(1080, 1920), (1920, 1080), (3000, 1), (641, 640)])
def test_large_frames_shrink_to_the_longer_side_and_the_scales_lead_back(shape: tuple[int, int]) -> None:
    small = shrink(np.zeros((*shape, 3), dtype=np.uint8), 640)
    height, width = small.image.shape[:2]
    assert max(height, width) == 640
    assert (width * small.scale_x, height * small.scale_y) == pytest.approx((shape[1], shape[0]))


def test_views_and_frozen_frames_are_read_as_they_are(yunet: Detector, portraits: dict[str, Image]) -> None:
    image = portraits["astronaut"]
    frozen = image.copy()
    frozen.setflags(write=False)
    view = np.pad(image, ((0, 8), (8, 0), (0, 0)))[:512, 8:]
    wanted = [face.box_xywh.tolist() for face in yunet.detect(image)]
    assert [face.box_xywh.tolist() for face in yunet.detect(frozen)] == wanted
    assert [face.box_xywh.tolist() for face in yunet.detect(view)] == wanted


def test_fewer_faces_pass_a_higher_bar(make_yunet: MakeYunet, yunet_weights: Path, portraits: dict[str, Image]) -> None:
    strict = make_yunet(yunet_weights, min_score=0.9).detect(portraits["group"])
    assert all(face.score >= 0.9 for face in strict)
    assert len(strict) < 6


def test_it_says_where_it_runs(yunet: Detector) -> None:
    assert (yunet.name, yunet.device) == ("yunet", "cpu")


def test_missing_weights_are_named_with_the_remedy(make_yunet: MakeYunet, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.onnx.*gate models pull yunet"):
        make_yunet(tmp_path / "nowhere.onnx")


def test_a_file_that_is_no_network_is_refused(
    make_yunet: MakeYunet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no network" * 100)
    with pytest.raises(WeightsError, match=r"broken\.onnx is not a YuNet"):
        make_yunet(broken)


def test_another_network_is_refused(make_yunet: MakeYunet, insightface_root: Path) -> None:
    with pytest.raises(WeightsError, match="is not a YuNet"):
        make_yunet(insightface_root / "models" / "buffalo_sc" / "w600k_mbf.onnx")


def test_loading_is_silent_and_leaves_opencvs_log_level_alone(
    yunet_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    YuNetDetector(yunet_weights)
    assert logging.getLogLevel() == before
    assert capfd.readouterr() == ("", "")


def test_it_may_be_made_in_one_thread_and_used_in_another(
    make_yunet: MakeYunet, yunet_weights: Path, portraits: dict[str, Image]
) -> None:
    detector, found = make_yunet(yunet_weights), []
    worker = threading.Thread(target=lambda: found.extend(detector.detect(portraits["astronaut"])))
    worker.start()
    worker.join()
    assert len(found) == 1


def test_openvino_finds_what_opencv_finds(yunet_weights: Path, portraits: dict[str, Image]) -> None:
    opencv, openvino = YuNetDetector(yunet_weights), OpenVinoYuNet(yunet_weights)
    for image in (*portraits.values(), np.ascontiguousarray(portraits["group"][:, ::-1])):
        for one, other in zip(opencv.detect(image), openvino.detect(image), strict=True):
            np.testing.assert_allclose(one.box_xywh, other.box_xywh, atol=0.01)
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.01)
            assert one.score == pytest.approx(other.score, abs=1e-4)


def test_few_shapes_of_pictures_are_kept_ready(yunet_weights: Path) -> None:
    detector = OpenVinoYuNet(yunet_weights)
    for side in range(64, 64 + 10 * 32, 32):
        assert detector.detect(np.zeros((side, 64, 3), np.uint8)) == []
    assert len(detector._networks) == 4
