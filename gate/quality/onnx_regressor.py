"""Quality regressors as ONNX files, through onnxruntime: the official eDifFIQA-T or anybody's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gate.errors import DeviceError, QualityError, WeightsError
from gate.quality.backbone import InputContract
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.method import TorchMethod
from gate.types import CROP_SIDE_PX


class OnnxRegressor(TorchMethod):
    """raw = score = the file's own answer, for a model of one N x 3 x S x S float input and one number a crop.

    Crops are resized where S is not 112. A model whose batch is fixed gets that many crops a run. `device` tells the
    provider that really runs.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str = "onnx",
        source: str | None = None,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        colour: Literal["rgb", "bgr"] = "rgb",
        mean: float = 127.5,
        scale: float = 127.5,
    ) -> None:
        """Load a model.

        Args:
            path: the `.onnx` file.
            name: name of the method.
            source: name of the weights in `model`; default is the file's.
            device: `cpu` or `cuda:N`; the latter needs an onnxruntime with CUDA and falls back to the CPU without.
            max_batch: most crops scored at once.
            calibration: maps to 0..100; default is the shipped ones.
            colour: `rgb` or `bgr`.
            mean: taken from every value on 0..255; the default is that of eDifFIQA-T.
            scale: what is left is divided by this.

        Raises:
            WeightsError: there is no such file, or it is no model.
            QualityError: the model's input or output is of another kind.
            DeviceError: onnxruntime cannot be imported.
        """
        from gate.weights import checkpoint

        if colour not in {"rgb", "bgr"}:
            raise QualityError(f"{name}: colour must be rgb or bgr, got {colour!r}")
        if scale == 0:
            raise QualityError(f"{name}: scale must not be 0")
        file = Path(path)
        model = checkpoint.model_id(source or file.stem, file)
        self._session = open_session(file, device)
        on_gpu = self._session.get_providers()[0] == "CUDAExecutionProvider"
        super().__init__(
            name=name,
            model=model,
            device=device if on_gpu else "cpu",
            max_batch=max_batch,
            calibration=calibration,
        )
        self._input, self._rows, side_px = _input_of(self._session, name)
        self._contract = InputContract(colour, float(mean), float(scale), side_px)

    def calibration_options(self) -> dict[str, OptionValue]:
        """The input contract: the file does not carry it, and it changes the number."""
        return {"colour": self._contract.colour, "mean": self._contract.mean, "scale": self._contract.scale}

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        del seeds
        inputs = self._contract.normalise(crops).cpu().numpy()
        rows = self._rows or len(inputs)
        answers = [self._run(inputs[start : start + rows], rows) for start in range(0, len(inputs), rows)]
        return torch.from_numpy(np.concatenate(answers))

    def _run(self, inputs: np.ndarray[Any, np.dtype[np.float32]], rows: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """At most `rows` crops, filled up to `rows` where the model's batch is fixed."""
        filled = np.resize(inputs, (rows, *inputs.shape[1:])) if len(inputs) < rows else inputs
        answer = np.asarray(self._session.run(None, {self._input: filled})[0], dtype=np.float32)
        if answer.size != len(filled):
            raise QualityError(
                f"{self.name}: {self.model} answers {answer.shape} for {len(filled)} crops; one number a crop is needed"
            )
        return answer.reshape(-1)[: len(inputs)]


def open_session(path: Path, device: str) -> Any:
    """An onnxruntime session with torch's number of threads, on the CPU where it has no provider for the device.

    Raises:
        WeightsError: the file is no model.
        DeviceError: onnxruntime cannot be imported.
    """
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"onnxruntime cannot be imported ({error}). Install onnxruntime to run {path.name}."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        index = int(device.partition(":")[2] or 0)
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        # onnxruntime raises its own unexported classes for a file that is no model.
        raise WeightsError(f"{path} cannot be run by onnxruntime: {str(error).splitlines()[0]}") from error


def _input_of(session: Any, name: str) -> tuple[str, int | None, int]:
    """Input name, fixed batch (None for any) and side in pixels."""
    inputs = session.get_inputs()
    shape: Sequence[Any] = inputs[0].shape if inputs else ()
    # A free axis is None or a name.
    channels_first = len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int))
    if len(inputs) != 1 or not channels_first or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{node.name} {node.shape} {node.type}" for node in inputs)
        raise QualityError(f"{name}: the model must have one float input of N x 3 x S x S, it has {found or 'none'}")
    side_px = shape[2] if isinstance(shape[2], int) and shape[2] > 0 else CROP_SIDE_PX
    rows = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    return inputs[0].name, rows, side_px
