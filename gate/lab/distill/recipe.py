"""How a network is trained: everything that decides the result beside the data."""

from dataclasses import dataclass, fields, replace
from typing import Any

from gate.errors import GateError
from gate.quality.names import nearest


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train."""

    name: str

    network: str = "mobilefacenet"
    """Architecture of the trunk."""

    head: str = "ediffiqa"
    """`ediffiqa`: two layers, with the embedding kept near the teacher's. `diffiqa-r`: one linear layer."""

    rule: str = "method"
    """Source of labels: `method` (scores of methods), `centre` (the same, then eDifFIQA's rule), `recognizers`."""

    epochs: float = 3.0
    """Times that every sample is seen."""

    batch: int = 128

    lr_head: float = 1e-3

    lr_base: float = 1e-4

    cosine_decay: bool = False
    """Learning rates fall to 0 along half a cosine; else they stay."""

    base_tensors: int | None = None
    """Train only this many of the trunk's last tensors."""

    clip_norm: float | None = None
    """Largest norm of the gradient."""

    dropout_p: float = 0.0
    """Dropout before the last layer where the embedding is compared with the teacher's."""

    consistency: float = 0.5
    """Weight of 1 - cos(embedding, teacher's embedding)."""

    closeness: float = 0.5
    """Weight of |score - label|."""

    ranking: float = 0.0
    """Weight of the ranking loss over all pairs of a batch and spoilt crops that do not score below their clean one."""

    spoilt: float = 0.0
    """Share of a batch that is spoilt on the way; needs the rule `recognizers`."""

    faceless: float = 0.0
    """Share of a batch without any face."""

    ema_decay: float = 0.0
    """Weights are averaged over about 1 / (1 - this) steps; 0 keeps the last."""

    known_share: float | None = None
    """Share of a batch that is of people whose centre is known; default is as they come."""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "diffiqa-r",
            network="iresnet100",
            head="diffiqa-r",
            epochs=1.0,
            base_tensors=100,
            clip_norm=5.0,
            consistency=0.0,
            closeness=1.0,
        ),
        Recipe("ediffiqa-l", network="iresnet100", rule="centre"),
        Recipe("ediffiqa-m", network="iresnet50", rule="centre"),
        Recipe("ediffiqa-s", network="iresnet18", rule="centre"),
        Recipe("ediffiqa-t", network="mobilefacenet", rule="centre"),
        Recipe(
            "recognizers",
            rule="recognizers",
            epochs=1.2,
            batch=64,
            lr_head=1e-3,
            lr_base=3e-4,
            cosine_decay=True,
            clip_norm=5.0,
            dropout_p=0.4,
            consistency=0.25,
            closeness=1.0,
            ranking=0.2,
            spoilt=0.5,
            faceless=0.03,
            ema_decay=0.998,
            known_share=0.5,
        ),
    )
}
"""DifFIQA(R) and eDifFIQA as published, and ours."""


def recipe(name: str) -> Recipe:
    """The recipe of that name; raises `GateError` that names the nearest one."""
    if name not in RECIPES:
        raise GateError(f"unknown recipe {name!r}{nearest(name, RECIPES)}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def adjusted(base: Recipe, changes: dict[str, str]) -> Recipe:
    """A recipe with some values changed, given as text (`epochs=1.5`).

    Raises:
        GateError: no such value, or its text is no number.
    """
    numbers = {field.name for field in fields(Recipe)} - {"name", "network", "head", "rule"}
    for name, text in changes.items():
        if name not in numbers:
            raise GateError(f"a recipe has no number {name!r}{nearest(name, numbers)}")
        try:
            value: Any = int(text) if name in {"batch", "base_tensors"} else float(text)
        except ValueError:
            raise GateError(f"{name} must be a number, got {text!r}") from None
        base = replace(base, **{name: value})
    return base
