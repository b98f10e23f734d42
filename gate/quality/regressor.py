"""Networks that answer with a quality directly: eDifFIQA, DifFIQA(R), CR-FIQA and distilled ones.

Babnik, Peer, Štruc: "DifFIQA", IJCB 2023, and "eDifFIQA", IEEE TBIOM 2024. Boutros, Fang, Klemt, Fu, Damer: "CR-FIQA",
CVPR 2023. The published numbers are not clipped: values above 1 happen; the calibrated quality says what they mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gate.errors import QualityError
from gate.nets.fold import folded
from gate.nets.half import halve
from gate.nets.heads import Crfiqa, DiffiqaR, Ediffiqa
from gate.nets.iresnet import iresnet18, iresnet50, iresnet100
from gate.nets.mobilefacenet import mobilefacenet
from gate.nets.narrow import narrow
from gate.quality.backbone import InputContract
from gate.quality.calibration import CalibrationTable
from gate.quality.graphs import Graphed
from gate.quality.loading import CONTRACTS, fill
from gate.quality.method import TorchMethod
from gate.quality.names import nearest
from gate.quality.precision import resolve_precision


@dataclass(frozen=True, slots=True)
class _Preset:
    """A network and what it was trained to see."""

    network: Callable[[], nn.Module]

    contract: InputContract = CONTRACTS["arcface"]
    """All that are published were trained on RGB in [-1, 1]."""


_PRESETS = {
    "regressor": _Preset(lambda: Ediffiqa(mobilefacenet())),
    "ediffiqa-t": _Preset(lambda: Ediffiqa(mobilefacenet())),
    "ediffiqa-s": _Preset(lambda: Ediffiqa(iresnet18())),
    "ediffiqa-m": _Preset(lambda: Ediffiqa(iresnet50())),
    "ediffiqa-l": _Preset(lambda: Ediffiqa(iresnet100())),
    "diffiqa-r": _Preset(lambda: DiffiqaR(iresnet100())),
    "crfiqa-s": _Preset(lambda: Crfiqa((3, 4, 14, 3))),
    "crfiqa-l": _Preset(lambda: Crfiqa((3, 13, 30, 3))),
}

REGRESSORS = tuple(_PRESETS)
"""Names of the networks."""

BYTES_PER_CROP = 24 * 2**20
"""Six activations of the largest size in these networks, 64x112x112 in float32 with a convolution's workspace."""


class Regressor(TorchMethod):
    """raw = score = the network's own answer."""

    def __init__(
        self,
        net: nn.Module,
        contract: InputContract,
        *,
        name: str,
        model: str,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        precision: str = "auto",
    ) -> None:
        """Take over `net`, which maps (N, 3, H, W) to (N,) or (N, 1).

        It is put in eval mode, its BatchNorms are folded, and linear layers that float16 holds exactly stay in it.
        With another precision than float32 its convolutions compute in that; its head stays in float32.

        Raises:
            QualityError: a precision that the device or the network does not have.
        """
        dtype = resolve_precision(name, precision, device)
        super().__init__(name=name, model=model, device=device, max_batch=max_batch, calibration=calibration)
        self.bytes_per_crop = BYTES_PER_CROP
        net = _inference_form(net, dtype, name).eval().requires_grad_(requires_grad=False)
        halve(net)
        self._net = net.to(device)
        # On one core a batch of 8 takes 7.9 ms a crop through MobileFaceNet with channels last, 8.6 ms without.
        self._net.to(memory_format=torch.channels_last)
        self._contract = contract
        self._forward = Graphed(self._net, device)

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        del seeds
        inputs = self._contract.normalise(crops).contiguous(memory_format=torch.channels_last)
        return self._forward(inputs).reshape(len(crops))

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights as they are held."""
        return sum(t.numel() * t.element_size() for t in (*self._net.parameters(), *self._net.buffers()))


def regressor_network(name: str) -> nn.Module:
    """The network of a regressor, with fresh weights; raises `QualityError` for another name."""
    return _preset(name).network()


def _preset(name: str) -> _Preset:
    if name not in _PRESETS:
        raise QualityError(f"unknown regressor {name!r}{nearest(name, _PRESETS)}")
    return _PRESETS[name]


def load_regressor(
    path: Path,
    *,
    name: str,
    source: str | None = None,
    device: str = "cpu",
    max_batch: int = 32,
    calibration: CalibrationTable | None = None,
    precision: str = "auto",
) -> TorchMethod:
    """A regressor with its weights; an `.onnx` file runs through onnxruntime.

    Args:
        path: a checkpoint in the published layout, or an ONNX file.
        name: `regressor`, `ediffiqa-t`, `-s`, `-m`, `-l`, `diffiqa-r`, `crfiqa-s` or `-l`.
        source: name of the weights in `model`; default is `name`.
        device: `cpu` or `cuda:N`.
        max_batch: most crops scored at once.
        calibration: maps to 0..100; default is the shipped ones.
        precision: of the convolutions, see `gate.quality.precision`; an ONNX file has its own.

    Raises:
        QualityError: another name, or a precision that cannot be.
        WeightsError: the file is missing or belongs to another network.
    """
    from gate.weights import checkpoint

    preset = _preset(name)
    if path.suffix.lower() == ".onnx":
        from gate.quality.onnx_regressor import OnnxRegressor

        if resolve_precision(name, precision, device) != torch.float32:
            raise QualityError(f"{name}: {path.name} is an ONNX file and has its own precision; leave the option out")
        return OnnxRegressor(
            path,
            name=name,
            source=source,
            device=device,
            max_batch=max_batch,
            calibration=calibration,
            colour=preset.contract.colour,
            mean=preset.contract.mean,
            scale=preset.contract.scale,
        )
    net = preset.network()
    fill(net, path)
    model = checkpoint.model_id(source or name, path)
    return Regressor(
        net,
        preset.contract,
        name=name,
        model=model,
        device=device,
        max_batch=max_batch,
        calibration=calibration,
        precision=precision,
    )


def _inference_form(net: nn.Module, dtype: torch.dtype, name: str) -> nn.Module:
    """Fold what has a known structure, the network itself or its direct children, and let it compute in `dtype`."""
    whole = folded(net)
    parts = {} if whole is not None else {key: folded(child) for key, child in net.named_children()}
    known = [part for part in (whole, *parts.values()) if part is not None]
    if dtype != torch.float32:
        if not known:
            raise QualityError(f"{name}: {type(net).__name__} is no network that can compute in another precision")
        for twin in known:
            narrow(twin, dtype)
    for key, part in parts.items():
        if part is not None:
            setattr(net, key, part)
    return net if whole is None else whole
