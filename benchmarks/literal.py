"""Literal baselines: the published procedures as they are described, one crop at a time, nothing saved.

The benchmark compares the package with these. They share its network definitions and weights, and nothing of how its
methods compute: batch 1, torch's own layers, nothing folded, weights that ask for gradients as after loading, one
autograd call per φ, T passes of the last layer one by one.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gate.nets.diffusion import add_noise, cosine_alphas_cumprod, denoise, denoise_path
from gate.nets.norm import BatchNorm2d
from gate.nets.prelu import PReLU
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.types import FloatArray, Image


class Literal(Protocol):
    """A published procedure for one crop."""

    def __call__(self, crop: Tensor, seed: int) -> Sequence[float]:
        """(1, 112, 112, 3) uint8 RGB on the device to the raw numbers, one or five."""
        ...


def one_by_one(procedure: Literal, crops: Image, seeds: Sequence[int], device: str) -> FloatArray:
    """The procedure over (N, 112, 112, 3) uint8 RGB crops; (N, columns) float32."""
    images = torch.from_numpy(crops).to(device)
    rows = [procedure(image[None], seed) for image, seed in zip(images, seeds, strict=True)]
    return np.asarray(rows, dtype=np.float32)


def published_form(net: nn.Module) -> nn.Module:
    """A copy as published code holds it: eval mode, torch's own layers, weights that ask for gradients."""
    twin = copy.deepcopy(net)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, PReLU):
                setattr(module, name, _torchs_own(child, nn.PReLU(child.num_parameters)))
            elif isinstance(child, BatchNorm2d):
                setattr(module, name, _torchs_own(child, nn.BatchNorm2d(child.num_features)))
    return twin.eval().requires_grad_(requires_grad=True)


def _torchs_own(layer: nn.Module, plain: nn.Module) -> nn.Module:
    plain.load_state_dict(layer.state_dict())
    return plain.to(next(layer.parameters()).device)


class LiteralGrafiqs:
    """GraFIQs: hooks on the BatchNorms' inputs, one forward pass, one autograd call per φ."""

    def __init__(self, backbone: Backbone, phis: Sequence[str]) -> None:
        self._net = published_form(backbone.net)
        self._contract = backbone.contract
        self._phis = phis
        self._terms: list[Tensor] = []
        self._activations: dict[str, Tensor] = {}
        for layer in self._net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.register_forward_hook(self._note_statistics)
        for name, stage in self._net.stages().items():  # type: ignore[operator]
            stage.register_forward_hook(self._noting(name))

    def __call__(self, crop: Tensor, seed: int) -> list[float]:
        """Σ|∂loss/∂φ| for each φ."""
        del seed
        self._terms.clear()
        image = self._contract.normalise(crop).requires_grad_()
        self._net(image)
        loss = torch.stack(self._terms).sum() / len(self._terms)
        magnitudes = []
        for phi in self._phis:
            target = image if phi == "image" else self._activations[phi]
            (slope,) = torch.autograd.grad(loss, target, retain_graph=True)
            magnitudes.append(slope.abs().sum().item())
        return magnitudes

    def _note_statistics(self, layer: nn.Module, args: tuple[Tensor], _output: Tensor) -> None:
        (x,) = args
        if x.shape[2] * x.shape[3] == 1:
            return
        mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
        self._terms.append(
            functional.mse_loss(mean, layer.running_mean) + functional.mse_loss(var, layer.running_var)  # type: ignore[arg-type]
        )

    def _noting(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def note(_module: nn.Module, _args: Any, output: Tensor) -> None:
            self._activations[name] = output

        return note


class LiteralSerfiq:
    """SER-FIQ: one pass to the features, T passes of dropout and last layer one by one, T² distances."""

    def __init__(self, backbone: Backbone, *, passes: int = 100) -> None:
        self._net = published_form(backbone.net)
        self._contract = backbone.contract
        self._passes, self._p = passes, backbone.dropout_p

    @torch.no_grad()
    def __call__(self, crop: Tensor, seed: int) -> list[float]:
        """2 / (1 + exp(mean pairwise distance))."""
        features: Tensor = self._net.trunk(self._contract.normalise(crop))  # type: ignore[operator]
        # Dropout written out, for the same draws as the package's.
        generator = torch.Generator().manual_seed(seed)
        stays = torch.rand((self._passes, features.shape[1]), generator=generator) >= self._p
        masks = (stays.float() / (1 - self._p)).to(features.device)
        embeddings = []
        for mask in masks:
            embedding = functional.normalize(self._net.head(features * mask), dim=1)  # type: ignore[operator]
            embeddings.append(embedding.cpu().numpy())
        distances = _euclidean_distances(np.concatenate(embeddings))
        upper = distances[np.triu_indices(self._passes, k=1)]
        return [float(2 / (1 + np.exp(upper.mean())))]


def _euclidean_distances(rows: FloatArray) -> FloatArray:
    """(T, D) to (T, T): √(|a|² + |b|² - 2ab), in float64 inside as scikit-learn does for float32."""
    wide = rows.astype(np.float64)
    squares = (wide * wide).sum(axis=1)
    distances: FloatArray = np.sqrt(np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0)).astype(np.float32)
    return distances


