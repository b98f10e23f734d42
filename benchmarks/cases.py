"""What is compared: each method of the package beside its literal baseline, with the same weights and noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from benchmarks import literal
from benchmarks.networks import filled, network
from gate.errors import QualityError
from gate.nets.heads import Crfiqa, DiffiqaR, Ediffiqa
from gate.nets.iresnet import iresnet18, iresnet50, iresnet100
from gate.nets.mobilefacenet import mobilefacenet
from gate.nets.unet import Unet
from gate.quality.baselines import EmbeddingNorm, MirrorCosine
from gate.quality.contract import InputContract
from gate.quality.diffiqa import DifFIQA
from gate.quality.diffiqa import seeded_noise as diffusion_noise
from gate.quality.faceqan import FaceQAN
from gate.quality.faceqan import seeded_noise as adversarial_noise
from gate.quality.grafiqs import PHIS, Grafiqs
from gate.quality.precision import OPTION
from gate.quality.registry import method_info
from gate.quality.regressor import Regressor
from gate.quality.serfiq import Serfiq
from gate.types import FloatArray, Image

Scorer = Callable[[Image, Sequence[int]], FloatArray]
"""(N, 112, 112, 3) crops and N seeds to (N, columns) raw numbers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the cases are built with."""

    network: str
    """Recognition network: an architecture name (filled weights) or a backbone as in a configuration."""

    device: str = "cpu"
    max_batch: int = 32
    precision: str = "float32"
    """Of ours; the literal procedures compute in float32."""

    passes: int = 100
    examples: int = 10
    iterations: int = 5
    unet_dim: int = 32
    repeats: int = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One method, both ways."""

    name: str
    network: str
    ours: Scorer
    literal: Scorer


def grafiqs(settings: Settings) -> Case:
    """The default φ only."""
    backbone = network(settings.network, settings.device)
    method = Grafiqs(backbone, **_common(settings))
    return _case("grafiqs", settings, backbone.name, method, literal.LiteralGrafiqs(backbone, (method.phi,)))


def grafiqs_all(settings: Settings) -> Case:
    """All five φ, as the published tool writes them."""
    backbone = network(settings.network, settings.device)
    method = Grafiqs(backbone, phi="all", **_common(settings))

    def ours(crops: Image, seeds: Sequence[int]) -> FloatArray:
        del seeds
        return np.stack(list(method.raw_all(crops).values()), axis=1)

    procedure = literal.LiteralGrafiqs(backbone, PHIS)
    return Case("grafiqs phi=all", backbone.name, ours, _one_by_one(procedure, settings))


def serfiq(settings: Settings) -> Case:
    """T stochastic passes."""
    backbone = network(settings.network, settings.device)
    method = Serfiq(backbone, passes=settings.passes, **_common(settings))
    return _case("serfiq", settings, backbone.name, method, literal.LiteralSerfiq(backbone, passes=settings.passes))


def faceqan(settings: Settings) -> Case:
    """Adversarial noise."""
    backbone = network(settings.network, settings.device)
    iterations, examples = settings.iterations, settings.examples
    method = FaceQAN(backbone, iterations=iterations, examples=examples, **_common(settings))
    procedure = literal.LiteralFaceqan(backbone, adversarial_noise, iterations=iterations, examples=examples)
    return _case("faceqan", settings, backbone.name, method, procedure)


def diffiqa(settings: Settings) -> Case:
    """Diffusion noise; the U-Net's weights are filled, for the published ones cannot be shipped."""
    backbone = network(settings.network, settings.device)
    ours, theirs = (filled(Unet(settings.unet_dim)).to(settings.device).requires_grad_(False) for _ in range(2))
    method = DifFIQA(backbone, ours, repeats=settings.repeats, **_common(settings))
    procedure = literal.LiteralDiffiqa(backbone, theirs, diffusion_noise, repeats=settings.repeats)
    return _case("diffiqa", settings, f"{backbone.name}, U-Net {settings.unet_dim} (filled)", method, procedure)


