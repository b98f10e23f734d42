"""Networks as ONNX files: a quality regressor or a recognition network, with what it must be fed written into the file.

Every file is run by onnxruntime and compared with torch before it is given its name.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gate.errors import DeviceError, QualityError, WeightsError
from gate.inference import open_network
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.quality.loading import ARCHITECTURES, architecture, fill, load_backbone, zoo_contract
from gate.quality.registry import Needs, methods
from gate.quality.regressor import REGRESSORS, regressor_network
from gate.weights.zoo import locate

if TYPE_CHECKING:
    from gate.weights.zoo import Zoo

OPSET = 17
LARGEST_DIFFERENCE = 1e-3
"""More than this between torch and onnxruntime, on any number of any test picture, and no file is written."""

INPUT = "crops"

_TEST_BATCHES = (1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Exportable:
    """A network and what is known about it."""

    net: nn.Module
    """In eval mode, on the CPU."""

    contract: InputContract
    answer: str
    """`quality`: (n,) numbers, higher is better. `embedding`: (n, D)."""

    model: str
    """name@first 8 hex digits of the weights' sha256."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    answer: str
    model: str
    contract: InputContract
    largest_difference: float
    """Between torch and onnxruntime on the test pictures."""


def load_exportable(spec: str, zoo: "Zoo | None" = None) -> Exportable:
    """A network by name or file.

    Args:
        spec: a regressor of `gate methods` (`ediffiqa-t`), weights of the zoo, a checkpoint of one of the published
            networks, or anything that `load_backbone` takes. A bare checkpoint of a recognition network is taken to
            want RGB, (x - 127.5) / 127.5: `mobilefacenet:FILE?contract=facexzoo` says otherwise.
        zoo: where names are looked up; default is the user's own folder.

    Raises:
        QualityError: no such network is known.
        WeightsError: the weights are missing or of no known network.
    """
    from gate.weights import checkpoint

    default = {info.name: info.weights for info in methods() if info.kind is Needs.REGRESSOR and info.weights}
    path, source = locate(default.get(spec, spec), zoo)
    if not path.is_file():
        return _of_backbone(load_backbone(spec, zoo=zoo))
    if path.suffix.lower() == ".onnx":
        raise QualityError(f"{spec} is an ONNX file already: {path}")
    if source is not None and source not in default.values():
        return _of_backbone(load_backbone(spec, zoo=zoo))
    model = checkpoint.model_id(source or path.stem, path)
    state = checkpoint.load_state_dict(path)
    for names, make, answer in (
        (REGRESSORS, regressor_network, "quality"),
        (tuple(ARCHITECTURES), architecture, "embedding"),
    ):
        found = next((name for name in names if _fits(state, name, make)), None)
        if found is not None:
            net = make(found).eval()
            fill(net, path)
            return Exportable(net, _contract(source, zoo), answer, model)
    raise WeightsError(
        f"{path} holds no network that is known here; a recognition network inside a larger checkpoint is named "
        f"ARCHITECTURE:{path}"
    )


def _contract(source: str | None, zoo: "Zoo | None") -> InputContract:
    """What the zoo says of its weights; all published regressors want RGB, (x - 127.5) / 127.5."""
    if source is None:
        return InputContract()
    from gate.weights.zoo import Zoo

    shelf = zoo or Zoo()
    return InputContract() if shelf.entry(source).contract is None else zoo_contract(shelf, source)[0]


def _of_backbone(backbone: Backbone) -> Exportable:
    return Exportable(backbone.net, backbone.contract, "embedding", backbone.model)


