"""The training loop: one process, CPU or GPU, resumable at every checkpoint."""

import copy
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gate.errors import GateError
from gate.lab.distill.lessons import Batch, Lesson, Timetable
from gate.lab.distill.losses import Losses, batch_losses
from gate.lab.distill.recipe import Recipe
from gate.lab.distill.student import Student
from gate.quality.contract import InputContract

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is."""

    step: int
    steps: int
    losses: Losses


def train(
    student: Student,
    lesson: Lesson,
    recipe: Recipe,
    contract: InputContract,
    folder: Path,
    *,
    device: str = "cpu",
    save_every: int = 200,
    report: Callable[[Progress], None] = lambda _: None,
    examine: Callable[[int, Student], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Student:
    """Train from the folder's checkpoint, or from the start where there is none.

    Args:
        student: where training starts.
        lesson: what it learns from.
        recipe: how.
        contract: what the network wants to see.
        folder: gets `checkpoint.pt`.
        device: `cpu` or `cuda:N`.
        save_every: steps between checkpoints.
        report: told the losses of every step.
        examine: given the averaged student at every checkpoint.
        stop: asked after every step; a checkpoint is written before the run ends early.

    Returns:
        The trained student, on the CPU.

    Raises:
        GateError: the checkpoint is of another recipe or cannot be read, or the loss is no longer a number.
    """
    timetable = Timetable(lesson, recipe)
    student = student.to(device)
    run = _Run(student, recipe, timetable.steps)
    path = folder / CHECKPOINT
    first = run.restore(path) if path.exists() else 0
    for step, batch in enumerate(timetable.batches(first), first):
        losses = run.step(step, batch, contract, device, lesson.seed)
        report(Progress(step + 1, timetable.steps, losses))
        last = step + 1 == timetable.steps
        if last or (step + 1) % save_every == 0 or stop():
            run.save(path, step + 1)
            examine(step + 1, run.average)
            if stop():
                break
    return copy.deepcopy(run.average).cpu()


def checkpoint_step(path: Path) -> int:
    """Steps that a checkpoint's run has done; 0 where there is none or it cannot be read: `train` says why."""
    try:
        return int(torch.load(path, weights_only=True, map_location="cpu", mmap=True)["step"]) if path.exists() else 0
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError):
        return 0


class _Run:
    """Everything a checkpoint holds."""

    def __init__(self, student: Student, recipe: Recipe, steps: int) -> None:
        base = list(student.base_parameters())
        if recipe.base_tensors is not None:
            for parameter in base[: -recipe.base_tensors]:
                parameter.requires_grad = False
            base = base[-recipe.base_tensors :]
        groups = [
            {"params": base, "lr": recipe.lr_base},
            {"params": list(student.mlp.parameters()), "lr": recipe.lr_head},
        ]
        self.recipe = recipe
        self.student = student
        self.average = copy.deepcopy(student)
        # Adam's plain L2 penalty is not wanted: 0 makes AdamW the published Adam.
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: _factor(step, steps, recipe))

    def step(self, step: int, batch: Batch, contract: InputContract, device: str, seed: int) -> Losses:
        crops = contract.normalise(torch.from_numpy(batch.crops).to(device))
        inputs = crops.contiguous(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
            # Dropout draws from the global generator; a resumed run must draw what an unbroken one does.
            torch.manual_seed(seed * 1_000_003 + step)
            embeddings, scores = self.student.embed_and_score(inputs)
        losses = batch_losses(scores, embeddings, batch, self.recipe)
        if not torch.isfinite(losses.total):
            raise GateError(f"the loss of step {step + 1} is not a number; lower lr_base or lr_head.")
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self._average(step)
        return losses

    def _average(self, step: int) -> None:
        # The first steps move fast: an average over more of them than there are would hold the start for long.
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.student.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def save(self, path: Path, step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": step,
            "recipe": asdict(self.recipe),
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        part = path.with_name(f"{path.name}.{os.getpid()}")
        torch.save(state, part)
        part.replace(path)

    def restore(self, path: Path) -> int:
        try:
            state = torch.load(path, weights_only=True, map_location=next(self.student.parameters()).device)
            if state["recipe"] != asdict(self.recipe):
                raise GateError(f"{path} is of another recipe; name another folder or remove it.")
            self.student.load_state_dict(state["student"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            return int(state["step"])
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise GateError(f"{path} cannot be read as a checkpoint ({type(error).__name__}); remove it.") from error


def _factor(step: int, steps: int, recipe: Recipe) -> float:
    warm = min(1.0, (step + 1) / max(1, min(100, steps // 10)))
    if not recipe.cosine_decay:
        return warm
    half: Tensor = torch.cos(torch.tensor(torch.pi * step / steps))
    return warm * 0.5 * (1 + float(half))
