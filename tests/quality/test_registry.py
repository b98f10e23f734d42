import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gate.errors import DeviceError, QualityError
from gate.quality import load_method, method_info, methods
from gate.quality.backbone import Backbone
from gate.quality.registry import MethodInfo, Needs
from gate.types import Image
from gate.weights.zoo import Zoo


@pytest.mark.parametrize("info", methods(), ids=lambda info: info.name)
def test_every_row_leads_to_a_constructor_with_these_options_and_defaults(info: MethodInfo) -> None:
    module, _, attribute = info.constructor.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    assert {"device", "max_batch", "calibration"} <= set(parameters)
    assert set(info.extra) <= set(parameters)
    for option, default in info.options.items():
        assert parameters[option].default == default, option
    assert info.description
    assert "\n" not in info.description


@pytest.mark.parametrize("info", methods(), ids=lambda info: info.name)
def test_every_default_weight_is_in_the_zoo(info: MethodInfo, tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    if info.weights is not None:
        assert zoo.entry(info.weights).kind in {"regressor", "diffusion"}
    if info.kind in {Needs.BACKBONE, Needs.BACKBONE_AND_UNET}:
        assert info.backbone is not None
        assert zoo.entry(info.backbone).kind == "recognizer"


def test_names_are_unique_and_complete() -> None:
    names = [info.name for info in methods()]
    assert len(names) == len(set(names))
    published = {"grafiqs", "serfiq", "faceqan", "diffiqa", "diffiqa-r", "ediffiqa-l", "ediffiqa-m", "ediffiqa-s"}
    assert published | {"ediffiqa-t", "crfiqa-l", "crfiqa-s", "embedding-norm", "mirror-cosine"} <= set(names)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grafics", {}, "unknown method 'grafics'; did you mean 'grafiqs'"),
        ("grafiqs", {"fi": "block2"}, "grafiqs: unknown option 'fi'"),
        ("serfiq", {"pases": 10}, "did you mean 'passes'"),
        ("sharpness", {"phi": "block1"}, "sharpness: unknown option 'phi'; it has none"),
        ("sharpness", {"backbone": "facexzoo-mobilefacenet"}, "sharpness uses no backbone"),
        ("onnx", {}, "onnx needs weights"),
    ],
)
def test_wrong_names_and_options_name_the_nearest(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(QualityError, match=message):
        load_method(name, **options)  # type: ignore[arg-type]


def test_a_loaded_backbone_is_used_as_it_is(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = load_method("grafiqs", backbone=tiny_backbone, phi="block1")
    assert method.model == tiny_backbone.model
    assert method.raw(noise_crops).shape == (len(noise_crops),)


def test_default_serfiq_and_grafiqs_are_calibrated(facexzoo: Backbone, portable_crops: Image) -> None:
    blank = portable_crops.copy()
    blank[:] = portable_crops.mean(axis=(1, 2), keepdims=True)
    for name in ("serfiq", "grafiqs", "embedding-norm", "mirror-cosine"):
        method = load_method(name, backbone=facexzoo)
        quality = method.quality(portable_crops)
        assert ((quality > 30) & (quality <= 100)).all(), name
        if name != "mirror-cosine":
            assert (method.quality(blank) < quality).all(), name
        np.testing.assert_allclose(method.quality_of(method.raw(portable_crops)), quality, atol=0.1)


def test_default_backbone_comes_from_the_zoo(facexzoo: Backbone, weights_folder: Path) -> None:
    assert load_method("serfiq", zoo=Zoo(weights_folder)).model == facexzoo.model


def test_calibration_file_is_read(tmp_path: Path, tiny_backbone: Backbone, noise_crops: Image) -> None:
    from gate.quality.calibration import CalibrationTable, fit
    from gate.quality.grafiqs import Grafiqs

    plain = Grafiqs(tiny_backbone)
    scores = plain.score(noise_crops)
    table = CalibrationTable((fit(plain.calibrated_value(plain.raw(noise_crops)), plain.calibration_key),), "made")
    (tmp_path / "mine.json").write_text(table.to_text(), encoding="utf-8")
    method = load_method("grafiqs", backbone=tiny_backbone, calibration=tmp_path / "mine.json")
    quality = method.quality(noise_crops)
    assert quality[scores.argmax()] == pytest.approx(100, abs=1)
    assert quality[scores.argmin()] == pytest.approx(0, abs=1)


def test_device_that_is_not_here_is_told(tiny_backbone: Backbone) -> None:
    with pytest.raises(DeviceError, match=r"'cuda:99' is not here: torch .* sees"):
        load_method("grafiqs", backbone=tiny_backbone, device="cuda:99")
    with pytest.raises(DeviceError, match="unknown device 'gpu'"):
        load_method("grafiqs", backbone=tiny_backbone, device="gpu")


def test_methods_are_listed_without_torch() -> None:
    code = (
        "import json, sys; import gate.quality as q; "
        "print(json.dumps([len(q.methods()), 'torch' in sys.modules, 'cv2' in sys.modules]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, torch_imported, cv2_imported = json.loads(answer.stdout)
    assert count == len(methods())
    assert not torch_imported
    assert not cv2_imported


def test_method_info_finds_a_row() -> None:
    assert method_info("serfiq").needs == "a recognition network"


def test_broken_torch_is_a_device_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open')", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from gate.errors import DeviceError\n"
        "from gate.quality import load_method\n"
        "try:\n    load_method('grafiqs', backbone='iresnet18:a.pt')\n"
        "except DeviceError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch cannot be imported (OSError: libcudart.so.13: cannot open)" in answer.stdout
