"""A recognition network together with what it must be fed: the one thing methods know about networks."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gate.errors import QualityError
from gate.nets.fold import folded
from gate.nets.narrow import narrow
from gate.quality.contract import InputContract

STAGES = ("block1", "block2", "block3", "block4")


DROPOUT_P = 0.4
"""Dropout before the last layer that the published IResNets were trained with."""


@dataclass(frozen=True)
class Footprint:
    """What one crop's forward pass writes, in bytes: the base of a method's memory estimate."""

    total_bytes: int
    """All activations together, as a backward pass keeps them."""

    largest_bytes: int
    """The largest one, of which an inference pass keeps a few at a time."""

    embedding_size: int
    """Length of an embedding."""


class Backbone:
    """A recognition network in eval mode on one device, whose parameters ask for no gradient.

    The network is any `nn.Module` that maps its input to (N, D) embeddings. What some methods need beyond that, it may
    offer as methods: `trunk(inputs)` → (N, F) flattened features before dropout, `head(features)` → (N, D) embedding
    before any L2 normalisation, `stages()` → the modules whose outputs are block1 to block4, and the attribute
    `l2_normalised`, True when its forward ends in an L2 normalisation.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        contract: InputContract,
        *,
        device: str = "cpu",
        model: str | None = None,
        dropout_p: float = DROPOUT_P,
    ) -> None:
        """Take over `net`; `model` defaults to `name` @ a digest of its tensors."""
        self.name = name
        self.model = model if model is not None else f"{name}@{_digest(net)[:8]}"
        self.net = net.eval().requires_grad_(requires_grad=False).to(device)
        self.contract = contract
        self.dropout_p = dropout_p
        self.device = device

    @cached_property
    def footprint(self) -> Footprint:
        """Measured on one black crop; raises `QualityError` when the network does not take its contract's input."""
        sizes: list[int] = []

        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                sizes.append(output.numel() * output.element_size())

        leaves = [module for module in self.net.modules() if not any(module.children())]
        handles = [leaf.register_forward_hook(note) for leaf in leaves]
        side = self.contract.side_px
        black = torch.zeros(1, side, side, 3, dtype=torch.uint8, device=self.device)
        try:
            with torch.inference_mode():
                embedding = self.embed(self.inputs(black))
        except (RuntimeError, TypeError) as error:
            raise QualityError(
                f"backbone {self.name!r} does not take (1, 3, {side}, {side}) float32: {error}"
            ) from None
        finally:
            for handle in handles:
                handle.remove()
        shape: tuple[int, ...] = tuple(getattr(embedding, "shape", ()))
        if len(shape) != 2 or shape[0] != 1:
            raise QualityError(
                f"backbone {self.name!r} must return (N, D) embeddings, got {type(embedding).__name__} {shape}"
            )
        return Footprint(sum(sizes), max(sizes), int(shape[1]))

    @cached_property
    def folded(self) -> "Backbone":
        """The same backbone with its BatchNorms folded away, for methods that do not read layer statistics.

        Itself where the network's structure is not known.
        """
        return self.lean(torch.float32)

    def lean(self, dtype: torch.dtype) -> "Backbone":
        """A folded twin for methods that only want embeddings, whose convolutions compute in `dtype`.

        What it takes and returns stays float32. In float32 itself where the network's structure is not known.

        Raises:
            QualityError: another `dtype` for a network of unknown structure.
        """
        twin = folded(self.net)
        if twin is None:
            if dtype == torch.float32:
                return self
            raise QualityError(only_float32(self))
        if dtype != torch.float32:
            narrow(twin, dtype)
        # On one core IResNet-18 takes 61 ms a crop with channels last and 73 ms without, in batches of 8.
        if self.device == "cpu" or dtype != torch.float32:
            twin.to(memory_format=torch.channels_last)
        return self._with(twin)

    def _with(self, net: nn.Module) -> "Backbone":
        names = {"device": self.device, "model": self.model}
        return Backbone(self.name, net, self.contract, dropout_p=self.dropout_p, **names)

    @property
    def l2_normalised(self) -> bool:
        """Whether the network's embeddings have unit length."""
        return bool(getattr(self.net, "l2_normalised", False))

    def inputs(self, crops: Tensor) -> Tensor:
        """(N, 112, 112, 3) uint8 RGB to the network's input, (N, 3, H, W) float32."""
        return self.contract.normalise(crops)

    def embed(self, inputs: Tensor) -> Tensor:
        """Network input (N, 3, H, W) to its embeddings (N, D), L2-normalised only if the network does so itself."""
        embeddings: Tensor = self.net(inputs)
        return embeddings

    def features(self, inputs: Tensor) -> Tensor:
        """Network input to the flattened features before dropout, (N, F) float32.

        Raises `QualityError` without a trunk.
        """
        features: Tensor = self._part("trunk")(inputs)
        return features.to(inputs.dtype)

    def project_unnormalised(self, features: Tensor) -> Tensor:
        """(N, F) features to (N, D) embeddings before any L2 normalisation. Raises `QualityError` without a head."""
        embeddings: Tensor = self._part("head")(features)
        return embeddings

    def project(self, features: Tensor) -> Tensor:
        """(N, F) features to (N, D) embeddings as `embed` returns them."""
        embeddings = self.project_unnormalised(features)
        return nn.functional.normalize(embeddings, dim=1) if self.l2_normalised else embeddings

    def stages(self) -> dict[str, nn.Module]:
        """block1 to block4: the modules whose outputs they are. Raises `QualityError` when the network names none."""
        stages: dict[str, nn.Module] = self._part("stages")()
        return stages

    def norm_layers(self) -> list[nn.BatchNorm2d]:
        """Every BatchNorm2d of the network that keeps running statistics."""
        layers = [m for m in self.net.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
        if not layers:
            raise QualityError(f"backbone {self.name!r} has no BatchNorm2d layer, so it has no batch statistics to use")
        return layers

    def _part(self, name: str) -> Callable[..., Any]:
        part = getattr(self.net, name, None)
        if not callable(part):
            needs = {"trunk": "trunk(inputs)", "head": "head(features)", "stages": "stages()"}[name]
            raise QualityError(
                f"backbone {self.name!r} ({type(self.net).__name__}) has no {needs}, which this method needs. "
                "Add it to the module or use a method that only needs embeddings."
            )
        return part  # type: ignore[no-any-return]


def only_float32(backbone: Backbone) -> str:
    """What is said where a network of unknown structure is asked for another precision."""
    kind = type(backbone.net).__name__
    return (
        f"backbone {backbone.name!r} ({kind}) computes in float32 only; IResNet and MobileFaceNet can do otherwise. "
        "Leave the option precision out."
    )


def _digest(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
