"""From the user's plan to the lesson: samples, what the teachers make of them, and the labels that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gate.errors import GateError
from gate.lab.distill.labels import MIN_IMAGES, blended_labels, centred_labels, recognizers_labels, view
from gate.lab.distill.lessons import Lesson
from gate.lab.distill.material import UNKNOWN, Material, held_back
from gate.lab.distill.plan import Plan
from gate.lab.distill.scoring import label_scores
from gate.lab.distill.teach import SHARD, Samples, Teacher, plan_samples, taught
from gate.lab.distill.teachers import BackboneTeacher, EmbedderTeacher, Witness
from gate.lab.distill.telling import Telling
from gate.lab.recognizers import load_recognizer
from gate.lab.results import BoolArray, IndexArray
from gate.types import FloatArray

if TYPE_CHECKING:
    from gate.lab.distill.start import Start

VERSIONS_OF_KNOWN = 5
"""Spoilt versions of a crop whose person has a centre: its labels are measured, not told from the others'."""

VERSIONS_OF_OTHERS = 1

_START = "start"


@dataclass(frozen=True, eq=False)
class Study:
    """What is to be learnt, and by what it is checked."""

    lesson: Lesson
    recognizers: Mapping[str, FloatArray]
    """Name → (S, D) embeddings by which errors are counted on the held-back people."""

    teachers: tuple[str, ...]
    """name@sha256 of every network that was asked."""


def prepare(plan: Plan, material: Material, start: "Start", telling: Telling) -> Study:
    """Ask the teachers or methods and make labels of what they say; a run that was stopped goes on where it was.

    Raises:
        GateError: labels cannot be made as the recipe wants them.
    """
    rule = plan.recipe.rule
    if rule == "recognizers":
        return _taught_study(plan, material, start, telling)
    if rule not in {"method", "centre"}:
        raise GateError(f"unknown rule {rule!r}; there are method, centre and recognizers")
    return _scored_study(plan, material, start, telling)


def _taught_study(plan: Plan, material: Material, start: "Start", telling: Telling) -> Study:
    samples = plan_samples(
        material, np.where(_has(MIN_IMAGES, material), VERSIONS_OF_KNOWN, VERSIONS_OF_OTHERS).tolist()
    )
    teachers = [load_teacher(spec, plan.device) for spec in plan.teachers]
    if not teachers:
        raise GateError("no recognizers to learn from; name some with --teacher.")
    names = [teacher.name for teacher in teachers]
    if len(set(names)) < len(names):
        raise GateError(f"two teachers have one name: {', '.join(names)}.")
    known = {teacher.model: teacher.name for teacher in teachers}
    own = known.get(start.backbone.model, _START)
    witnesses = [Witness(spec, plan.device, plan.seed) for spec in plan.witnesses]
    asked = [*teachers, *witnesses, *([] if own in names else [_own(start)])]
    said = _asked(asked, plan, material, samples, telling)
    views = {name: view(said[name], material, samples) for name in names}
    scores = [said[witness.name][:, 0].astype(np.float32) for witness in witnesses]
    labels = recognizers_labels(views, scores, seed=plan.seed)
    lesson = _lesson(
        plan, material, samples, labels=labels, embeddings=said[own], known=_has(MIN_IMAGES, material)[samples.index]
    )
    models = tuple(teacher.model for teacher in (*teachers, *witnesses))
    return Study(lesson, {name: said[name] for name in names}, models)


def _scored_study(plan: Plan, material: Material, start: "Start", telling: Telling) -> Study:
    parts: dict[str, tuple[float, FloatArray]] = {}
    for request in plan.labels:
        telling.begin(f"scoring {len(material):,} crops by {request.name}")
        scores = label_scores(
            request,
            material,
            plan.output / "scores",
            seed=plan.seed,
            device=plan.device,
            progress=telling.update,
        )
        parts[request.name] = (request.weight, scores)
    telling.close()
    samples = plan_samples(material, [0] * len(material))
    embeddings = _asked([_own(start)], plan, material, samples, telling)[_START]
    labels = blended_labels(parts)
    known = material.identities != UNKNOWN
    if plan.recipe.rule == "centre":
        labels = centred_labels(labels, embeddings.astype(np.float32), material.identities)
        known = ~np.isnan(labels)
        if not known.any():
            raise GateError(
                f"recipe {plan.recipe.name} needs class centres: people, by --identities, with {MIN_IMAGES} crops or "
                "more among the best fifth of all. Nobody has so many."
            )
    lesson = _lesson(plan, material, samples, labels=labels, embeddings=embeddings, known=np.asarray(known))
    models = tuple(request.name for request in plan.labels)
    return Study(lesson, {start.backbone.name: embeddings}, models)


def load_teacher(spec: str, device: str) -> Teacher:
    """A recognizer as a teacher; raises as `gate.lab.recognizers.load_recognizer`."""
    embedder = load_recognizer(spec, device)
    if embedder.kind == "onnx":
        return EmbedderTeacher(embedder)
    from gate.quality.loading import load_backbone

    # Its embedder forces unit length, and the length says something.
    return BackboneTeacher(load_backbone(spec, device))


def _own(start: "Start") -> Teacher:
    teacher = BackboneTeacher(start.backbone)
    teacher.name = _START
    return teacher


def _asked(
    teachers: Sequence[Teacher], plan: Plan, material: Material, samples: Samples, telling: Telling
) -> dict[str, FloatArray]:
    folder = plan.output / "taught"
    before = min(len(samples), SHARD * len(list(folder.glob("[0-9]*[0-9].npz"))))
    networks = "network" if len(teachers) == 1 else "networks"
    telling.begin(f"embedding {len(samples):,} samples by {len(teachers)} {networks}", before)
    said = taught(
        teachers,
        material,
        samples,
        seed=plan.seed,
        folder=folder,
        progress=lambda done: telling.update(done, len(samples)),
        workers=plan.threads,
    )
    telling.close()
    return said


def _has(images: int, material: Material) -> BoolArray:
    """(N,) whether the crop is of a person with at least so many crops."""
    known = material.identities != UNKNOWN
    count = np.bincount(material.identities[known], minlength=1)
    return np.asarray(known & (count[np.maximum(material.identities, 0)] >= images))


def _lesson(
    plan: Plan, material: Material, samples: Samples, *, labels: FloatArray, embeddings: FloatArray, known: BoolArray
) -> Lesson:
    learnt = ~held_back(material, plan.held_back, plan.seed)[samples.index]
    usable = learnt & ~np.isnan(labels) & (samples.version == 0)
    if not usable.any():
        raise GateError(f"no crop is left to learn from: --held-back {plan.held_back} keeps all of them.")
    kept = embeddings if plan.recipe.consistency else None
    return Lesson(material, samples, labels, kept, learnt, known, plan.seed)


def taught_crops(lesson: Lesson, most: int) -> IndexArray:
    """Places of at most `most` clean crops that training sees, evenly spread."""
    rows = np.flatnonzero((lesson.samples.version == 0) & lesson.taught)
    some = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))
    return np.asarray(lesson.samples.index[rows[some]], dtype=np.int32)
