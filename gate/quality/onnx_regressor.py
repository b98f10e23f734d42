"""Quality regressors as ONNX files, without torch: the one that ships, the official eDifFIQA-T or anybody's own."""

from pathlib import Path
from typing import Literal

import numpy as np

from gate.errors import QualityError
from gate.inference import Engine, Network, Precision, open_network
from gate.quality.array_method import ArrayMethod
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.contract import InputContract
from gate.quality.device import cpu_threads
from gate.types import CROP_SIDE_PX, FloatArray, Image


class OnnxRegressor(ArrayMethod):
    """raw = score = the file's own answer, for a model of one N x 3 x S x S float input and one number a crop.

    Crops are resized where S is not 112. A model whose batch is fixed gets that many crops a run. `device` tells where
    it really runs.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str = "onnx",
        source: str | None = None,
        model: str | None = None,
        engine: Engine = "onnxruntime",
        device: str = "cpu",
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        colour: Literal["rgb", "bgr"] = "rgb",
        mean: float = 127.5,
        scale: float = 127.5,
        precision: Precision = "float32",
    ) -> None:
        """Load a model.

        Args:
            path: the `.onnx` file.
            name: name of the method.
            source: name of the weights in `model`; default is the file's.
            model: what the weights are called where the file is another form of them; default is made of `source`.
            engine: what runs it.
            device: `cpu` or `cuda:N`; the latter needs an onnxruntime with CUDA and falls back to the CPU without.
            max_batch: most crops scored at once.
            calibration: maps to 0..100; default is the shipped ones.
            colour: `rgb` or `bgr`.
            mean: taken from every value on 0..255; the default is that of eDifFIQA-T.
            scale: what is left is divided by this.
            precision: see `gate.inference.open_network`.

        Raises:
            WeightsError: there is no such file, or it is no model.
            QualityError: the model's input or output is of another kind.
            DeviceError: the engine cannot be imported.
        """
        from gate.weights import checkpoint

        if colour not in {"rgb", "bgr"}:
            raise QualityError(f"{name}: colour must be rgb or bgr, got {colour!r}")
        if scale == 0:
            raise QualityError(f"{name}: scale must not be 0")
        file = Path(path)
        self._network: Network = open_network(file, engine, device=device, threads=cpu_threads(), precision=precision)
        super().__init__(
            name=name,
            model=model or checkpoint.model_id(source or file.stem, file),
            device=self._network.device,
            max_batch=max_batch,
            calibration=calibration,
        )
        self._rows, side_px = _input_of(self._network, name)
        self._contract = InputContract(colour, float(mean), float(scale), side_px)

    def calibration_options(self) -> dict[str, OptionValue]:
        """The input contract, of a file that is only known as such: it does not carry it, and it changes the number."""
        if self.name != "onnx":
            return {}
        return {"colour": self._contract.colour, "mean": self._contract.mean, "scale": self._contract.scale}

    def _raw_batch(self, crops: Image) -> FloatArray:
        inputs = self._contract.normalised(crops)
        rows = self._rows or len(inputs)
        answers = [self._run(inputs[start : start + rows], rows) for start in range(0, len(inputs), rows)]
        return np.concatenate(answers)

    def _run(self, inputs: FloatArray, rows: int) -> FloatArray:
        """At most `rows` crops, filled up to `rows` where the model's batch is fixed."""
        filled = np.resize(inputs, (rows, *inputs.shape[1:])) if len(inputs) < rows else inputs
        answer = self._network.run(filled)[0]
        if answer.size != len(filled):
            raise QualityError(
                f"{self.name}: {self.model} answers {answer.shape} for {len(filled)} crops; one number a crop is needed"
            )
        return answer.reshape(-1)[: len(inputs)]


def _input_of(network: Network, name: str) -> tuple[int | None, int]:
    """Fixed batch (None for any) and side in pixels."""
    shape = network.input_shape
    channels_first = len(shape) == 4 and shape[1] in {3, None}
    if not channels_first or network.input_type != "float32":
        found = f"{list(shape)} {network.input_type}" if shape else "none or several"
        raise QualityError(f"{name}: the model must have one float input of N x 3 x S x S, it has {found}")
    return shape[0], shape[2] or CROP_SIDE_PX
