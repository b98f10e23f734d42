"""Weights for the detectors."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from gate.faces.detector import Detector
from gate.faces.scrfd import ScrfdDetector
from gate.faces.yunet import YuNetDetector
from gate.faces.yunet_openvino import OpenVinoYuNet

MakeYunet: TypeAlias = Callable[..., Detector]


@pytest.fixture(scope="session")
def yunet_weights(request: pytest.FixtureRequest) -> Path:
    """YuNet from the development data, else from where the zoo keeps it."""
    try:
        file: Path = request.getfixturevalue("shared_data") / "weights" / "yunet_2023mar.onnx"
    except pytest.skip.Exception:
        file = request.getfixturevalue("weights_folder") / "yunet_2023mar.onnx"
    if not file.is_file():
        pytest.skip(f"no YuNet weights at {file}; `gate models pull yunet` fetches them")
    return file


@pytest.fixture(scope="session")
def insightface_root(shared_data: Path) -> Path:
    """Folder that holds models/buffalo_sc; its weights may not be shipped, so only development machines have it."""
    root = shared_data / "weights" / "insightface"
    if not (root / "models" / "buffalo_sc").is_dir():
        pytest.skip("the insightface pack buffalo_sc is not in the development data")
    return root


@pytest.fixture(scope="session", params=[YuNetDetector, OpenVinoYuNet], ids=["opencv", "openvino"])
def make_yunet(request: pytest.FixtureRequest) -> MakeYunet:
    """YuNet by each of those that run it."""
    make: MakeYunet = request.param
    return make


@pytest.fixture(scope="session")
def yunet(yunet_weights: Path, make_yunet: MakeYunet) -> Detector:
    return make_yunet(yunet_weights)


@pytest.fixture(scope="session")
def scrfd(insightface_root: Path) -> ScrfdDetector:
    return ScrfdDetector("buffalo_sc", root=insightface_root)