class LiteralFaceqan:
    """FaceQAN: k examples a pass, a full backward pass with weight gradients each step, the last step included."""

    def __init__(
        self,
        backbone: Backbone,
        noise: Callable[[int, int, float], Tensor],
        *,
        iterations: int = 5,
        examples: int = 10,
        epsilon: float = 0.001,
        power: int = 5,
    ) -> None:
        """`noise` is asked for (seed, examples, epsilon), as the package's is."""
        self._net = published_form(backbone.net)
        self._contract, self._noise = backbone.contract, noise
        self._iterations, self._examples, self._epsilon, self._power = iterations, examples, epsilon, power

    def __call__(self, crop: Tensor, seed: int) -> list[float]:
        """[(1 + mean c)/2 · clip(1 - std c, 0, 1) · s]^p."""
        unit = crop.permute(0, 3, 1, 2).to(torch.float32) / 255
        with torch.no_grad():
            reference, mirrored = self._embed(unit), self._embed(unit.flip(-1))
        x = (unit + self._noise(seed, self._examples, self._epsilon).to(unit.device)).clamp(-1, 1)
        cosines = []
        for _ in range(self._iterations):
            x = x.detach().requires_grad_()
            cosine = functional.cosine_similarity(reference, self._embed(x))
            self._net.zero_grad()
            (1 - cosine).mean().backward()  # type: ignore[no-untyped-call]
            if x.grad is None:
                raise AssertionError("the backward pass left no gradient")
            cosines.append(cosine.detach())
            x = (x.detach() + self._epsilon * x.grad.sign()).clamp(-1, 1)
        steady = torch.cat(cosines)
        symmetry = functional.cosine_similarity(reference, mirrored)
        spread = steady.std(correction=0)
        return [float(((1 + steady.mean()) / 2 * (1 - spread).clamp(0, 1) * symmetry) ** self._power)]

    def _embed(self, unit_rgb: Tensor) -> Tensor:
        embedding: Tensor = self._net(self._contract.from_unit(unit_rgb))
        return embedding


class LiteralDiffiqa:
    """DifFIQA: one crop, the R repeats of a view in one pass, kernels standardised anew in every pass."""

    def __init__(
        self,
        backbone: Backbone,
        unet: nn.Module,
        noise: Callable[[int, int], Iterator[Tensor]],
        *,
        t: int = 5,
        repeats: int = 10,
    ) -> None:
        """`noise` is asked for (seed, row), as the package's is; `unet` is not baked."""
        self._net = published_form(backbone.net)
        self._contract, self._unet, self._noise = backbone.contract, unet.eval(), noise
        self._t, self._repeats = t, repeats
        self._alphas_cumprod = cosine_alphas_cumprod()

    @torch.no_grad()
    def __call__(self, crop: Tensor, seed: int) -> list[float]:
        """Mean of the five cosines."""
        clean = crop.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
        own, mirror = self._embed(clean), self._embed(clean.flip(-1))
        cosines = [functional.cosine_similarity(own, mirror).mean()]
        for number, view in enumerate((clean, clean.flip(-1))):
            rows = [self._noise(seed, number * self._repeats + repeat) for repeat in range(self._repeats)]
            noisy = add_noise(view, _draw(rows, view.device), float(self._alphas_cumprod[self._t]))
            draw = functools.partial(_draw, rows, view.device)
            restored = denoise(self._unet, noisy, denoise_path(self._t), self._alphas_cumprod, draw)
            cosines += [functional.cosine_similarity(own, self._embed(x)).mean() for x in (noisy, restored)]
        return [float(torch.stack(cosines).mean())]

    def _embed(self, signed_rgb: Tensor) -> Tensor:
        embedding: Tensor = self._net(self._contract.from_signed(signed_rgb))
        return embedding


def _draw(rows: Sequence[Iterator[Tensor]], device: torch.device) -> Tensor:
    return torch.stack([next(row) for row in rows]).to(device)


class LiteralForward:
    """One forward pass a crop, then a number of what comes out: the regressors and the embedding baselines."""

    def __init__(self, net: nn.Module, contract: InputContract, number: Callable[[nn.Module, Tensor], Tensor]) -> None:
        """`number` takes the network and one normalised input and returns one number."""
        self._net = published_form(net)
        self._contract, self._number = contract, number

    @torch.no_grad()
    def __call__(self, crop: Tensor, seed: int) -> list[float]:
        """The one number."""
        del seed
        return [float(self._number(self._net, self._contract.normalise(crop)))]


def network_answer(net: nn.Module, inputs: Tensor) -> Tensor:
    """What a regressor says."""
    answer: Tensor = net(inputs)
    return answer


def embedding_norm(net: nn.Module, inputs: Tensor) -> Tensor:
    """Length of the embedding before any L2 normalisation."""
    embedding: Tensor = net.head(net.trunk(inputs))  # type: ignore[operator]
    norm: Tensor = torch.linalg.vector_norm(embedding)
    return norm


def mirror_cosine(net: nn.Module, inputs: Tensor) -> Tensor:
    """Cosine between the embeddings of a crop and its mirror image, a pass each."""
    return functional.cosine_similarity(net(inputs), net(inputs.flip(3)))
