from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gate.cli import main
from gate.errors import QualityError, WeightsError
from gate.lab.recognizers import OnnxEmbedder
from gate.nets.heads import Ediffiqa
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality import load_method
from gate.quality.contract import CONTRACTS
from gate.quality.loading import load_backbone
from gate.quality.onnx_export import export_onnx, load_exportable
from gate.types import Image
from tests.quality.conftest import FillNetwork


def saved(state: Mapping[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.half() for name, tensor in state.items()}, path)
    return path


@pytest.fixture
def regressor_file(filled_state_dict: FillNetwork, tmp_path: Path) -> Path:
    return saved(filled_state_dict(Ediffiqa(mobilefacenet()).state_dict()), tmp_path / "mine.safetensors")


@pytest.fixture
def backbone_file(filled_state_dict: FillNetwork, tmp_path: Path) -> Path:
    return saved(filled_state_dict(mobilefacenet().state_dict()), tmp_path / "trunk.safetensors")


def metadata(path: Path) -> dict[str, str]:
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


def test_a_regressor_scores_the_same_as_onnx(
    regressor_file: Path, noise_crops: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "mine.onnx"
    assert main(["models", "export", str(regressor_file), "--format", "onnx", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "quality of mine@" in printed
    assert "RGB, (x - 127.5) / 127.5; largest difference from torch" in printed
    there = load_method("ediffiqa-t", weights=regressor_file).raw(noise_crops)
    np.testing.assert_allclose(load_method("onnx", weights=out).raw(noise_crops), there, atol=1e-3)
    np.testing.assert_allclose(load_method("onnx", weights=out).raw(noise_crops[:1]), there[:1], atol=1e-3)
    facts = metadata(out)
    assert facts.pop("model").startswith("mine@")
    assert facts == {"answer": "quality", "colour": "rgb", "mean": "127.5", "scale": "127.5", "side_px": "112"}
    assert [path.name for path in out.parent.iterdir()] == ["mine.onnx"]


def test_a_recognition_network_keeps_its_own_input(backbone_file: Path, noise_crops: Image, tmp_path: Path) -> None:
    spec = f"mobilefacenet:{backbone_file}?contract=facexzoo"
    done = export_onnx(load_exportable(spec), tmp_path / "trunk.onnx")
    assert (done.answer, done.contract) == ("embedding", CONTRACTS["facexzoo"])
    assert done.largest_difference < 1e-3
    assert metadata(done.path)["colour"] == "bgr"
    backbone = load_backbone(spec)
    with torch.inference_mode():
        expected = backbone.embed(backbone.inputs(torch.from_numpy(noise_crops))).numpy()
    embedder = OnnxEmbedder("trunk", done.path, CONTRACTS["facexzoo"])
    np.testing.assert_allclose(embedder.embed(noise_crops), expected, atol=1e-3)


def test_a_bare_recognition_network_is_recognised_by_its_tensors(backbone_file: Path) -> None:
    what = load_exportable(str(backbone_file))
    assert (what.answer, what.contract) == ("embedding", CONTRACTS["arcface"])


def test_weights_of_no_known_network_are_refused(tmp_path: Path) -> None:
    path = saved({"layer.weight": torch.ones(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="no network that is known here"):
        load_exportable(str(path))


def test_what_is_onnx_already_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"onnx")
    with pytest.raises(QualityError, match="ONNX file already"):
        load_exportable(str(path))


def test_a_file_that_answers_differently_is_not_written(
    backbone_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, out = load_exportable(str(backbone_file)), tmp_path / "out" / "trunk.onnx"
    out.parent.mkdir()
    out.write_bytes(b"old")
    monkeypatch.setattr("gate.quality.onnx_export.LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(QualityError, match=r"answers differ from torch's by .*trunk\.onnx is not written"):
        export_onnx(what, out)
    assert out.read_bytes() == b"old"
    assert list(out.parent.iterdir()) == [out]
