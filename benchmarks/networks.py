"""Networks and crops to measure with, real or made up, on a machine that has nothing but torch and numpy."""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gate.quality.backbone import Backbone
from gate.quality.contract import CONTRACTS, InputContract
from gate.quality.loading import ARCHITECTURES, architecture, load_backbone
from gate.types import CROP_SIDE_PX, Image


def network(spec: str, device: str) -> Backbone:
    """A backbone: a bare architecture gets filled weights, anything else is what `load_backbone` takes."""
    if spec not in ARCHITECTURES:
        return load_backbone(spec, device)
    contract = CONTRACTS["facexzoo"] if spec == "mobilefacenet" else InputContract()
    return Backbone(f"{spec} (filled)", filled(architecture(spec)), contract, device=device)


def filled(net: nn.Module) -> nn.Module:
    """Fill `net` with weights that anybody can draw again from their names, of a scale that keeps activations alive."""
    state = net.state_dict()
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(_numbers(name, tuple(tensor.shape)))
    return net.eval()


def _numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith(("running_mean", "bias")):
        values = generator.normal(0, 0.1, shape)
    elif len(shape) >= 2:
        values = generator.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif "prelu" in name:
        values = np.full(shape, 0.25)
    else:
        values = generator.uniform(0.5, 1.5, shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def crops(count: int, file: Path | None = None) -> Image:
    """(count, 112, 112, 3) uint8: the first ones of an `.npy` file, repeated where it has too few; else made up."""
    if file is not None:
        stored: Image = np.load(file)
        return np.ascontiguousarray(np.resize(stored, (count, *stored.shape[1:])))
    generator = np.random.Generator(np.random.PCG64(112))
    coarse = generator.integers(0, 256, (count, CROP_SIDE_PX // 8, CROP_SIDE_PX // 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=1).repeat(8, axis=2))
