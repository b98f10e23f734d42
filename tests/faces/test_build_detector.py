import subprocess
import sys
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.faces.build import build_detector
from gate.faces.detector import Detector
from gate.types import Image


def test_yunet_is_built_with_its_settings(yunet_weights: Path, portraits: dict[str, Image]) -> None:
    detector: Detector = build_detector("yunet", yunet_weights, min_score=0.9, max_side_px=320)
    assert (detector.name, detector.device) == ("yunet", "cpu")
    assert all(face.score >= 0.9 for face in detector.detect(portraits["group"]))


def test_scrfd_is_built_from_a_pack(insightface_root: Path, portraits: dict[str, Image]) -> None:
    detector: Detector = build_detector("scrfd", "buffalo_sc", root=insightface_root, max_side_px=320)
    assert detector.name == "scrfd"
    assert len(detector.detect(portraits["astronaut"])) == 1


def test_an_unknown_detector_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no detector 'retinanet'; detector\.name is yunet or scrfd"):
        build_detector("retinanet", "x.onnx")


def test_importing_the_room_loads_no_heavy_library() -> None:
    heavy = "{'cv2', 'torch', 'onnxruntime', 'insightface'}"
    rooms = "gate.faces.build, gate.faces.yunet, gate.faces.scrfd, gate.faces.align, gate.faces.tracker"
    program = f"import sys, {rooms}, gate.quality.signals; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
