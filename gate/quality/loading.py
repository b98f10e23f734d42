"""Backbones from one line of configuration."""

import importlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

from torch import nn

from gate.errors import QualityError
from gate.quality.backbone import DROPOUT_P, Backbone
from gate.quality.contract import CONTRACTS, InputContract
from gate.quality.names import nearest
from gate.types import CROP_SIDE_PX
from gate.weights.zoo import Zoo

ARCHITECTURES = {
    "iresnet18": "gate.nets.iresnet:iresnet18",
    "iresnet34": "gate.nets.iresnet:iresnet34",
    "iresnet50": "gate.nets.iresnet:iresnet50",
    "iresnet100": "gate.nets.iresnet:iresnet100",
    "mobilefacenet": "gate.nets.mobilefacenet:mobilefacenet",
}
"""Name to `module:function` without arguments."""

_ZOO_NETWORKS = {
    "facexzoo-mobilefacenet": "mobilefacenet",
    "iresnet18-arcface": "iresnet18",
    "iresnet34-arcface": "iresnet34",
    "iresnet50-arcface": "iresnet50",
    "iresnet100-arcface": "iresnet100",
    "iresnet100-magface": "iresnet100",
    "iresnet100-adaface": "iresnet100",
    "facegate-t": "mobilefacenet",
}
"""Zoo name to architecture; colour order and scaling are in the zoo's own entry."""

_HOW_TO_NAME = (
    "Name a zoo network (facexzoo-mobilefacenet), a known architecture and its state dict (iresnet100:/path/file.pt, "
    "with ?contract=magface where the input differs), or module:function of your own."
)


def load_backbone(
    spec: str,
    device: str = "cpu",
    *,
    weights: Path | str | None = None,
    zoo: Zoo | None = None,
) -> Backbone:
    """Build a backbone from one line of configuration.

    Args:
        spec: a zoo name (`facexzoo-mobilefacenet`); a known architecture and its state dict (`iresnet100:/a/file.pt`,
            `mobilefacenet:file.pt?contract=facexzoo`, or `?colour=bgr&mean=0&scale=255&dropout=0.4`); or an importable
            `module:function` without arguments that returns `(nn.Module, InputContract)`, or an `nn.Module` with the
            attribute `input_contract`.
        device: `cpu` or `cuda:N`.
        weights: state dict to use in place of the one that `spec` names.
        zoo: where zoo names are looked up; default is the user's own folder.

    Raises:
        QualityError: the line cannot be understood or the function returns something else.
        WeightsError: the file is missing or belongs to another network.
    """
    if spec in _ZOO_NETWORKS:
        shelf = zoo or Zoo()
        contract, dropout_p = zoo_contract(shelf, spec)
        path = Path(weights) if weights is not None else shelf.ensure(spec)
        return _from_state_dict(spec, _ZOO_NETWORKS[spec], path, contract, dropout_p=dropout_p, device=device)
    head, colon, rest = spec.partition(":")
    if head in ARCHITECTURES:
        file, _, query = rest.partition("?")
        path_text = str(weights) if weights is not None else file
        if not path_text:
            raise QualityError(f"backbone {spec!r} names no state dict. {_HOW_TO_NAME}")
        options = _options(query, spec)
        contract = _contract(head, options)
        dropout_p = _number(head, "dropout", options, DROPOUT_P)
        return _from_state_dict(head, head, Path(path_text), contract, dropout_p=dropout_p, device=device)
    if colon and rest.isidentifier():
        return _from_function(spec, head, rest, device)
    raise QualityError(f"unknown backbone {spec!r}{nearest(spec, [*_ZOO_NETWORKS, *ARCHITECTURES])}. {_HOW_TO_NAME}")


def architecture(name: str) -> nn.Module:
    """A known architecture with fresh weights; raises `QualityError` for another name."""
    if name not in ARCHITECTURES:
        raise QualityError(f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)}")
    module, _, function = ARCHITECTURES[name].partition(":")
    net: nn.Module = getattr(importlib.import_module(module), function)()
    return net


def _from_state_dict(
    name: str, kind: str, path: Path, contract: InputContract, *, dropout_p: float, device: str
) -> Backbone:
    from gate.weights import checkpoint

    net = architecture(kind)
    fill(net, path)
    return Backbone(name, net, contract, device=device, model=checkpoint.model_id(name, path), dropout_p=dropout_p)


def fill(net: nn.Module, path: Path) -> None:
    """Load a checkpoint into `net`; raises `WeightsError` that lists every name that does not fit.

    A network inside a larger training module (MagFace's `features.module.*` beside its classifier) is found by its
    own names.
    """
    from gate.weights import checkpoint

    state = checkpoint.load_state_dict(path)
    own = net.state_dict()
    anchor = next(iter(own))
    if anchor not in state:
        prefixes = {name.removesuffix(anchor) for name in state if name.endswith("." + anchor)}
        prefix = max(prefixes, key=lambda p: sum(p + name in state for name in own), default="")
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    checkpoint.fit(state, net, str(path))


def zoo_contract(zoo: Zoo, name: str) -> tuple[InputContract, float]:
    """Input contract and dropout of a zoo entry; raises `QualityError` for an entry that is no single network."""
    given = zoo.entry(name).contract
    if given is None:
        raise QualityError(f"{name} is not a network that crops can be fed to")
    side_px = given.side_px if given.side_px is not None else CROP_SIDE_PX
    dropout_p = given.dropout_p if given.dropout_p is not None else DROPOUT_P
    return InputContract(given.colour, given.mean, given.scale, side_px), dropout_p


def _contract(name: str, options: dict[str, str]) -> InputContract:
    family = options.get("contract", "arcface")
    if family not in CONTRACTS:
        raise QualityError(f"backbone {name}: unknown contract {family!r}{nearest(family, CONTRACTS)}")
    base = CONTRACTS[family]
    colour = options.get("colour", base.colour)
    if colour not in {"rgb", "bgr"}:
        raise QualityError(f"backbone {name}: colour must be rgb or bgr, got {colour!r}")
    scale = _number(name, "scale", options, base.scale)
    if scale == 0:
        raise QualityError(f"backbone {name}: scale must not be 0")
    mean = _number(name, "mean", options, base.mean)
    return replace(base, colour="rgb" if colour == "rgb" else "bgr", mean=mean, scale=scale)


def _number(name: str, key: str, options: dict[str, str], default: float) -> float:
    try:
        return float(options.get(key, default))
    except ValueError:
        raise QualityError(f"backbone {name}: {key} must be a number, got {options[key]!r}") from None


def _options(query: str, spec: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = ("contract", "colour", "mean", "scale", "dropout")
    for key in options:
        if key not in known:
            raise QualityError(f"backbone {spec!r}: unknown option {key!r}{nearest(key, known)}")
    return options


def _from_function(spec: str, module: str, function: str, device: str) -> Backbone:
    try:
        built = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise QualityError(f"backbone {spec!r} cannot be imported: {error}. {_HOW_TO_NAME}") from None
    net, contract = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    contract = contract if contract is not None else getattr(net, "input_contract", None)
    if not isinstance(net, nn.Module) or not isinstance(contract, InputContract):
        raise QualityError(
            f"backbone {spec!r} must return (nn.Module, InputContract) or an nn.Module with input_contract, "
            f"got {type(net).__name__} and {type(contract).__name__}"
        )
    return Backbone(function, net, contract, device=device, dropout_p=float(getattr(net, "dropout_p", DROPOUT_P)))
