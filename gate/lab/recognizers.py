"""Recognition networks whose errors are counted: any backbone of the zoo and any ONNX file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import parse_qsl

import numpy as np

from gate.errors import QualityError, WeightsError
from gate.inference import open_session
from gate.types import FloatArray, Image

if TYPE_CHECKING:
    from gate.quality.backbone import Backbone
    from gate.quality.contract import InputContract
    from gate.weights.zoo import Zoo


_ON_CPU = 8
"""Crops at once on a CPU: MobileFaceNet takes 11 ms a crop in batches of 8 and 23 ms in one of 64, on one core."""


class Embedder(Protocol):
    """Turns aligned crops into embeddings. Used by one thread."""

    name: str
    model: str
    """name@first 8 hex digits of the weights' sha256."""

    sha256: str
    """Of the weights; only its first 8 digits where no more are known."""

    @property
    def kind(self) -> Literal["backbone", "onnx"]:
        """What it runs on."""
        ...

    @property
    def identity(self) -> Mapping[str, object]:
        """Everything that the embeddings depend on beside the crop, for the cache."""
        ...

    def embed(self, crops: Image) -> FloatArray:
        """(N, 112, 112, 3) uint8 RGB to (N, D) float32, as the network returns them."""
        ...


class BackboneEmbedder:
    """A network of `gate.quality.load_backbone`."""

    kind: Literal["backbone"] = "backbone"

    def __init__(self, backbone: "Backbone") -> None:
        self.name = backbone.name
        self.model = backbone.model
        self.sha256 = backbone.model.rpartition("@")[2]
        # BatchNorms folded into convolutions give the same embeddings in two thirds of the time.
        self._backbone = backbone.folded

    @property
    def identity(self) -> Mapping[str, object]:
        """See `Embedder.identity`."""
        return {"model": self.model, "contract": str(self._backbone.contract), "device": self._backbone.device}

    def embed(self, crops: Image) -> FloatArray:
        """See `Embedder.embed`."""
        size = _ON_CPU if self._backbone.device == "cpu" else len(crops)
        return np.concatenate([self._run(crops[start : start + size]) for start in range(0, len(crops), size)])

    def _run(self, crops: Image) -> FloatArray:
        import torch

        with torch.inference_mode():
            # torch takes no read-only arrays and none with negative strides.
            images = torch.from_numpy(np.array(crops)).to(self._backbone.device)
            embeddings = self._backbone.embed(self._backbone.inputs(images))
        return embeddings.float().cpu().numpy()


class OnnxEmbedder:
    """An ONNX file of one N x 3 x S x S float input whose first output is one row a crop, through onnxruntime."""

    kind: Literal["onnx"] = "onnx"

    def __init__(self, name: str, path: Path, contract: "InputContract", device: str = "cpu") -> None:
        """Load the file.

        Raises:
            WeightsError: there is no such file.
            QualityError: it is no model, or its input is of another kind.
            DeviceError: onnxruntime cannot be imported.
        """
        from gate.weights.sums import sha256_of

        self.name = name
        self.sha256 = sha256_of(path)
        self.model = f"{name}@{self.sha256[:8]}"
        self._session = _session(path, device)
        self._input, self._rows, side_px = _input_of(self._session, path)
        self._contract = replace(contract, side_px=side_px or contract.side_px)

    @property
    def identity(self) -> Mapping[str, object]:
        """See `Embedder.identity`."""
        provider = self._session.get_providers()[0]
        return {"model": self.model, "contract": str(self._contract), "device": provider}

    def embed(self, crops: Image) -> FloatArray:
        """See `Embedder.embed`."""
        inputs = self._contract.normalised(crops)
        on_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        rows = self._rows or min(len(inputs), _ON_CPU if on_cpu else len(inputs))
        answers = [self._run(inputs[start : start + rows], rows) for start in range(0, len(inputs), rows)]
        return np.concatenate(answers)

    def _run(self, inputs: FloatArray, rows: int) -> FloatArray:
        """At most `rows` crops, filled up to `rows` where the model's batch is fixed."""
        is_short = self._rows is not None and len(inputs) < rows
        filled = np.resize(inputs, (rows, *inputs.shape[1:])) if is_short else inputs
        answer = np.asarray(self._session.run(None, {self._input: filled})[0], dtype=np.float32)
        if answer.ndim != 2 or len(answer) != len(filled) or answer.shape[1] < 2:
            raise QualityError(
                f"{self.model} answers {answer.shape} for {len(filled)} crops; a recognizer gives one embedding a crop"
            )
        return answer[: len(inputs)]


def load_recognizer(spec: str, device: str = "cpu", zoo: "Zoo | None" = None) -> Embedder:
    """A recognizer from one line.

    Args:
        spec: an ONNX file, with `?colour=bgr&mean=0&scale=255` where its input is not RGB, (x - 127.5) / 127.5; a
            recognizer of the zoo (`w600k-mbf`); or anything `gate.quality.load_backbone` takes.
        device: `cpu` or `cuda:N`.
        zoo: where names are looked up; default is the user's own folder.

    Raises:
        QualityError: the line cannot be understood, or the file is no recognizer.
        WeightsError: the weights are missing or damaged.
        DeviceError: torch or onnxruntime cannot be used.
    """
    from gate.quality.contract import InputContract
    from gate.quality.loading import load_backbone, zoo_contract
    from gate.weights.zoo import Zoo

    file, _, query = spec.partition("?")
    if file.lower().endswith(".onnx"):
        return OnnxEmbedder(Path(file).stem, Path(file), _contract(spec, query, InputContract()), device)
    shelf = zoo or Zoo()
    entries = {entry.name: entry for entry in shelf.entries()}
    if spec in entries and (entries[spec].file or "").endswith(".onnx"):
        return OnnxEmbedder(spec, shelf.ensure(spec), zoo_contract(shelf, spec)[0], device)
    return BackboneEmbedder(load_backbone(spec, device, zoo=zoo))


def _contract(spec: str, query: str, base: "InputContract") -> "InputContract":
    options = dict(parse_qsl(query))
    unknown = options.keys() - {"colour", "mean", "scale"}
    colour = options.get("colour", base.colour)
    if unknown or colour not in {"rgb", "bgr"}:
        raise QualityError(f"recognizer {spec}: options are colour=rgb|bgr, mean=NUMBER and scale=NUMBER")
    try:
        mean, scale = float(options.get("mean", base.mean)), float(options.get("scale", base.scale))
    except ValueError:
        raise QualityError(f"recognizer {spec}: mean and scale must be numbers") from None
    if scale == 0:
        raise QualityError(f"recognizer {spec}: scale must not be 0")
    return replace(base, colour="rgb" if colour == "rgb" else "bgr", mean=mean, scale=scale)


def _session(path: Path, device: str) -> Any:
    import torch

    try:
        return open_session(path, device=device, threads=torch.get_num_threads())
    except WeightsError as error:
        raise QualityError(str(error)) from error


def _input_of(session: Any, path: Path) -> tuple[str, int | None, int | None]:
    """Input name, fixed batch and side in pixels, None where they are free."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{node.name} {node.shape} {node.type}" for node in inputs)
        raise QualityError(f"{path}: a recognizer has one float input of N x 3 x S x S; this has {found or 'none'}")
    rows, side = (value if isinstance(value, int) and value > 0 else None for value in (shape[0], shape[2]))
    return inputs[0].name, rows, side
