from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.errors import QualityError, WeightsError
from gate.quality import load_method
from gate.quality.onnx_regressor import OnnxRegressor
from gate.types import Image


def _write_model(path: Path, *, batch: int | str = "n", side_px: int = 112, outputs: int = 1) -> Path:
    """A model that answers with the mean of what it is fed, times 1, 2, … for several outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    factors = numpy_helper.from_array(np.arange(1, outputs + 1, dtype=np.float32)[None], "factors")
    axes = numpy_helper.from_array(np.asarray([1, 2, 3], dtype=np.int64), "axes")
    shape = numpy_helper.from_array(np.asarray([-1, 1], dtype=np.int64), "shape")
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("Mul", ["column", "factors"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side_px, side_px])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, outputs])
    graph = helper.make_graph(nodes, "mean", [x], [y], [factors, axes, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(path))
    return path


def _greys(*values: int) -> Image:
    return np.stack([np.full((112, 112, 3), value, dtype=np.uint8) for value in values])


def test_default_contract_is_that_of_ediffiqa(tmp_path: Path) -> None:
    method = OnnxRegressor(_write_model(tmp_path / "mean.onnx"))
    np.testing.assert_allclose(method.raw(_greys(0, 255, 51)), [-1, 1, -0.6], rtol=1e-4)
    assert method.device == "cpu"
    assert method.model.startswith("mean@")


def test_contract_colour_and_side_are_the_users(tmp_path: Path) -> None:
    path = _write_model(tmp_path / "mean.onnx", side_px=96)
    method = load_method("onnx", weights=path, mean=128, scale=64, colour="bgr")
    np.testing.assert_allclose(method.raw(_greys(128, 192)), [0, 1], atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_fixed_batches_give_the_same_numbers(batch: int | str, tmp_path: Path) -> None:
    method = OnnxRegressor(_write_model(tmp_path / "mean.onnx", batch=batch), mean=0, scale=1)
    np.testing.assert_allclose(method.raw(_greys(10, 20, 30, 40, 50)), [10, 20, 30, 40, 50], rtol=1e-4)


def test_ediffiqa_t_runs_from_its_onnx_file(tmp_path: Path) -> None:
    method = load_method("ediffiqa-t", weights=_write_model(tmp_path / "tiny.onnx"))
    assert method.name == "ediffiqa-t"
    np.testing.assert_allclose(method.raw(_greys(255)), [1], rtol=1e-5)


def test_model_of_several_numbers_a_crop_is_refused(tmp_path: Path) -> None:
    method = OnnxRegressor(_write_model(tmp_path / "two.onnx", outputs=2))
    with pytest.raises(QualityError, match=r"answers \(3, 2\) for 3 crops; one number a crop"):
        method.raw(_greys(1, 2, 3))


def test_model_of_another_input_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 112, 112, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 112, 112, 3])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "last", [x], [y])
    path = tmp_path / "last.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    with pytest.raises(QualityError, match=r"one float input of N x 3 x S x S, it has \[1, 112, 112, 3\] float32"):
        OnnxRegressor(path)


def test_missing_and_broken_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.onnx"):
        OnnxRegressor(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match=r"broken\.onnx cannot be run by onnxruntime"):
        OnnxRegressor(tmp_path / "broken.onnx")


@pytest.mark.parametrize(("option", "value"), [("scale", 0), ("colour", "grey")])
def test_contracts_that_make_no_sense_are_refused(option: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(QualityError, match=option):
        OnnxRegressor(_write_model(tmp_path / "mean.onnx"), **{option: value})


def test_a_real_quality_network_prefers_the_sharper_face(shared_data: Path, portable_crops: Image) -> None:
    import cv2

    weights = shared_data / "weights" / "lightqnet-dm100_nchw.onnx"
    method = load_method("onnx", weights=weights, mean=128, scale=128)
    sharp = method.raw(portable_crops)
    blurred = np.stack([np.asarray(cv2.GaussianBlur(crop, (0, 0), 4), dtype=np.uint8) for crop in portable_crops])
    assert ((sharp > 0) & (sharp < 1)).all()
    assert (method.raw(blurred) < sharp).all()
