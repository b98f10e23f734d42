"""The network that learns, in the form in which it learns fastest, and its way back to the published form."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from gate.nets.fold import folded
from gate.nets.heads import DiffiqaR, Ediffiqa
from gate.nets.mobilefacenet import ConvBlock, LinearBlock, MobileFaceNet

_SMALLEST_SCALE = 1e-3

RegressorNet: TypeAlias = Ediffiqa | DiffiqaR
"""A recognition network and a head on its embedding, with the published names."""

_Net = TypeVar("_Net", bound=RegressorNet)


def base_of(net: RegressorNet) -> nn.Module:
    """The recognition network of a regressor."""
    return net.base_model if isinstance(net, Ediffiqa) else net.base


def head_of(net: RegressorNet) -> nn.Module:
    """What makes a quality of the embedding."""
    return net.mlp if isinstance(net, Ediffiqa) else net.linear


class Student(nn.Module):
    """A regressor during training.

    BatchNorms stay in eval mode: half of each batch is spoilt on purpose, and statistics of it would be wrong at
    the door. In eval mode a BatchNorm after a convolution is part of it, so MobileFaceNet is trained folded: on one
    core a step takes 25 ms a crop where the unfolded network takes 47 ms (channels last, slopes of the PReLUs fixed).
    An IResNet is trained as it is published, with its slopes.
    """

    def __init__(self, net: RegressorNet, dropout_p: float) -> None:
        """Copy `net`.

        Args:
            net: where training starts.
            dropout_p: dropout on the features before the last layer when embeddings are made; SER-FIQ needs a last
                layer that was trained so.
        """
        super().__init__()
        base = base_of(net)
        twin = folded(base) if isinstance(base, MobileFaceNet) else None
        self.trunk: nn.Module = copy.deepcopy(base) if twin is None else twin
        self.mlp = copy.deepcopy(head_of(net))
        self.dropout_p = dropout_p
        self.requires_grad_(requires_grad=True)
        if twin is not None:
            for module in self.modules():
                if isinstance(module, nn.PReLU):
                    module.requires_grad_(requires_grad=False)
        self.to(memory_format=torch.channels_last)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N,) quality."""
        return self._score(self._part("trunk", x))

    def embed_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 112, 112) to (N, 512) unit embeddings, made with dropout, and (N,) quality, made without."""
        features = self._part("trunk", x)
        dropped = nn.functional.dropout(features, self.dropout_p)
        return nn.functional.normalize(self._part("head", dropped), dim=1), self._score(features)

    def base_parameters(self) -> Iterator[nn.Parameter]:
        """What is trained of the trunk, in the network's order."""
        return (value for value in self.trunk.parameters() if value.requires_grad)

    def _score(self, features: Tensor) -> Tensor:
        embedding = self._part("head", features)
        if getattr(self.trunk, "l2_normalised", False):
            embedding = nn.functional.normalize(embedding, dim=1)
        score: Tensor = self.mlp(embedding).flatten()
        return score

    def _part(self, name: str, x: Tensor) -> Tensor:
        result: Tensor = getattr(self.trunk, name)(x)
        return result


def published(student: Student, origin: _Net) -> _Net:
    """The student with the parameter names of its origin: what a checkpoint holds.

    The folded convolutions are divided by the scale of the BatchNorm they took over, and the shift goes back into its
    bias, so the function is the student's to float32 rounding.
    """
    net = copy.deepcopy(origin)
    net.eval()
    head_of(net).load_state_dict(student.mlp.state_dict())
    base = base_of(net)
    if not isinstance(base, MobileFaceNet):
        base.load_state_dict(student.trunk.state_dict())
        return net
    for name, block in base.named_modules():
        if isinstance(block, (ConvBlock, LinearBlock)):
            _unfold(block, student.trunk.get_submodule(name).get_submodule("conv"))
        elif name in {"linear", "bn"}:
            block.load_state_dict(student.trunk.get_submodule(name).state_dict())
    return net


def _unfold(block: ConvBlock | LinearBlock, convolution: nn.Module) -> None:
    norm = block.bn
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise TypeError("a BatchNorm without running statistics cannot take a convolution's shift")
    with torch.no_grad():
        scale = norm.weight * (var + norm.eps).rsqrt()
        # A channel that its BatchNorm had switched off may have been switched on: dividing by nothing is no way back.
        scale = torch.where(scale.abs() < _SMALLEST_SCALE, torch.ones_like(scale), scale)
        norm.weight.copy_(scale * (var + norm.eps).sqrt())
        block.conv.weight.copy_(weight / scale.view(-1, 1, 1, 1))
        norm.bias.copy_(bias + mean * scale)


def restated(net: _Net, batches: Iterable[Tensor]) -> _Net:
    """The same function with each BatchNorm's running statistics measured anew on the inputs given.

    Training with fixed statistics leaves them stale, and GraFIQs reads them. A BatchNorm in eval mode is a scale and a
    shift, so new statistics are balanced by its weight and bias, and no output changes.

    Args:
        net: a network as `published` returns it.
        batches: normalised inputs, (N, 3, 112, 112) each, on the network's device.
    """
    twin = copy.deepcopy(net)
    twin.eval()
    layers = [module for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: dict[nn.Module, _Seen] = {layer: _Seen() for layer in layers}

    def note(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen[layer].add(args[0].detach())

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.inference_mode():
        for inputs in batches:
            twin(inputs)
    for handle in handles:
        handle.remove()
    for layer in layers:
        _restate(layer, seen[layer])
    return twin


@dataclass
class _Seen:
    """Sums over what one BatchNorm was fed, in float64: a variance is their small difference."""

    count: float = 0.0
    values: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        wide = x.double()
        self.count += x.numel() / x.shape[1]
        self.values = self.values + wide.sum((0, 2, 3))
        self.squares = self.squares + wide.square().sum((0, 2, 3))


def _restate(layer: nn.BatchNorm2d, seen: _Seen) -> None:
    mean, var = layer.running_mean, layer.running_var
    if mean is None or var is None or not seen.count:
        return
    new_mean = torch.as_tensor(seen.values).clone() / seen.count
    new_var = (torch.as_tensor(seen.squares).clone() / seen.count - new_mean.square()).clamp_min(0)
    with torch.no_grad():
        scale = layer.weight * (var + layer.eps).rsqrt()
        layer.bias.add_(scale * (new_mean - mean))
        layer.weight.copy_(scale * (new_var + layer.eps).sqrt())
        mean.copy_(new_mean)
        var.copy_(new_var)
