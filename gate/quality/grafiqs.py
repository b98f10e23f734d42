"""GraFIQs: gradient magnitudes of the BatchNorm statistics loss.

Kolf, Damer, Boutros: "GraFIQs: Face Image Quality Assessment Using Gradient Magnitudes", CVPRW 2024. A face that
a recognition network was trained for has layer statistics close to the stored ones; the gradient of the difference
with respect to an activation is small for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gate.errors import QualityError
from gate.nets.fold import folded
from gate.nets.narrow import narrow
from gate.quality.backbone import STAGES, Backbone, only_float32
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.method import Crops
from gate.quality.names import nearest
from gate.quality.precision import resolve_precision
from gate.quality.torch_method import TorchMethod
from gate.types import FloatArray

PHIS = ("image", *STAGES)
"""What the gradient can be taken to: the normalised image or the output of a stage."""

ALL_PHIS = "all"

_NOTHING_AFTER = "no BatchNorm2d with an input larger than 1x1 comes after {phi}; choose an earlier phi"


class _StatisticsTap(torch.autograd.Function):
    """Passes a BatchNorm's input on and yields its loss term; the backward adds the term's closed-form gradient.

    Autograd through `var_mean` would write four more tensors of the activation's size per layer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stored_mean: Tensor, stored_var: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(value=False)
        mean, var = _moments(x)
        ctx.save_for_backward(x, mean, mean - stored_mean, var - stored_var)
        return x.view_as(x), _term(mean - stored_mean, var - stored_var)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, grad_term: Tensor | None) -> tuple[Tensor | None, None, None]:
        if grad_term is None:
            return grad, None, None
        x, mean, mean_off, var_off = ctx.saved_tensors
        scale = (2.0 / x[0].numel()) * grad_term[:, None]
        slope = (2.0 * scale) * var_off
        offset = scale * mean_off - slope * mean
        result = torch.addcmul(offset[:, :, None, None], x, slope[:, :, None, None])
        return result if grad is None else result.add_(grad), None, None


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over H and W, each (N, C), in float32 at least.

    `torch.var_mean` takes 30 times as long on a CPU (4.6 ms against 0.16 ms for 8x128x28x28).
    """
    # Flattened without a copy in either layout of the memory.
    values = x.flatten(2) if x.is_contiguous() else x.permute(0, 2, 3, 1).flatten(1, 2)
    values = values.to(torch.promote_types(x.dtype, torch.float32))
    pixels = 2 if x.is_contiguous() else 1
    mean = values.mean(dim=pixels)
    squares = torch.linalg.vecdot(values, values, dim=pixels)
    return mean, (squares / values.shape[pixels] - mean.square()).clamp_(min=0)


def _term(mean_off: Tensor, var_off: Tensor) -> Tensor:
    """One layer's share of the loss, (N,)."""
    return mean_off.square().mean(dim=1) + var_off.square().mean(dim=1)


