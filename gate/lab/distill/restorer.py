"""Training of the DifFIQA U-Net: it learns to give back the clean crop from a worn and noised one.

Babnik, Peer, Štruc: "DifFIQA", IJCB 2023, section 3. The input mixes the crop with its low-quality twin, the more of it
the later the time; so noise and poor quality are both steps away from a good face.
"""

import copy
import itertools
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gate.errors import GateError
from gate.lab.distill.wear import worn
from gate.nets.diffusion import cosine_alphas_cumprod
from gate.nets.unet import GROUPS, Unet
from gate.types import FloatArray, Image

TIMES = 100
"""Times 0 to 99 of the schedule's 1000 are trained: scoring uses 5, and beyond 100 nothing of a worn face is left."""

LEARNING_RATE = 8e-5
EMA_DECAY = 0.995

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class UnetRecipe:
    """What decides the result beside the crops and the number of steps."""

    dim: int
    """Channels of the first level."""

    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.dim < 2 * GROUPS or self.dim % GROUPS:
            raise GateError(f"--dim {self.dim}: expected a multiple of {GROUPS}, {2 * GROUPS} or more")
        if self.batch < 1:
            raise GateError(f"--batch {self.batch}: expected 1 or more")


@dataclass(frozen=True, slots=True, eq=False)
class UnetBatch:
    """B crops of one step, RGB in [-1, 1]."""

    clean: FloatArray
    """(B, 3, 112, 112)."""

    mixed: FloatArray
    """(B, 3, 112, 112): (1 - a) clean + a worn, a = sin(pi t / 200)."""

    time: np.ndarray[Any, np.dtype[np.int64]]
    """(B,) t, 0 to 99."""


def unet_batch(crops: Image, recipe: UnetRecipe, step: int) -> UnetBatch:
    """What a step sees, decided by the seed and the step alone."""
    rng = np.random.default_rng([recipe.seed, 3, step])
    chosen = rng.choice(len(crops), recipe.batch, replace=recipe.batch > len(crops))
    time = rng.integers(0, TIMES, recipe.batch)
    clean = _signed(crops[chosen])
    low = _signed(np.stack([worn(crop, rng) for crop in crops[chosen]]))
    share = np.sin(np.pi * time / 200).astype(np.float32)[:, None, None, None]
    return UnetBatch(clean, (1 - share) * clean + share * low, time)


def _signed(crops: Image) -> FloatArray:
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(127.5) - np.float32(1)


@dataclass(frozen=True, slots=True)
class UnetProgress:
    """Where a run is."""

    step: int
    loss: float


class UnetRun:
    """A U-Net in training, its average, and the way to and from disk."""

    def __init__(self, recipe: UnetRecipe, device: str = "cpu") -> None:
        self.recipe = recipe
        self.step = 0
        self._device = device
        with torch.random.fork_rng(devices=[]):
            # Torch's layers draw their first weights from the global generator, which is not ours to keep.
            torch.manual_seed(recipe.seed)
            self.net = Unet(recipe.dim)
        self.net.to(device)
        self.average = copy.deepcopy(self.net)
        self._optimizer = torch.optim.Adam(self.net.parameters(), LEARNING_RATE)
        self._signal = cosine_alphas_cumprod()

    def train(
        self,
        crops: Image,
        steps: int,
        *,
        report: Callable[[UnetProgress], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        workers: int = 1,
    ) -> None:
        """Go on until `steps` steps are done, or `stop` says so after one.

        Args:
            crops: (N, 112, 112, 3) uint8 RGB.
            steps: of the whole run, those of earlier calls included.
            report: told after every step.
            stop: asked after every step.
            workers: threads that make batches.

        Raises:
            GateError: the loss is no longer a number.
        """
        for batch in _ahead(crops, self.recipe, range(self.step, steps), workers):
            loss = self._learn(batch)
            self.step += 1
            report(UnetProgress(self.step, loss))
            if stop():
                break

    def _learn(self, batch: UnetBatch) -> float:
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        # Drawn on the CPU, so that a seed means the same noise on every device.
        noise = torch.randn(batch.clean.shape, generator=generator).to(self._device)
        clean, mixed = (torch.from_numpy(images).to(self._device) for images in (batch.clean, batch.mixed))
        signal = self._signal[batch.time].float().to(self._device)[:, None, None, None]
        noisy = signal.sqrt() * mixed + (1 - signal).sqrt() * noise
        restored = self.net(noisy, torch.from_numpy(batch.time).to(self._device))
        loss = nn.functional.mse_loss(restored, clean)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise GateError(f"the loss of step {self.step + 1} is not a number; the last checkpoint is still good.")
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        # The first steps move fast: an average over more of them than there are would hold the start for long.
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        return value

    def published(self) -> dict[str, Any]:
        """The layout of published checkpoints: the raw weights under `model`, and both kinds under `ema`."""
        raw = _prefixed("model.", self.net)
        online = {f"online_model.{name}": tensor for name, tensor in raw.items()}
        return {"step": self.step, "model": raw, "ema": {**online, **_prefixed("ema_model.model.", self.average)}}

    def save(self, path: Path) -> None:
        """Write everything that going on needs. Raises `GateError` where that fails."""
        state = {"recipe": asdict(self.recipe), "optimizer": self._optimizer.state_dict()}
        write_torch({**self.published(), **state}, path)

    def restore(self, path: Path) -> None:
        """Go on from a file of `save`.

        Raises:
            GateError: it is of another recipe, or cannot be read.
        """
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            if state["recipe"] != asdict(self.recipe):
                raise GateError(f"{path} is of another recipe, {state['recipe']}; name another folder or remove it.")
            self.net.load_state_dict(_without("model.", state["model"]))
            self.average.load_state_dict(_without("ema_model.model.", state["ema"]))
            self._optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise GateError(f"{path} cannot be read as a checkpoint ({type(error).__name__}); remove it.") from error


def _ahead(crops: Image, recipe: UnetRecipe, steps: range, workers: int) -> Iterator[UnetBatch]:
    """The batches of some steps, made by other threads while the network works."""
    with ThreadPoolExecutor(workers) as pool:
        coming = iter(steps)
        waiting = [pool.submit(unet_batch, crops, recipe, step) for step in itertools.islice(coming, workers + 1)]
        while waiting:
            batch = waiting.pop(0).result()
            waiting += [pool.submit(unet_batch, crops, recipe, step) for step in itertools.islice(coming, 1)]
            yield batch


def _prefixed(prefix: str, net: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in net.state_dict().items()}


def _without(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def write_torch(state: dict[str, Any], path: Path) -> None:
    """Write by `torch.save`, as a whole or not at all. Raises `GateError` where that fails."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise GateError(f"{path} cannot be written: {error}") from None
