import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from gate.errors import DeviceError, WeightsError
from gate.faces.geometry import iou_matrix
from gate.faces.scrfd import ScrfdDetector
from gate.faces.yunet import YuNetDetector
from gate.types import Face, Image


def pairs(first: list[Face], second: list[Face]) -> list[tuple[Face, Face, float]]:
    overlap = iou_matrix([face.box_xywh for face in first], [face.box_xywh for face in second])
    return [(face, second[j], overlap[i, j]) for i, (face, j) in enumerate(zip(first, overlap.argmax(1), strict=True))]


def landmark_distance(one: Face, other: Face) -> float:
    """Mean over the five, in eye distances of `one`."""
    eyes_px = float(np.linalg.norm(one.landmarks[1] - one.landmarks[0]))
    return float(np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean()) / eyes_px


def test_the_portraits_hold_one_one_and_six_faces(scrfd: ScrfdDetector, portraits: dict[str, Image]) -> None:
    assert {name: len(scrfd.detect(image)) for name, image in portraits.items()} == {
        "astronaut": 1,
        "grace_hopper": 1,
        "group": 6,
    }


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper", "group"])
def test_both_detectors_find_the_same_faces(
    scrfd: ScrfdDetector, yunet: YuNetDetector, portraits: dict[str, Image], name: str
) -> None:
    matched = pairs(scrfd.detect(portraits[name]), yunet.detect(portraits[name]))
    assert all(overlap > 0.5 for _, _, overlap in matched)
    assert len({id(partner) for _, partner, _ in matched}) == len(matched)
    # YuNet draws the eyes of tilted heads level, so only upright portraits agree within a tenth.
    bar = 0.1 if name != "group" else 0.35
    assert all(landmark_distance(face, partner) < bar for face, partner, _ in matched)


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper", "group"])
def test_a_picture_twice_as_large_has_the_same_faces_at_twice_the_coordinates(
    scrfd: ScrfdDetector, portraits: dict[str, Image], name: str
) -> None:
    image = portraits[name]
    faces, enlarged = scrfd.detect(image), scrfd.detect(image.repeat(2, axis=0).repeat(2, axis=1))
    assert len(faces) == len(enlarged)
    halved = [
        Face(box_xywh=face.box_xywh / np.float32(2), landmarks=face.landmarks / np.float32(2), score=face.score)
        for face in enlarged
    ]
    for face, partner, overlap in pairs(faces, halved):
        assert overlap > 0.7
        assert landmark_distance(face, partner) < 0.1


def test_a_face_keeps_its_pixels_wherever_the_picture_is_padded(
    scrfd: ScrfdDetector, portraits: dict[str, Image]
) -> None:
    image = portraits["astronaut"][:256, :320]
    moved = np.pad(image, ((64, 0), (128, 37), (0, 0)))
    ((face, partner, _),) = pairs(scrfd.detect(image), scrfd.detect(moved))
    assert np.abs(partner.landmarks - [128, 64] - face.landmarks).max() < 4


def test_colours_reach_the_network_in_its_own_order(scrfd: ScrfdDetector, portraits: dict[str, Image]) -> None:
    image = portraits["astronaut"]
    rows, _ = scrfd._net.detect(np.ascontiguousarray(image[:, :, ::-1]), input_size=(512, 512))
    (face,) = scrfd.detect(image)
    assert face.score == pytest.approx(float(rows[0, 4]), abs=1e-6)


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 900), (900, 1), (33, 31), (3000, 4000)])
def test_black_frames_of_any_size_hold_nobody(scrfd: ScrfdDetector, shape: tuple[int, int]) -> None:
    assert scrfd.detect(np.zeros((*shape, 3), dtype=np.uint8)) == []


def test_nan_from_the_network_is_no_face(
    insightface_root: Path, portraits: dict[str, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ScrfdDetector("buffalo_sc", root=insightface_root)
    found = detector._net.detect

    def poisoned(*args: object, **kwargs: object) -> tuple[np.ndarray, np.ndarray]:
        rows, points = found(*args, **kwargs)
        rows[0, 2], points[1, 0, 0], rows[2, :4] = np.nan, np.inf, (np.inf, np.inf, np.inf, np.inf)
        return rows, points

    monkeypatch.setattr(detector._net, "detect", poisoned)
    assert len(detector.detect(portraits["group"])) == 3


def test_a_file_is_as_good_as_a_pack(insightface_root: Path, portraits: dict[str, Image]) -> None:
    detector = ScrfdDetector(insightface_root / "models" / "buffalo_sc" / "det_500m.onnx")
    assert len(detector.detect(portraits["group"])) == 6


def test_the_detector_of_a_pack_is_found_whatever_its_file_is_called(
    insightface_root: Path, tmp_path: Path, portraits: dict[str, Image]
) -> None:
    pack = tmp_path / "models" / "mine"
    pack.mkdir(parents=True)
    source = insightface_root / "models" / "buffalo_sc"
    shutil.copy(source / "w600k_mbf.onnx", pack / "a.onnx")
    shutil.copy(source / "det_500m.onnx", pack / "b.onnx")
    assert len(ScrfdDetector("mine", root=tmp_path).detect(portraits["group"])) == 6


def test_the_provider_that_runs_is_the_one_reported(insightface_root: Path, recwarn: pytest.WarningsRecorder) -> None:
    detector = ScrfdDetector(
        "buffalo_sc", root=insightface_root, providers=["TensorrtExecutionProvider", "CPUExecutionProvider"]
    )
    assert detector.device == "cpu"
    assert not recwarn.list


def test_a_provider_that_is_not_there_is_an_error_that_names_those_that_are(insightface_root: Path) -> None:
    if "ROCMExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the provider that the test takes for absent")
    with pytest.raises(DeviceError, match=r"offers .*CPUExecutionProvider.*not ROCMExecutionProvider"):
        ScrfdDetector("buffalo_sc", root=insightface_root, providers=["ROCMExecutionProvider"])


def test_a_missing_pack_names_the_folder_and_the_licence_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import insightface.model_zoo.model_zoo as zoo

    def no_download(*_: object, **__: object) -> None:
        raise AssertionError("insightface must not download")

    monkeypatch.setattr(zoo, "download_onnx", no_download)
    with pytest.raises(WeightsError) as caught:
        ScrfdDetector("buffalo_l", root=tmp_path)
    assert str(tmp_path / "models" / "buffalo_l") in str(caught.value)
    assert "non-commercial" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no SCRFD weights at .*det\.onnx"):
        ScrfdDetector(tmp_path / "det.onnx")


def test_a_network_that_detects_nothing_is_refused(insightface_root: Path) -> None:
    with pytest.raises(WeightsError, match=r"w600k_mbf\.onnx: not a detector with five landmarks"):
        ScrfdDetector(insightface_root / "models" / "buffalo_sc" / "w600k_mbf.onnx")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "det_broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"det_broken\.onnx"):
        ScrfdDetector(broken)


def test_loading_is_silent(insightface_root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    printed_to = sys.stdout
    ScrfdDetector("buffalo_sc", root=insightface_root)
    assert sys.stdout is printed_to
    assert capfd.readouterr() == ("", "")
