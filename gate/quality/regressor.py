"""Networks that answer with a quality directly: eDifFIQA, DifFIQA(R), CR-FIQA and distilled ones.

Babnik, Peer, Štruc: "DifFIQA", IJCB 2023, and "eDifFIQA", IEEE TBIOM 2024. Boutros, Fang, Klemt, Fu, Damer: "CR-FIQA",
CVPR 2023. The published numbers are not clipped: values above 1 happen; the calibrated quality says what they mean.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gate.errors import QualityError
from gate.nets.fold import folded
from gate.nets.heads import Crfiqa, DiffiqaR, Ediffiqa
from gate.nets.iresnet import iresnet18, iresnet50, iresnet100
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality.backbone import InputContract
from gate.quality.calibration import CalibrationTable
from gate.quality.loading import fill
from gate.quality.method import TorchMethod
from gate.quality.names import nearest

_PRESETS: dict[str, Callable[[], nn.Module]] = {
    "ediffiqa-t": lambda: Ediffiqa(mobilefacenet()),
    "ediffiqa-s": lambda: Ediffiqa(iresnet18()),
    "ediffiqa-m": lambda: Ediffiqa(iresnet50()),
    "ediffiqa-l": lambda: Ediffiqa(iresnet100()),
    "diffiqa-r": lambda: DiffiqaR(iresnet100()),
    "crfiqa-s": lambda: Crfiqa((3, 4, 14, 3)),
    "crfiqa-l": lambda: Crfiqa((3, 13, 30, 3)),
}

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
    ) -> None:
        """Take over `net`, which maps (N, 3, H, W) to (N,) or (N, 1): eval mode, BatchNorms folded."""
        super().__init__(name=name, model=model, device=device, max_batch=max_batch, calibration=calibration)
        self.bytes_per_crop = BYTES_PER_CROP
        self._net = _inference_form(net).eval().requires_grad_(requires_grad=False).to(device)
        # On one core a batch of 8 takes 7.9 ms a crop through MobileFaceNet with channels last, 8.6 ms without.
        self._net.to(memory_format=torch.channels_last)
        self._contract = contract

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        del seeds
        inputs = self._contract.normalise(crops).contiguous(memory_format=torch.channels_last)
        result: Tensor = self._net(inputs)
        return result.reshape(len(crops))


def regressor_network(name: str) -> nn.Module:
    """The network of a published regressor, with fresh weights; raises `QualityError` for another name."""
    if name not in _PRESETS:
        raise QualityError(f"unknown regressor {name!r}{nearest(name, _PRESETS)}")
    return _PRESETS[name]()


def load_regressor(
    path: Path,
    *,
    name: str,
    source: str | None = None,
    device: str = "cpu",
    max_batch: int = 32,
    calibration: CalibrationTable | None = None,
) -> TorchMethod:
    """A published regressor with its weights; an `.onnx` file runs through onnxruntime.

    Args:
        path: a checkpoint in the published layout, or an ONNX file.
        name: `ediffiqa-t`, `-s`, `-m`, `-l`, `diffiqa-r`, `crfiqa-s` or `-l`.
        source: name of the weights in `model`; default is `name`.
        device: `cpu` or `cuda:N`.
        max_batch: most crops scored at once.
        calibration: maps to 0..100; default is the shipped ones.

    Raises:
        QualityError: another name.
        WeightsError: the file is missing or belongs to another network.
    """
    from gate.weights import checkpoint

    if path.suffix.lower() == ".onnx":
        from gate.quality.onnx_regressor import OnnxRegressor

        return OnnxRegressor(
            path, name=name, source=source, device=device, max_batch=max_batch, calibration=calibration
        )
    net = regressor_network(name)
    fill(net, path)
    model = checkpoint.model_id(source or name, path)
    # All of them were trained on RGB in [-1, 1].
    return Regressor(
        net, InputContract(), name=name, model=model, device=device, max_batch=max_batch, calibration=calibration
    )


def _inference_form(net: nn.Module) -> nn.Module:
    """Fold what has a known structure: the network itself or its direct children."""
    whole = folded(net)
    if whole is not None:
        return whole
    for name, child in list(net.named_children()):
        part = folded(child)
        if part is not None:
            setattr(net, name, part)
    return net
