"""`gate distill diffusion` from crops to a U-Net that DifFIQA can use."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from gate.errors import GateError
from gate.lab.distill.card import unet_card
from gate.lab.distill.diary import Diary
from gate.lab.distill.material import Material, read_material
from gate.lab.distill.plan import RunFolder, write_text
from gate.lab.distill.restorer import CHECKPOINT, UnetProgress, UnetRecipe, UnetRun, write_torch
from gate.lab.distill.run import Outcome, one_thread_for_pictures
from gate.lab.distill.telling import Telling

FILE = "diffiqa-unet.pt"

_SAVE_EVERY = 500


@dataclass(frozen=True, slots=True)
class UnetPlan:
    """What the user asked for."""

    sources: tuple[str, ...]
    output: Path
    recipe: UnetRecipe
    steps: int
    limit: int | None = None
    threads: int = 1
    device: str = "cpu"

    @property
    def asked(self) -> dict[str, object]:
        """What decides the result but the number of steps: a run may be made longer."""
        return {"sources": list(self.sources), "unet": asdict(self.recipe), "limit": self.limit}


def train_unet(plan: UnetPlan, telling: Telling, stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Train, or go on training, until the plan's number of steps is done.

    Args:
        plan: what the user asked for. A finished run goes on where it asks for more steps than before.
        telling: told how far it is.
        stop: asked after every step; True writes a checkpoint and ends the call.

    Raises:
        GateError: something that the plan names cannot be used, or the folder is another run's.
    """
    if plan.steps < 1:
        raise GateError(f"--steps {plan.steps}: expected 1 or more")
    folder = RunFolder(plan.output, FILE)
    folder.compare(plan.asked)
    one_thread_for_pictures()
    torch.set_num_threads(plan.threads)
    path = plan.output / CHECKPOINT
    run = UnetRun(plan.recipe, plan.device)
    if path.exists():
        run.restore(path)
    if folder.is_finished and run.step >= plan.steps:
        return Outcome(folder.result, "was done")
    telling.say(f"reading {', '.join(plan.sources)}")
    material = read_material(plan.sources, limit=plan.limit)
    folder.claim({**plan.asked, "crops": material.checksum})
    diary = _trained(plan, run, material, path, telling=telling, stop=stop)
    if run.step < plan.steps:
        return Outcome(folder.result, "stopped")
    write_torch(run.published(), folder.result)
    loss = diary.recent("loss")
    card = unet_card(plan.sources, plan.recipe, material, steps=run.step, loss=loss, weights=folder.result)
    write_text(folder.card, card)
    return Outcome(folder.result, "done")


def _trained(
    plan: UnetPlan, run: UnetRun, material: Material, path: Path, *, telling: Telling, stop: Callable[[], bool]
) -> Diary:
    batch, diary = plan.recipe.batch, Diary(plan.output, ("loss",), run.step)
    telling.begin(f"training a U-Net of dim {plan.recipe.dim}, {plan.steps:,} steps of {batch} crops", run.step * batch)

    def report(progress: UnetProgress) -> None:
        diary.note(progress.step, {"loss": progress.loss})
        telling.update(progress.step * batch, plan.steps * batch)
        last = progress.step == plan.steps
        if last or progress.step % _SAVE_EVERY == 0 or stop():
            run.save(path)
            diary.write(picture=last)
            telling.say(f"step {progress.step:,}: loss {diary.recent('loss'):.5f}")

    run.train(material.crops, plan.steps, report=report, stop=stop, workers=plan.threads)
    telling.close()
    return diary
