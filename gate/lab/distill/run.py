"""`gate distill` from crops to weights: read, teach or score, train, write; each goes on where it was stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gate.errors import GateError
from gate.lab.distill.card import Results, model_card, rounding_text
from gate.lab.distill.checks import held_back_exam
from gate.lab.distill.diary import Diary
from gate.lab.distill.lessons import Timetable
from gate.lab.distill.material import read_material
from gate.lab.distill.plan import Plan, RunFolder, write_text
from gate.lab.distill.start import CONTRACT, Start, load_start, start_head
from gate.lab.distill.student import Student, published, restated
from gate.lab.distill.study import Study, prepare, taught_crops
from gate.lab.distill.telling import Telling
from gate.lab.distill.train import CHECKPOINT, Progress, checkpoint_step, train
from gate.lab.distill.weights import FILE, normalised_batches, score_crops, write_weights

LOSSES = ("total", "closeness", "ranking", "consistency")

_CHECKED_ON_THE_WAY = 1024
_RESTATED_ON = 2048
_CHECKPOINTS = 20
"""In a whole run: an interruption costs a twentieth of it, checking on the way a few hundredths."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended."""

    weights: Path
    state: str
    """`done`, `was done` or `stopped`."""


def distill(plan: Plan, telling: Telling, stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Do what the plan says, or what is left of it.

    Args:
        plan: what the user asked for.
        telling: told how far it is.
        stop: asked after every step of training; True writes a checkpoint and ends the call.

    Raises:
        GateError: something that the plan names cannot be used, or the folder is another run's.
    """
    check_plan(plan)
    folder = RunFolder(plan.output, FILE)
    folder.compare(plan.asked)
    if folder.is_finished:
        return Outcome(folder.result, "was done")
    telling.say(f"reading {', '.join(plan.sources)}")
    material = read_material(plan.sources, plan.identities, limit=plan.limit)
    start = load_start(plan.start, plan.recipe, plan.device)
    # Not before: a command with a mistake in it must not keep the corrected one from this folder.
    folder.claim({**plan.asked, "crops": material.checksum, "start_weights": start.backbone.model})
    one_thread_for_pictures()
    # Teachers run on one thread each, several at a time, and some take their number of threads when they are loaded.
    torch.set_num_threads(1)
    study = prepare(plan, material, start, telling)
    torch.set_num_threads(plan.threads)
    student = _trained(plan, study, start, telling, stop)
    if student is None:
        return Outcome(folder.result, "stopped")
    telling.say("writing")
    _write(plan, folder, study, start, student)
    return Outcome(folder.result, "done")


def _trained(plan: Plan, study: Study, start: Start, telling: Telling, stop: Callable[[], bool]) -> Student | None:
    """The trained student; None where training was stopped before its end."""
    lesson, recipe = study.lesson, plan.recipe
    if not start.has_head:
        learnt = lesson.labels[lesson.taught & ~np.isnan(lesson.labels)]
        start_head(start.net, float(np.median(learnt)), plan.seed)
    first = checkpoint_step(plan.output / CHECKPOINT)
    steps, diary = Timetable(lesson, recipe).steps, Diary(plan.output, LOSSES, first)
    exam = held_back_exam(lesson, study.recognizers, _CHECKED_ON_THE_WAY)
    telling.begin(f"training {recipe.name}, {steps:,} steps of {recipe.batch} crops", first * recipe.batch)
    reached = first

    def report(progress: Progress) -> None:
        nonlocal reached
        reached, losses = progress.step, progress.losses
        values = (float(losses.total.detach()), losses.closeness, losses.ranking, losses.consistency)
        diary.note(progress.step, dict(zip(LOSSES, values, strict=True)))
        telling.update(progress.step * recipe.batch, progress.steps * recipe.batch)

    def examine(step: int, average: Student) -> None:
        # Who has asked to stop does not want to wait for a check.
        found = {} if stop() else exam.results(lambda crops: score_crops(average, crops, plan.device))
        diary.note(step, found)
        diary.write(picture=step == steps)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        telling.say(f"step {step:,}: loss {diary.recent('total'):.4f}{', ' if shown else ''}{shown}")

    student = train(
        Student(start.net, recipe.dropout_p),
        lesson,
        recipe,
        CONTRACT,
        plan.output,
        device=plan.device,
        save_every=max(50, -(-steps // _CHECKPOINTS)),
        report=report,
        examine=examine,
        stop=stop,
    )
    telling.close()
    return student if reached == steps else None


def _write(plan: Plan, folder: RunFolder, study: Study, start: Start, student: Student) -> None:
    lesson, material = study.lesson, study.lesson.material
    net = published(student, start.net).to(plan.device)
    net = restated(net, normalised_batches(material, taught_crops(lesson, _RESTATED_ON), plan.device))
    exam = held_back_exam(lesson, study.recognizers)
    sample = exam.crops if len(exam.crops) else material.crops[taught_crops(lesson, 256)]
    written, rounding = write_weights(net, plan.recipe, plan.output, sample, plan.device)
    checks = exam.results(lambda crops: score_crops(written, crops, plan.device))
    results = Results(checks, exam.described(), rounding_text(rounding.largest_difference, rounding.spearman))
    card = model_card(
        plan,
        material,
        start=start.backbone.model,
        teachers=study.teachers,
        steps=Timetable(lesson, plan.recipe).steps,
        results=results,
        weights=folder.result,
    )
    write_text(folder.card, card)


def one_thread_for_pictures() -> None:
    """Tell OpenCV to start no threads of its own: pictures are made by several of ours at a time."""
    import cv2

    cv2.setNumThreads(1)


def check_plan(plan: Plan) -> None:
    """Refuse what makes no sense before anything is read.

    Raises:
        GateError: which one.
    """
    if not 0 <= plan.held_back < 1:
        raise GateError(f"--held-back {plan.held_back}: expected a share from 0 to below 1")
    if plan.recipe.rule == "recognizers" and plan.labels:
        raise GateError(f"recipe {plan.recipe.name} makes its labels of --teacher recognizers; leave out --label.")
    if plan.recipe.rule != "recognizers" and not plan.labels:
        raise GateError(
            f"recipe {plan.recipe.name} learns the scores of methods: name them with --label METHOD[=WEIGHT] or "
            "--label scores:FILE."
        )
    if plan.recipe.batch < 1 or plan.recipe.epochs <= 0:
        raise GateError(f"batch {plan.recipe.batch} and epochs {plan.recipe.epochs:g} must be above 0")
