"""The network that training starts from, and the frozen one whose embeddings it is kept near."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gate.errors import GateError, QualityError, WeightsError
from gate.lab.distill.recipe import Recipe
from gate.lab.distill.student import RegressorNet, base_of, head_of
from gate.nets.heads import DiffiqaR, Ediffiqa
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.quality.loading import architecture, fill, load_backbone
from gate.types import CROP_SIDE_PX
from gate.weights import checkpoint

DEFAULT_STARTS = {
    "mobilefacenet": "facexzoo-mobilefacenet",
    "iresnet18": "iresnet18-arcface",
    "iresnet50": "iresnet50-arcface",
    "iresnet100": "iresnet100-arcface",
}
"""Architecture to the weights of the zoo that training starts from unless others are named."""

CONTRACT = InputContract()
"""What every published regressor is fed, and so what a trained one is: RGB, (x - 127.5) / 127.5."""

_HEADS = ("ediffiqa", "diffiqa-r")


@dataclass(frozen=True, eq=False)
class Start:
    """Where training starts."""

    net: RegressorNet
    """Fed by `CONTRACT`, whatever the weights were trained with."""

    backbone: Backbone
    """The recognition network as it was given, frozen."""

    has_head: bool
    """The weights were those of a regressor, so its head is trained too."""


def new_regressor(recipe: Recipe) -> RegressorNet:
    """A network of the recipe's kind with fresh weights; raises `GateError` for an unknown one."""
    if recipe.head not in _HEADS:
        raise GateError(f"unknown head {recipe.head!r}; there are {', '.join(_HEADS)}")
    base = architecture(recipe.network)
    return (Ediffiqa(base) if recipe.head == "ediffiqa" else DiffiqaR(base)).eval()


def load_start(spec: str | None, recipe: Recipe, device: str = "cpu") -> Start:
    """Read the weights that training starts from.

    Args:
        spec: a checkpoint of the recipe's architecture (a recognition network, or a regressor to be trained on), with
            `?contract=facexzoo` and the like where its input is not RGB, (x - 127.5) / 127.5; or anything that
            `load_backbone` takes. Default is `DEFAULT_STARTS`.
        recipe: what is trained.
        device: of the frozen backbone.

    Raises:
        WeightsError: the weights are missing or of another network; the message says which to give.
        QualityError: the line cannot be understood.
    """
    net = new_regressor(recipe)
    file = Path((spec or "").partition("?")[0])
    if spec and file.is_file():
        if _is_regressor(file, net):
            fill(net, file)
            base = architecture(recipe.network)
            base.load_state_dict(base_of(net).state_dict())
            model = checkpoint.model_id(file.stem, file)
            return Start(net, Backbone(file.stem, base, CONTRACT, device=device, model=model), has_head=True)
        backbone = load_backbone(f"{recipe.network}:{spec}", device)
    else:
        backbone = _named(spec, recipe, device)
    if backbone.contract.side_px != CROP_SIDE_PX:
        raise QualityError(f"{backbone.name} wants {backbone.contract.side_px} px; training is on {CROP_SIDE_PX} px")
    state = {name: tensor.cpu() for name, tensor in backbone.net.state_dict().items()}
    checkpoint.fit(state, base_of(net), f"{backbone.name}, which recipe {recipe.name} cannot start from")
    refed(base_of(net), backbone.contract)
    return Start(net, backbone, has_head=False)


def _named(spec: str | None, recipe: Recipe, device: str) -> Backbone:
    name = spec or DEFAULT_STARTS.get(recipe.network)
    if name is None:
        raise QualityError(f"recipe {recipe.name} has no weights of {recipe.network} to start from; name some: --start")
    try:
        return load_backbone(name, device)
    except WeightsError as error:
        raise WeightsError(
            f"recipe {recipe.name} starts from a recognition network, {recipe.network}, and its weights cannot be had: "
            f"{error}. Name them with --start FILE (with ?contract=magface or the like where they are not ArcFace's)."
        ) from error


def _is_regressor(path: Path, net: RegressorNet) -> bool:
    head = next(iter(head_of(net).state_dict()))
    (prefix,) = (name for name, module in net.named_children() if module is head_of(net))
    return f"{prefix}.{head}" in checkpoint.load_state_dict(path)


@torch.no_grad()
def refed(base: nn.Module, contract: InputContract) -> None:
    """Change the first convolution so that `base` takes by `CONTRACT` what it took by `contract`.

    Exact where the old mean is 127.5. Otherwise a constant goes into the BatchNorm behind it, and the outermost pixels
    of its output change, because the zeros around the picture are another grey now.
    """
    convolution, norm = _first(base)
    weight = convolution.weight if contract.colour == "rgb" else convolution.weight.flip(1)
    if norm.running_mean is None:
        raise TypeError("a BatchNorm without running statistics cannot take a convolution's shift")
    norm.running_mean.sub_(weight.sum((1, 2, 3)) * ((CONTRACT.mean - contract.mean) / contract.scale))
    convolution.weight.copy_(weight * (CONTRACT.scale / contract.scale))


def _first(base: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = next(module for module in base.modules() if isinstance(module, nn.Conv2d))
    norm = next(module for module in base.modules() if isinstance(module, nn.BatchNorm2d))
    return convolution, norm


def start_head(net: RegressorNet, level: float, seed: int) -> None:
    """Draw the head's weights; its last bias is `level`, so that training does not begin with a long way up."""
    generator = torch.Generator().manual_seed(seed)
    layers = [module for module in head_of(net).modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            bound = layer.in_features**-0.5
            for values in (layer.weight, layer.bias):
                _draw(values, bound, generator)
        layers[-1].bias.fill_(level)


def _draw(values: Tensor, bound: float, generator: torch.Generator) -> None:
    values.uniform_(-bound, bound, generator=generator)