def embedding_norm(settings: Settings) -> Case:
    """One pass."""
    backbone = network(settings.network, settings.device)
    procedure = literal.LiteralForward(backbone.net, backbone.contract, literal.embedding_norm)
    return _case("embedding-norm", settings, backbone.name, EmbeddingNorm(backbone, **_common(settings)), procedure)


def mirror_cosine(settings: Settings) -> Case:
    """Two passes."""
    backbone = network(settings.network, settings.device)
    procedure = literal.LiteralForward(backbone.net, backbone.contract, literal.mirror_cosine)
    return _case("mirror-cosine", settings, backbone.name, MirrorCosine(backbone, **_common(settings)), procedure)


_REGRESSORS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "ediffiqa-t": ("mobilefacenet (filled)", lambda: Ediffiqa(mobilefacenet())),
    "ediffiqa-s": ("iresnet18 (filled)", lambda: Ediffiqa(iresnet18())),
    "ediffiqa-m": ("iresnet50 (filled)", lambda: Ediffiqa(iresnet50())),
    "ediffiqa-l": ("iresnet100 (filled)", lambda: Ediffiqa(iresnet100())),
    "diffiqa-r": ("iresnet100 (filled)", lambda: DiffiqaR(iresnet100())),
    "diffiqa-r-18": ("iresnet18 (filled)", lambda: DiffiqaR(iresnet18())),
    "crfiqa-s": ("iresnet50 (filled)", lambda: Crfiqa((3, 4, 14, 3))),
    "crfiqa-l": ("iresnet100 (filled)", lambda: Crfiqa((3, 13, 30, 3))),
}


def regressor(name: str, settings: Settings) -> Case:
    """A published regressor with filled weights: the time does not depend on them."""
    shown, build = _REGRESSORS[name]
    net, contract = filled(build()), InputContract()
    procedure = literal.LiteralForward(net.to(settings.device), contract, literal.network_answer)
    method = Regressor(net, contract, name=name, model="filled", **_common(settings))
    return _case(name, settings, shown, method, procedure)


_METHODS: dict[str, Callable[[Settings], Case]] = {
    "grafiqs": grafiqs,
    "grafiqs-all": grafiqs_all,
    "serfiq": serfiq,
    "faceqan": faceqan,
    "diffiqa": diffiqa,
    "embedding-norm": embedding_norm,
    "mirror-cosine": mirror_cosine,
}

NAMES = (*_METHODS, *_REGRESSORS)

USUAL = ("grafiqs", "grafiqs-all", "serfiq", "faceqan", "ediffiqa-t", "ediffiqa-s", "embedding-norm", "mirror-cosine")
"""What a CPU gets through in a few minutes."""


def build(name: str, settings: Settings) -> Case:
    """The case of that name; raises `QualityError` for another."""
    if name in _METHODS:
        return _METHODS[name](settings)
    if name in _REGRESSORS:
        return regressor(name, settings)
    raise QualityError(f"unknown case {name!r}; there are {', '.join(NAMES)}")


def can(name: str, precision: str) -> bool:
    """Whether a case's method computes in that precision."""
    info = method_info(name.removesuffix("-all").removesuffix("-18"))
    return precision == "float32" or (OPTION in info.options and (info.name, precision) != ("grafiqs", "float16"))


def _common(settings: Settings) -> dict[str, Any]:
    common: dict[str, Any] = {"device": settings.device, "max_batch": settings.max_batch}
    return common if settings.precision == "float32" else {**common, OPTION: settings.precision}


def _case(name: str, settings: Settings, shown: str, method: Any, procedure: literal.Literal) -> Case:
    def ours(crops: Image, seeds: Sequence[int]) -> FloatArray:
        raw: FloatArray = method.raw(crops, seeds=seeds)
        return raw[:, None]

    return Case(name, shown, ours, _one_by_one(procedure, settings))


def _one_by_one(procedure: literal.Literal, settings: Settings) -> Scorer:
    return lambda crops, seeds: literal.one_by_one(procedure, crops, seeds, settings.device)
