import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gate.errors import QualityError
from gate.inference import Backend
from gate.quality import load_method
from gate.quality.onnx_regressor import OnnxRegressor
from gate.quality.regressor import Regressor
from gate.types import Image
from gate.weights.zoo import Zoo


def test_the_onnx_file_that_ships_holds_the_same_numbers_as_the_safetensors() -> None:
    import onnx

    zoo = Zoo()
    tensors = load_file(zoo.path("facegate-t"))
    model = onnx.load(str(zoo.path("facegate-t-onnx")))
    weights = {w.name.removesuffix(".half"): onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    assert weights.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(weights[name].astype(np.float32), tensor.astype(np.float32), err_msg=name)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_every_backend_scores_as_torch_does_and_names_the_same_weights(backend: Backend, noise_crops: Image) -> None:
    there, here = load_method("regressor", backend=backend), load_method("regressor")
    assert isinstance(there, OnnxRegressor)
    assert isinstance(here, Regressor)
    assert (there.name, there.model) == (here.name, here.model)
    crops = np.concatenate([noise_crops] * 3)
    np.testing.assert_allclose(there.raw(crops), here.raw(crops), atol=1e-5)
    np.testing.assert_allclose(there.quality(crops), here.quality(crops), atol=0.01)


def test_half_precision_of_openvino_keeps_the_order_of_faces(portable_crops: Image) -> None:
    rough = load_method("regressor", backend="openvino", precision="bfloat16").raw(portable_crops)
    exact = load_method("regressor").raw(portable_crops)
    np.testing.assert_allclose(rough, exact, atol=0.05)
    np.testing.assert_array_equal(rough.argsort(), exact.argsort())


def test_weights_of_ones_own_stay_with_torch_unless_another_backend_is_insisted_on(tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(Zoo().path("facegate-t").read_bytes())
    assert isinstance(load_method("regressor", weights=mine, backend="auto"), Regressor)
    with pytest.raises(QualityError, match=r"runs ONNX files, and mine\.safetensors is none\. Write one with `gate"):
        load_method("regressor", weights=mine, backend="openvino")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_shipped_regressor_and_its_last_fallback_score_without_torch(backend: str) -> None:
    code = (
        "import sys, numpy as np\n"
        "from gate.quality import load_method\n"
        "crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)\n"
        f"print(load_method('regressor', device='cpu', backend={backend!r}).quality(crops).shape)\n"
        "print(load_method('sharpness', device='cpu').quality(crops).shape)\n"
        "print('torch' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:3] == ["(3,)", "(3,)", "False"]
