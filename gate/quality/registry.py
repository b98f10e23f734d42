"""The methods by name. This table is read without torch; what it names is imported when it is loaded."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gate.errors import QualityError
from gate.inference import Backend
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.device import require_torch, resolve_device
from gate.quality.names import nearest
from gate.quality.precision import OPTION as PRECISION
from gate.weights.zoo import Zoo, locate

if TYPE_CHECKING:
    from gate.quality.backbone import Backbone
    from gate.quality.method import QualityMethod

DEFAULT_BACKBONE = "facexzoo-mobilefacenet"


class Needs(str, Enum):
    """What a method cannot be loaded without."""

    BACKBONE = "a recognition network"
    BACKBONE_AND_UNET = "a recognition network and a diffusion U-Net"
    REGRESSOR = "its own weights"
    NOTHING = "nothing"


@dataclass(frozen=True)
class MethodInfo:
    """One row of the table."""

    name: str

    description: str
    """What it measures, in one line."""

    paper: str

    kind: Needs

    constructor: str
    """`module:callable`."""

    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """Options and their defaults."""

    backbone: str | None = DEFAULT_BACKBONE
    """Default backbone; None where the user has to name one."""

    weights: str | None = None
    """Default weights of a regressor: a zoo name, or None where the user has to name a file."""

    extra: Mapping[str, OptionValue] = field(default_factory=dict)
    """Arguments of the constructor that are not the user's to choose."""

    only_float32: str = ""
    """Why its network computes in float32 only; empty where it can do otherwise or has none."""

    @property
    def needs(self) -> str:
        """What it cannot be loaded without, in words."""
        return self.kind.value


_NARROWS: Mapping[str, OptionValue] = {PRECISION: "auto"}

_EDIFFIQA = "Babnik et al., eDifFIQA, TBIOM 2024"
_CRFIQA = "Boutros et al., CR-FIQA, CVPR 2023"


def _regressor(name: str, description: str, paper: str, weights: str | None = None) -> MethodInfo:
    constructor = "gate.quality.regressors:load_regressor"
    weights = weights or name
    return MethodInfo(
        name, description, paper, Needs.REGRESSOR, constructor, _NARROWS, weights=weights, extra={"name": name}
    )


_METHODS = (
    _regressor("regressor", "quality distilled into MobileFaceNet; ships with the package", "", "facegate-t"),
    MethodInfo(
        "serfiq",
        "how little embeddings scatter under random dropout",
        "Terhörst et al., SER-FIQ, CVPR 2020",
        Needs.BACKBONE,
        "gate.quality.serfiq:Serfiq",
        {"passes": 100, "p": None, "alpha": None, "r": None, "variant": "paper", **_NARROWS},
    ),
    MethodInfo(
        "grafiqs",
        "how little the network's stored statistics would have to change",
        "Kolf et al., GraFIQs, CVPRW 2024",
        Needs.BACKBONE,
        "gate.quality.grafiqs:Grafiqs",
        {"phi": "block2", "literal": False, **_NARROWS},
    ),
    MethodInfo(
        "faceqan",
        "how well the embedding resists adversarial noise",
        "Babnik et al., FaceQAN, ICPR 2022",
        Needs.BACKBONE,
        "gate.quality.faceqan:FaceQAN",
        {"epsilon": 0.001, "iterations": 5, "examples": 10, "power": 5},
        only_float32="its steps of a thousandth are smaller than what bfloat16 tells apart",
    ),
    MethodInfo(
        "diffiqa",
        "how little diffusion noise and its removal move the embedding",
        "Babnik et al., DifFIQA, IJCB 2023",
        Needs.BACKBONE_AND_UNET,
        "gate.quality.diffiqa:DifFIQA",
        {"t": 5, "repeats": 10, "ema": False, "images_per_pass": None},
        weights="diffiqa",
        only_float32="nobody has measured whether its ranks hold in another format",
    ),
    _regressor("diffiqa-r", "DifFIQA distilled into IResNet-100", "Babnik et al., DifFIQA, IJCB 2023"),
    _regressor("ediffiqa-l", "improved DifFIQA distilled into IResNet-100", _EDIFFIQA),
    _regressor("ediffiqa-m", "improved DifFIQA distilled into IResNet-50", _EDIFFIQA),
    _regressor("ediffiqa-s", "improved DifFIQA distilled into IResNet-18", _EDIFFIQA),
    _regressor("ediffiqa-t", "improved DifFIQA distilled into MobileFaceNet", _EDIFFIQA, "ediffiqa-tiny"),
    _regressor("crfiqa-l", "relative classifiability, learnt with IResNet-100", _CRFIQA),
    _regressor("crfiqa-s", "relative classifiability, learnt with IResNet-50", _CRFIQA),
    MethodInfo(
        "onnx",
        "any regressor as an ONNX file",
        "",
        Needs.REGRESSOR,
        "gate.quality.regressors:load_onnx",
        {"colour": "rgb", "mean": 127.5, "scale": 127.5},
        only_float32="an ONNX file has its own number format",
    ),
    MethodInfo(
        "magface",
        "length of MagFace's embedding",
        "Meng et al., MagFace, CVPR 2021",
        Needs.BACKBONE,
        "gate.quality.baselines:EmbeddingNorm",
        _NARROWS,
        backbone="iresnet100-magface",
        extra={"name": "magface"},
    ),
    MethodInfo(
        "embedding-norm",
        "baseline: length of the embedding before normalisation",
        "",
        Needs.BACKBONE,
        "gate.quality.baselines:EmbeddingNorm",
        _NARROWS,
    ),
    MethodInfo(
        "mirror-cosine",
        "baseline: likeness of the embeddings of a crop and its mirror image",
        "",
        Needs.BACKBONE,
        "gate.quality.baselines:MirrorCosine",
        only_float32="a face and its mirror image differ by little more than bfloat16's rounding",
    ),
    MethodInfo(
        "sharpness",
        "baseline: variance of the Laplacian, no network",
        "Pech-Pacheco et al., ICPR 2000",
        Needs.NOTHING,
        "gate.quality.sharpness:Sharpness",
    ),
)


