"""State dicts from files of any form in which checkpoints are published, and their way into a network."""

import fnmatch
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.errors import WeightsError
from gate.weights.sums import sha256_of
from gate.weights.unpickle import read_pickled

if TYPE_CHECKING:
    from torch import Tensor, nn

_TORCH_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".tar"})
_SECTIONS = ("state_dict", "model", "net", "model_state_dict")
_PARALLEL = "module."
_SHOWN = 6


def model_id(name: str, path: Path) -> str:
    """`name@` and the first 8 hexadecimal digits of the file's sha256: how events name the weights they come from."""
    return f"{name}@{sha256_of(path)[:8]}"


def load_state_dict(path: Path, *, section: str | None = None) -> "dict[str, Tensor]":
    """The tensors of a checkpoint on the CPU; nothing in the file is executed.

    Reads `.safetensors`, what `torch.save` writes (`.pt .pth .bin .ckpt .tar`, with `weights_only=True`), and pickled
    whole modules (`.pkl`, or one of the former that holds a module). The `module.` that DataParallel puts before every
    name is taken off.

    Args:
        path: the file.
        section: which part of a training checkpoint to take, such as `ema`; default is the first of `state_dict`,
            `model`, `net`, `model_state_dict` that is there, else the whole.

    Raises:
        WeightsError: the file is missing, damaged, hostile, holds no tensors or not that section.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weight file {path}; name an existing file or a model of `gate models list`")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        tree: Mapping[str, Any] = _read_safetensors(path)
    elif suffix in _TORCH_SUFFIXES:
        tree = _read_torch(path)
    elif suffix == ".pkl":
        tree = read_pickled(path)
    else:
        known = ", ".join(sorted({".safetensors", ".pkl", *_TORCH_SUFFIXES}))
        raise WeightsError(f"{path} is not a checkpoint that can be read: its name should end in one of {known}")
    return without_parallel(_tensors_of(_section(tree, section, path), path))


def fit(
    state: "Mapping[str, Tensor]",
    module: "nn.Module",
    where: str,
    *,
    allow_missing: Collection[str] = (),
    allow_unexpected: Collection[str] = (),
) -> None:
    """Load `state` into `module` if every name and shape agrees.

    `num_batches_tracked` may be missing: it is not used outside of training and old checkpoints lack it.

    Args:
        state: name → tensor.
        module: network to fill; untouched when this raises.
        where: where the weights come from, for the message.
        allow_missing: patterns (as in a shell) of names the module may keep as they are.
        allow_unexpected: patterns of names in `state` to leave out.

    Raises:
        WeightsError: one message that lists the names missing, unexpected and of another shape.
    """
    own = module.state_dict()
    missing = _unmatched(own.keys() - state.keys(), (*allow_missing, "*num_batches_tracked"))
    unexpected = _unmatched(state.keys() - own.keys(), allow_unexpected)
    shapes = [
        f"{name} is {list(state[name].shape)}, not {list(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    faults = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if faults:
        raise WeightsError(f"the weights of {where} are not of a {type(module).__name__}: {'; '.join(faults)}")
    module.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)


def _unmatched(names: Collection[str], patterns: Collection[str]) -> list[str]:
    return sorted(name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def _damaged(path: Path, why: object) -> WeightsError:
    size_bytes = path.stat().st_size
    return WeightsError(f"{path} ({size_bytes} bytes) is damaged or not what its name says: {why}; fetch it again")


def _read_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # More than tensors in it: a whole module, or a training run's options. Ours leaves those out.
        return read_pickled(path)
    except Exception as error:
        # Bytes that a broken disk or a cut download left make torch.load raise nearly anything.
        raise _damaged(path, f"{type(error).__name__} while reading it") from error
    if not isinstance(tree, Mapping):
        raise _damaged(path, f"it holds a {type(tree).__name__}, not a dictionary of tensors")
    return tree


def _section(tree: Mapping[str, Any], section: str | None, path: Path) -> Mapping[str, Any]:
    if section is not None:
        chosen = tree.get(section)
        if not isinstance(chosen, Mapping):
            offers = ", ".join(str(name) for name, value in tree.items() if isinstance(value, Mapping)) or "none"
            raise WeightsError(f"{path} has no section {section!r}; its sections: {offers}")
        return chosen
    for name in _SECTIONS:
        chosen = tree.get(name)
        if isinstance(chosen, Mapping):
            return chosen
    return tree


def _tensors_of(tree: Mapping[str, Any], path: Path) -> "dict[str, Tensor]":
    from torch import Tensor

    tensors = {name: value.detach() for name, value in tree.items() if isinstance(value, Tensor)}
    if not tensors:
        sections = ", ".join(str(name) for name, value in tree.items() if isinstance(value, Mapping))
        hint = f"; it has sections: {sections}" if sections else ""
        raise WeightsError(f"{path} holds no tensors where a state dict was expected{hint}")
    return tensors


def without_parallel(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """The same tensors without the `module.` that DataParallel put before every name."""
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return state