def _fits(state: Mapping[str, Tensor], name: str, make: Callable[[str], nn.Module]) -> bool:
    with torch.device("meta"):
        own = make(name).state_dict()
    shapes, wanted = (
        {key: tensor.shape for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
        for tensors in (state, own)
    )
    return bool(shapes == wanted)


def export_onnx(what: Exportable, output: Path, *, half: bool = False) -> Exported:
    """Write the network as ONNX with a free batch axis, once onnxruntime has given torch's answers.

    The file's metadata tell what to feed: `colour`, `mean`, `scale`, `side_px`; and `answer` and `model`.

    Args:
        what: the network.
        output: the file; an old one is replaced.
        half: keep those weights as float16 that lose nothing by it; they are computed with as float32.

    Raises:
        QualityError: the answers differ by more than 1e-3, or the folder cannot be written.
        DeviceError: a package that writes or runs ONNX is missing.
    """
    part = output.with_name(f"{output.stem}.{os.getpid()}.onnx")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _write(what, part, half=half)
        difference = _difference(what, part)
        if not difference <= LARGEST_DIFFERENCE:
            raise QualityError(
                f"{what.model}: onnxruntime's answers differ from torch's by {difference:.2g}, more than "
                f"{LARGEST_DIFFERENCE:g}; {output} is not written."
            )
        part.replace(output)
    except OSError as error:
        raise QualityError(f"{output} cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return Exported(output, what.answer, what.model, what.contract, difference)


def _write(what: Exportable, path: Path, *, half: bool) -> None:
    try:
        import onnx

        with warnings.catch_warnings(), torch.no_grad():
            # This exporter is called legacy; the other one needs onnxscript, which nothing else here does.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                what.net,
                (_pictures(what, 2),),
                str(path),
                input_names=[INPUT],
                output_names=[what.answer],
                dynamic_axes={INPUT: {0: "n"}, what.answer: {0: "n"}},
                opset_version=OPSET,
                dynamo=False,
                # Folded BatchNorms would have to be rounded once more.
                do_constant_folding=not half,
                training=torch.onnx.TrainingMode.PRESERVE if half else torch.onnx.TrainingMode.EVAL,
            )
    except ImportError as error:
        raise DeviceError(
            f"writing ONNX needs a package that is not here ({error}): install onnx and onnxscript."
        ) from None
    model = onnx.load(str(path))
    contract = what.contract
    facts = {
        "answer": what.answer,
        "colour": contract.colour,
        "mean": f"{contract.mean:g}",
        "scale": f"{contract.scale:g}",
        "side_px": str(contract.side_px),
        "model": what.model,
    }
    onnx.helper.set_model_props(model, facts)
    model.doc_string = (
        f"{INPUT}: (n, 3, {contract.side_px}, {contract.side_px}) float32, {contract.colour.upper()}, "
        f"(x - {contract.mean:g}) / {contract.scale:g} for x on 0..255, aligned as for ArcFace."
    )
    if half:
        _halve(model)
    onnx.save(model, str(path))


def _halve(model: Any) -> None:
    """Keep each float32 weight that float16 holds exactly as `NAME.half`; whoever loads the file makes NAME of it."""
    import onnx

    graph = model.graph
    casts = []
    for place, weight in enumerate(graph.initializer):
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            short = values.astype(np.float16)
        if not np.array_equal(short.astype(np.float32), values):
            continue
        name = f"{weight.name}.half"
        casts.append(onnx.helper.make_node("Cast", [name], [weight.name], to=onnx.TensorProto.FLOAT))
        graph.initializer[place].CopyFrom(onnx.numpy_helper.from_array(short, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _pictures(what: Exportable, count: int) -> Tensor:
    """Normalised pictures from smooth to noise, always the same."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(0, 256, (count, 14, 14, 3)).repeat(8, axis=1).repeat(8, axis=2)
    noise = rng.normal(0, 20, coarse.shape)
    crops = np.clip(coarse + noise, 0, 255).astype(np.uint8)
    return what.contract.normalise(torch.from_numpy(crops))


def _difference(what: Exportable, path: Path) -> float:
    network = open_network(path, "onnxruntime")
    largest = 0.0
    for count in _TEST_BATCHES:
        pictures = _pictures(what, count)
        with torch.inference_mode():
            expected: Any = what.net(pictures).numpy()
        answer = network.run(pictures.numpy())[0]
        if answer.shape != expected.shape:
            raise QualityError(f"{what.model}: onnxruntime answers {answer.shape}, torch {expected.shape}")
        largest = max(largest, float(np.abs(answer - expected).max()))
    return largest