def methods() -> list[MethodInfo]:
    """Every method: ours, published ones, and baselines last."""
    return list(_METHODS)


def method_info(name: str) -> MethodInfo:
    """The row of that name; raises `QualityError` that names the nearest."""
    for info in _METHODS:
        if info.name == name:
            return info
    raise QualityError(f"unknown method {name!r}{nearest(name, [info.name for info in _METHODS])}")


def load_method(
    name: str,
    *,
    backbone: "str | Backbone | None" = None,
    weights: str | Path | None = None,
    device: str = "cpu",
    max_batch: int = 32,
    calibration: str | Path | CalibrationTable | None = None,
    zoo: Zoo | None = None,
    backend: Backend = "torch",
    **options: Any,
) -> "QualityMethod":
    """A method, ready to score.

    Args:
        name: a name from `methods()`.
        backbone: recognition network: what `gate.quality.load_backbone` takes, or a loaded one on the same device;
            default is the method's own.
        weights: of a regressor or of DifFIQA's U-Net: zoo name or path; of any other method: state dict for
            `backbone`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        max_batch: most crops scored at once.
        calibration: file or table of maps to 0..100; default is the one that ships with the package.
        zoo: where zoo names are looked up; default is the user's own folder.
        backend: what runs a regressor on a CPU; the other methods need torch.
        **options: the method's own, such as `phi="block2"`; `methods()` lists them with their defaults.

    Raises:
        QualityError: an unknown name or option, or a value that makes no sense.
        WeightsError: weights are missing or of another network.
        DeviceError: torch or the device cannot be used.
    """
    info = method_info(name)
    for option in options:
        if option == PRECISION and info.only_float32:
            raise QualityError(f"{name} computes in float32 only: {info.only_float32}. Leave {PRECISION} out")
        if option not in info.options:
            hint = nearest(option, info.options) if info.options else "; it has none"
            raise QualityError(f"{name}: unknown option {option!r}{hint}")
    if backbone is not None and info.kind in {Needs.REGRESSOR, Needs.NOTHING}:
        raise QualityError(f"{name} uses no backbone; leave it out")
    where = resolve_device(device)
    table = CalibrationTable.load(Path(calibration)) if isinstance(calibration, (str, Path)) else calibration
    common: dict[str, Any] = {"device": where, "max_batch": max_batch, "calibration": table, **info.extra, **options}
    if info.kind is Needs.NOTHING:
        return _constructor(info)(**common)
    if info.kind is Needs.REGRESSOR:
        path, source = locate(_wanted(weights or info.weights, name, "weights"), zoo)
        return _constructor(info)(path, source=source, backend=backend, zoo=zoo, **common)
    if backbone is None and weights is None and info.backbone is not None:
        # Before torch is imported: where its weights are missing, a fallback that is never used costs nothing.
        locate(info.backbone, zoo)
    require_torch()
    if info.kind is Needs.BACKBONE:
        return _constructor(info)(_backbone(info, backbone, weights, where, zoo), **common)
    network = _backbone(info, backbone, None, where, zoo)
    return _constructor(info)(network, locate(_wanted(weights or info.weights, name, "weights"), zoo)[0], **common)


def _constructor(info: MethodInfo) -> "Callable[..., QualityMethod]":
    module, _, attribute = info.constructor.partition(":")
    return cast("Callable[..., QualityMethod]", getattr(importlib.import_module(module), attribute))


def _wanted(given: str | Path | None, name: str, what: str) -> str | Path:
    if given is None:
        raise QualityError(f"{name} needs {what}: give a file or a name from gate models list")
    return given


def _backbone(
    info: MethodInfo,
    given: "str | Backbone | None",
    weights: str | Path | None,
    device: str,
    zoo: Zoo | None,
) -> "Backbone":
    from gate.quality.backbone import Backbone
    from gate.quality.loading import load_backbone

    if not isinstance(given, Backbone):
        return load_backbone(
            str(_wanted(given or info.backbone, info.name, "backbone")), device, weights=weights, zoo=zoo
        )
    if given.device != device:
        raise QualityError(f"{info.name}: the backbone is on {given.device}, the method was asked for on {device}")
    return given
