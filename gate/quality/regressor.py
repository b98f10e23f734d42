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
from gate.nets.half import halve
from gate.nets.heads import Crfiqa, DiffiqaR, Ediffiqa
from gate.nets.iresnet import iresnet18, iresnet50, iresnet100
from gate.nets.mobilefacenet import mobilefacenet
from gate.nets.narrow import narrow
from gate.quality.calibration import CalibrationTable
from gate.quality.contract import InputContract
from gate.quality.graphs import Graphed
from gate.quality.loading import fill
from gate.quality.names import nearest
from gate.quality.precision import resolve_precision
from gate.quality.regressors import CONTRACT
from gate.quality.torch_method import TorchMethod

_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "regressor": lambda: Ediffiqa(mobilefacenet()),
    "ediffiqa-t": lambda: Ediffiqa(mobilefacenet()),
    "ediffiqa-s": lambda: Ediffiqa(iresnet18()),
    "ediffiqa-m": lambda: Ediffiqa(iresnet50()),
    "ediffiqa-l": lambda: Ediffiqa(iresnet100()),
    "diffiqa-r": lambda: DiffiqaR(iresnet100()),
    "crfiqa-s": lambda: Crfiqa((3, 4, 14, 3)),
    "crfiqa-l": lambda: Crfiqa((3, 13, 30, 3)),
}

REGRESSORS = tuple(_NETWORKS)
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
    if name not in _NETWORKS:
        raise QualityError(f"unknown regressor {name!r}{nearest(name, _NETWORKS)}")
    return _NETWORKS[name]()


def torch_regressor(
    path: Path,
    *,
    name: str,
    source: str | None = None,
    device: str = "cpu",
    max_batch: int = 32,
    calibration: CalibrationTable | None = None,
    precision: str = "auto",
) -> Regressor:
    """A regressor with its weights, on torch; see `gate.quality.regressors.load_regressor`."""
    from gate.weights import checkpoint

    net = regressor_network(name)
    fill(net, path)
    return Regressor(
        net,
        CONTRACT,
        name=name,
        model=checkpoint.model_id(source or name, path),
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
