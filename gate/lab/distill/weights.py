"""The weights that a run leaves: half-precision safetensors with the published names, and what they answer."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gate.errors import GateError
from gate.lab.det import spearman
from gate.lab.distill.material import Material
from gate.lab.distill.recipe import Recipe
from gate.lab.distill.start import CONTRACT, new_regressor
from gate.lab.distill.student import RegressorNet
from gate.lab.results import IndexArray
from gate.quality.loading import fill
from gate.types import FloatArray, Image
from gate.weights.convert import write_safetensors

FILE = "facegate.safetensors"

_ON_CPU = 8
"""Crops at once on a CPU, where larger batches leave its cache."""

_ON_GPU = 256


@dataclass(frozen=True, slots=True)
class Rounding:
    """What half precision changed."""

    largest_difference: float
    spearman: float
    """NaN for scores that are all the same."""


def score_crops(net: nn.Module, crops: Image, device: str) -> FloatArray:
    """(N, 112, 112, 3) uint8 RGB to (N,) float32 by a network on `device` that is fed by `CONTRACT`."""
    size = _ON_CPU if device == "cpu" else _ON_GPU
    answers = [np.empty(0, dtype=np.float32)]
    with torch.inference_mode():
        for start in range(0, len(crops), size):
            images = torch.from_numpy(np.ascontiguousarray(crops[start : start + size])).to(device)
            inputs = CONTRACT.normalise(images).contiguous(memory_format=torch.channels_last)
            answers.append(net(inputs).float().cpu().numpy())
    return np.concatenate(answers)


def normalised_batches(material: Material, places: IndexArray, device: str) -> Iterator[Tensor]:
    """Inputs of some crops, in batches that fit."""
    size = _ON_CPU if device == "cpu" else _ON_GPU
    for start in range(0, len(places), size):
        crops = torch.from_numpy(material.crops[places[start : start + size]]).to(device)
        yield CONTRACT.normalise(crops)


def half_state(net: nn.Module) -> dict[str, Tensor]:
    """The tensors in float16, and in float32 where float16 cannot hold them; counters of training are left out."""
    state = {}
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        half = tensor.half()
        state[name] = half if torch.isfinite(half).all() else tensor.float()
    return state


def write_weights(
    net: RegressorNet, recipe: Recipe, folder: Path, crops: Image, device: str
) -> tuple[RegressorNet, Rounding]:
    """Write `facegate.safetensors`, read it back, and compare what both answer on some crops.

    Returns:
        The network as read back, on `device`, and what half precision changed.

    Raises:
        GateError: the folder cannot be written, or the weights do not answer with numbers.
    """
    path = folder / FILE
    part = path.with_name(f"{path.stem}.{os.getpid()}.safetensors")
    try:
        write_safetensors(half_state(net), part)
    except OSError as error:
        raise GateError(f"{path} cannot be written: {error.strerror or error}") from None
    again = new_regressor(recipe)
    fill(again, part)
    whole, rounded = (score_crops(one.to(device), crops, device) for one in (net, again))
    if not (np.isfinite(whole).all() and np.isfinite(rounded).all()):
        part.unlink()
        raise GateError("the trained weights answer with something that is no number; train with lower lr_base.")
    part.replace(path)
    rho = spearman(("a", "b"), (whole, rounded)).rho[0][1] if len(whole) > 1 else float("nan")
    return again, Rounding(float(np.abs(whole - rounded).max(initial=0)), rho)
