"""Which form of a regressor's weights is loaded, and what runs it; torch is imported only where it does."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gate.errors import QualityError
from gate.inference import Backend, Engine, engine_for
from gate.quality.calibration import CalibrationTable
from gate.quality.contract import CONTRACTS
from gate.quality.device import require_torch
from gate.quality.precision import onnx_precision
from gate.weights import checkpoint
from gate.weights.zoo import Zoo

if TYPE_CHECKING:
    from gate.quality.method import CalibratedMethod

CONTRACT = CONTRACTS["arcface"]
"""What all that are published were trained to see: RGB in [-1, 1]."""


def load_regressor(
    path: Path,
    *,
    name: str,
    source: str | None = None,
    device: str = "cpu",
    max_batch: int = 32,
    calibration: CalibrationTable | None = None,
    precision: str = "auto",
    backend: Backend = "torch",
    zoo: Zoo | None = None,
) -> "CalibratedMethod":
    """A regressor with its weights.

    Args:
        path: a checkpoint in the published layout, or an ONNX file.
        name: `regressor`, `ediffiqa-t`, `-s`, `-m`, `-l`, `diffiqa-r`, `crfiqa-s` or `-l`.
        source: name of the weights in `model`; default is `name`.
        device: `cpu` or `cuda:N`.
        max_batch: most crops scored at once.
        calibration: maps to 0..100; default is the shipped ones.
        precision: of the convolutions, see `gate.quality.precision`.
        backend: what runs it on a CPU. Without torch it has to be an ONNX file, or weights that the zoo has as one too;
            `auto` leaves others to torch. An ONNX file never runs on torch.
        zoo: where the other form is looked up.

    Raises:
        QualityError: another name, a precision that cannot be, or a backend that cannot run these weights.
        WeightsError: the file is missing or belongs to another network.
        DeviceError: the backend, or torch, cannot be used.
    """
    common: dict[str, Any] = {"device": device, "max_batch": max_batch, "calibration": calibration}
    if path.suffix.lower() == ".onnx":
        options: dict[str, Any] = {
            "colour": CONTRACT.colour,
            "mean": CONTRACT.mean,
            "scale": CONTRACT.scale,
            "precision": precision,
        }
        return load_onnx(path, name=name, source=source, backend=backend, **common, **options)
    if device == "cpu" and (engine := engine_for(backend)) is not None:
        twin = _onnx_twin(source, zoo)
        if twin is not None:
            model = checkpoint.model_id(source or name, path)
            return _open(twin, engine, name=name, model=model, precision=precision, **common)
        if backend != "auto":
            raise QualityError(
                f"{name}: backend {backend} runs ONNX files, and {path.name} is none. Write one with `gate models "
                f"export {source or path.name} -o FILE.onnx` and name it as weights, or set backend: auto."
            )
    require_torch()
    from gate.quality.regressor import torch_regressor

    return torch_regressor(path, name=name, source=source, precision=precision, **common)


def load_onnx(
    path: Path,
    *,
    name: str = "onnx",
    source: str | None = None,
    device: str = "cpu",
    max_batch: int = 32,
    calibration: CalibrationTable | None = None,
    colour: Literal["rgb", "bgr"] = "rgb",
    mean: float = 127.5,
    scale: float = 127.5,
    precision: str = "auto",
    backend: Backend = "torch",
    zoo: Zoo | None = None,
) -> "CalibratedMethod":
    """Any regressor as an ONNX file, by onnxruntime where the backend is torch; see `OnnxRegressor`."""
    del zoo
    return _open(
        path,
        (engine_for(backend) if device == "cpu" else None) or "onnxruntime",
        name=name,
        source=source,
        device=device,
        max_batch=max_batch,
        calibration=calibration,
        precision=precision,
        colour=colour,
        mean=mean,
        scale=scale,
    )


def _open(path: Path, engine: Engine, *, name: str, precision: str = "auto", **options: Any) -> "CalibratedMethod":
    from gate.quality.onnx_regressor import OnnxRegressor

    return OnnxRegressor(path, name=name, engine=engine, precision=onnx_precision(name, precision, engine), **options)


def _onnx_twin(source: str | None, zoo: Zoo | None) -> Path | None:
    """The same weights as an ONNX file, where the zoo has them."""
    if source is None:
        return None
    shelf = zoo or Zoo()
    twin = shelf.entry(source).twin
    return None if twin is None else shelf.ensure(twin)