class _Recorder:
    """Collects loss terms and the activations that the gradient is taken to, during one forward pass."""

    def __init__(self, *, literal: bool, first: str | None, layers: int) -> None:
        self.literal = literal
        self.layers = layers
        self.terms: list[Tensor] = []
        self.activations: dict[str, Tensor] = {}
        self._first = first

    def before_norm(self, layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        x = args[0]
        if x.shape[2] * x.shape[3] == 1 and not self.literal:
            return None
        self.layers += 1
        # No gradient flows yet: the layer comes before φ, and its term cannot reach it.
        if self._first is not None and not x.requires_grad:
            return None
        norm = cast("nn.BatchNorm2d", layer)
        passed, term = _StatisticsTap.apply(x, norm.running_mean, norm.running_var)
        self.terms.append(term)
        return (passed, *args[1:])

    def after_stage(self, name: str, output: Tensor) -> Tensor:
        if name == self._first:
            output = output.detach().requires_grad_()
        self.activations[name] = output
        return output

    def loss(self) -> Tensor:
        """The loss a crop, (N,); without the terms that cannot reach the first φ."""
        if not self.terms:
            raise QualityError(f"grafiqs: {_NOTHING_AFTER.format(phi=self._first or 'the image')}")
        return torch.stack(self.terms).sum(dim=0) / self.layers


class _Staged(Protocol):
    def stages(self) -> dict[str, nn.Module]: ...


@dataclass(frozen=True)
class _Probe:
    """A network to which hooks are put while a batch is scored."""

    net: nn.Module
    norms: list[nn.BatchNorm2d]
    stages: dict[str, nn.Module]

    layers_folded: int
    """Layers of the original that are no more; they come before φ, so that only their number matters."""

    layout: torch.memory_format

    @classmethod
    def of(cls, backbone: Backbone, first: str, dtype: torch.dtype) -> "_Probe":
        """A copy for the gradient to `first` and what comes after; a network of unknown structure is taken as it is."""
        norms, stages = backbone.norm_layers(), _stages_of(backbone, needed=False)
        twin = folded(backbone.net, parts=_parts_before(backbone.net, stages.get(first)))
        if twin is None:
            if dtype != torch.float32:
                raise QualityError(f"grafiqs: {only_float32(backbone)}")
            return cls(backbone.net, norms, stages, 0, torch.contiguous_format)
        left = [layer for layer in twin.modules() if isinstance(layer, nn.BatchNorm2d)]
        # With channels last a batch of 8 takes 0.7 of the time on a CPU; unknown networks may not take this layout.
        layout = torch.channels_last if backbone.device == "cpu" else torch.contiguous_format
        if dtype != torch.float32:
            narrow(twin, dtype)
        twin.to(memory_format=layout)
        return cls(twin, left, cast("_Staged", twin).stages(), len(norms) - len(left), layout)


def _parts_before(net: nn.Module, stage: nn.Module | None) -> list[str]:
    """Names of the children of `net` up to and with `stage`; none where it is no child."""
    names = []
    for name, child in net.named_children():
        names.append(name)
        if child is stage:
            return names
    return []


class Grafiqs(TorchMethod):
    """raw = Σ|∂loss/∂φ|, larger is worse, so score = -raw."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        phi: str = "block2",
        literal: bool = False,
        precision: str = "auto",
    ) -> None:
        """Score with `backbone`.

        Args:
            backbone: a network with BatchNorm2d layers; for φ other than `image` it must name its stages.
            device: where `backbone` is.
            max_batch: most crops scored at once.
            calibration: maps to 0..100; default is the shipped ones.
            phi: `image`, `block1` to `block4`, or `all` where only `raw_all` will be asked for.
            literal: keep the layers whose input is 1x1 in space, as published; their variance is always zero and
                they drown the rest (IResNet has none).
            precision: of the convolutions. bfloat16 keeps the ranks (Spearman 0.9998 on 300 LFW crops) and gains
                nothing on a CPU (26 ms a crop against 22); float16 is refused.
        """
        super().__init__(
            name="grafiqs", model=backbone.model, device=device, max_batch=max_batch, calibration=calibration
        )
        if phi not in {*PHIS, ALL_PHIS}:
            raise QualityError(f"grafiqs: unknown phi {phi!r}{nearest(phi, [*PHIS, ALL_PHIS])}")
        self._dtype = resolve_precision("grafiqs", precision, device)
        if self._dtype == torch.float16:
            # raw is about 0.1 and a sum over 50,000 values or more; the smallest normal float16 is 6e-5.
            raise QualityError("grafiqs: gradients are too small for float16; use precision bfloat16 or float32")
        self.phi = phi
        self.literal = literal
        self.bytes_per_crop = 3 * backbone.footprint.total_bytes
        self._backbone = backbone
        self._probes: dict[str, _Probe] = {}
        backbone.norm_layers()
        stages = _stages_of(backbone, needed=phi != "image")
        if phi not in {"image", ALL_PHIS, *stages}:
            raise QualityError(f"grafiqs: backbone {backbone.name!r} has no {phi}; it has {', '.join(stages)}")
        if self._dtype != torch.float32:
            # Refused now, not at the first crop.
            self._probe("image" if phi == ALL_PHIS else phi)

    def calibration_options(self) -> dict[str, OptionValue]:
        """See `TorchMethod.calibration_options`."""
        return {"phi": self.phi, "literal": self.literal}

    def raw_all(self, crops: Crops) -> dict[str, FloatArray]:
        """Raw numbers for all five φ from one backward pass: name → (N,) float32.

        Raises:
            QualityError: as `raw`, and where the backbone lacks a stage.
        """
        stages = _stages_of(self._backbone, needed=False)
        missing = [stage for stage in STAGES if stage not in stages]
        if missing:
            raise QualityError(f"grafiqs: backbone {self._backbone.name!r} has no {', '.join(missing)}; choose one phi")
        numbers = self._map_batches(
            crops, None, columns=len(PHIS), score=lambda batch, _: self._magnitudes(batch, PHIS)
        )
        return {phi: numbers[:, column].copy() for column, phi in enumerate(PHIS)}

    def bn_loss(self, crops: Crops) -> FloatArray:
        """The BatchNorm statistics loss itself, (N,) float32."""
        return self._map_batches(crops, None, score=lambda batch, _: self._loss(batch)).reshape(-1)

    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        del seeds
        if self.phi == ALL_PHIS:
            raise QualityError("grafiqs: phi 'all' gives five numbers a crop; ask raw_all, or choose one phi")
        return self._magnitudes(crops, (self.phi,))[:, 0]

    def score_of(self, raw: FloatArray) -> FloatArray:
        """The sign turned: a larger gradient is a worse face."""
        return -raw

    def _loss(self, crops: Tensor) -> Tensor:
        probe = self._probe("image")
        with torch.no_grad(), self._recording(probe, None) as recorder:
            probe.net(self._inputs(crops, probe))
            return recorder.loss()

    def _magnitudes(self, crops: Tensor, phis: Sequence[str]) -> Tensor:
        """(n, len(phis)) sums of absolute gradients."""
        first = next(phi for phi in PHIS if phi in phis)
        probe = self._probe(first)
        # Nothing asks for a gradient before the first φ, so that part of the network runs without a graph.
        with torch.inference_mode(mode=False), torch.enable_grad(), self._recording(probe, first) as recorder:
            inputs = self._inputs(crops, probe)
            if first == "image":
                recorder.activations["image"] = inputs.requires_grad_()
            probe.net(inputs)
            # Crops are independent in eval mode: the gradient of the sum is each crop's own gradient.
            wanted = [recorder.activations[phi] for phi in phis]
            gradients = torch.autograd.grad(recorder.loss().sum(), wanted, allow_unused=True)
        return torch.stack([_magnitude(phi, slope) for phi, slope in zip(phis, gradients, strict=True)], dim=1)

    def _inputs(self, crops: Tensor, probe: _Probe) -> Tensor:
        return self._backbone.inputs(crops).contiguous(memory_format=probe.layout)

    def _probe(self, first: str) -> _Probe:
        if first not in self._probes:
            self._probes[first] = _Probe.of(self._backbone, first, self._dtype)
        return self._probes[first]

    @contextmanager
    def _recording(self, probe: _Probe, first: str | None) -> Iterator[_Recorder]:
        recorder = _Recorder(literal=self.literal, first=first, layers=probe.layers_folded)
        with ExitStack() as hooks:
            for norm in probe.norms:
                hooks.callback(norm.register_forward_pre_hook(recorder.before_norm).remove)
            for name, stage in probe.stages.items():
                hook = _stage_hook(recorder, name)
                hooks.callback(stage.register_forward_hook(hook).remove)
            yield recorder


def _magnitude(phi: str, slope: Tensor | None) -> Tensor:
    if slope is None:
        raise QualityError(f"grafiqs: {_NOTHING_AFTER.format(phi=phi)}")
    return slope.abs().sum(dim=(1, 2, 3))


def _stages_of(backbone: Backbone, *, needed: bool) -> dict[str, nn.Module]:
    try:
        return backbone.stages()
    except QualityError:
        if needed:
            raise
    return {}


def _stage_hook(recorder: _Recorder, name: str) -> Any:
    def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        return recorder.after_stage(name, output)

    return hook
