"""The model card: what the weights are made of, how, what they are worth, and what is not known of them."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

from gate import __version__
from gate.lab.distill.material import UNKNOWN, Material
from gate.lab.distill.plan import Plan
from gate.lab.distill.recipe import Recipe
from gate.lab.distill.restorer import EMA_DECAY, LEARNING_RATE, UnetRecipe
from gate.weights.sums import sha256_of
from gate.weights.table import load_table

_LIBRARIES = ("torch", "numpy", "opencv-python", "opencv-python-headless", "onnxruntime")

_PAUC = (
    "pAUC: area under the error-versus-discard curve up to 20 % discarded, FMR 1e-3, genuine pairs only, over that of "
    "random discards: lower is better, 1 is useless. With few people its uncertainty is large: measure on your own "
    "with `gate evaluate` before you decide."
)


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured at the end."""

    checks: Mapping[str, float]
    checked_on: str
    rounding: str


def model_card(
    plan: Plan, material: Material, *, start: str, teachers: Sequence[str], steps: int, results: Results, weights: Path
) -> str:
    """The card as Markdown.

    Args:
        plan: what was asked for.
        material: the crops.
        start: name@sha256 of the weights that training began with.
        teachers: name@sha256, or the labelling methods.
        steps: of the whole run.
        results: measured on the weights as written.
        weights: the file.
    """
    recipe = plan.recipe
    parts = [
        f"# {weights.stem}\n",
        _what(recipe, weights),
        "## Data\n",
        _data(plan, material),
        "## Labels\n",
        _labels(plan, teachers),
        "## Training\n",
        f"Started from `{start}`, {steps:,} steps, seed {plan.seed}. Made with {_versions()}.\n",
        _values(recipe),
        "## Results\n",
        _results(results),
        "## Terms\n",
        _terms(start, teachers),
        "## Known limits\n",
        _limits(recipe),
    ]
    return "\n".join(parts)


def _what(recipe: Recipe, weights: Path) -> str:
    return (
        f"Face image quality in one pass of {recipe.network} with the head of {recipe.head}; higher is better. "
        f"File `{weights.name}`, {weights.stat().st_size / 1e6:.2f} MB, sha256 `{sha256_of(weights)}`. "
        "Fed with aligned 112x112 crops, RGB, (x - 127.5) / 127.5.\n"
    )


def _data(plan: Plan, material: Material) -> str:
    known = material.identities[material.identities != UNKNOWN]
    sums = material.checksum.split("+")
    lines = ["| source | sha256 of paths and contents |", "|---|---|"]
    lines += [f"| {_leaf(source)} | `{sums[i] if i < len(sums) else ''}…` |" for i, source in enumerate(plan.sources)]
    lines += [f"| {path.name} (who is who) | `{sha256_of(path)[:16]}…` |" for path in plan.identities]
    sample = f", at most {plan.limit:,} of each source" if plan.limit else ""
    lines.append(
        f"\n{len(material):,} crops{sample}; {len(known):,} of them of {len(set(known.tolist())):,} known people. "
        f"{plan.held_back:.0%} of the people, and of the crops of unknown people, were held back.\n"
    )
    return "\n".join(lines)


def _leaf(source: str) -> str:
    """The last part of a path: the rest says where somebody's disk keeps it."""
    return Path(source).name or source


def _labels(plan: Plan, teachers: Sequence[str]) -> str:
    texts = {
        "recognizers": "How near an embedding comes to the mean of the person's other crops, by the recognizers below; "
        "for people with few crops foretold from the embedding's length, how far a degradation moves it, how "
        "near it comes to the person's other crops, if there are any, and the scores of quality methods, if any stand "
        "below.",
        "method": "Scores of the methods below, each scaled to 0..1, blended by weight.",
        "centre": "Scores of the methods below, each scaled to 0..1 and blended by weight, less half the distance to "
        "the class centre (the rule of eDifFIQA); crops without a class centre are left out.",
    }
    weights = {label.name: label.weight for label in plan.labels}
    lines = [texts[plan.recipe.rule], ""]
    lines += [f"- {_shown(name)}" + (f", weight {weights[name]:g}" if name in weights else "") for name in teachers]
    return "\n".join([*lines, ""])


def _shown(name: str) -> str:
    return f"scores of `{_leaf(name)}`" if name.startswith("scores:") else f"`{name}`"


def _versions() -> str:
    # OpenCV comes under several names.
    here = {
        dist.metadata["Name"]: dist.version for dist in metadata.distributions() if dist.metadata["Name"] in _LIBRARIES
    }
    libraries = [f"{name} {here[name]}" for name in _LIBRARIES if name in here]
    return ", ".join([f"facegate {__version__}", f"Python {platform.python_version()}", *libraries])


def _values(recipe: Recipe) -> str:
    lines = ["| recipe | value |", "|---|---|"]
    lines += [f"| {field.name} | {getattr(recipe, field.name)} |" for field in fields(recipe)]
    return "\n".join([*lines, ""])


def _results(results: Results) -> str:
    lines = [f"On what was held back: {results.checked_on}.", "", "| check | value |", "|---|---:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in results.checks.items()]
    if not results.checks:
        lines = ["Nothing was held back that could be checked."]
    lines += ["", _PAUC, "", results.rounding, ""]
    return "\n".join(lines)


def _terms(start: str, teachers: Sequence[str]) -> str:
    table = load_table()
    lines = ["| what | weights licence |", "|---|---|"]
    for name in dict.fromkeys([start, *teachers]):
        entry = table.get(name.partition("@")[0])
        lines.append(f"| {_shown(name)} | {entry.license_weights if entry else 'not known here: fill in'} |")
    lines += [
        "| training crops | not known here: fill in |",
        "| these weights | fill in; no freer than what they were made of allows |",
        "",
    ]
    return "\n".join(lines)


def _limits(recipe: Recipe) -> str:
    limits = [
        "Learned from the teachers above: what they cannot see, these weights do not know.",
        "Only for aligned crops; a picture without a face may score anything."
        if not recipe.faceless
        else "Only for aligned crops. Noise, flat colours and stripes were taught as no face; other things were not.",
        "The answer is not clipped and not calibrated: `gate calibrate` makes 0..100 of it on crops of your own.",
        "Fairness between groups was not part of training: `gate evaluate --bias` measures it.",
    ]
    return "\n".join([*(f"- {limit}" for limit in limits), ""])


def unet_card(
    sources: Sequence[str], recipe: UnetRecipe, material: Material, *, steps: int, loss: float, weights: Path
) -> str:
    """The card of a diffusion U-Net as Markdown; `loss` is the mean of the last steps."""
    sums = dict(zip(sources, material.checksum.split("+"), strict=True))
    data = "\n".join(f"- {_leaf(source)}, sha256 `{digest}…`" for source, digest in sums.items())
    return (
        f"# {weights.stem}\n\n"
        f"U-Net of DifFIQA, dim {recipe.dim}; file `{weights.name}`, {weights.stat().st_size / 1e6:.1f} MB, "
        f"sha256 `{sha256_of(weights)}`. `gate score --method diffiqa --weights {weights.name}` uses it.\n\n"
        f"{steps:,} steps of {recipe.batch} of {len(material):,} crops, Adam {LEARNING_RATE:g}, average of "
        f"{EMA_DECAY:g} beside the raw weights, seed {recipe.seed}; last loss {loss:.5f}. Made with {_versions()}.\n\n"
        f"## Data\n\n{data}\n\n"
        "## Terms\n\nThose of the crops: fill in.\n\n"
        "## Known limits\n\nThe published network has dim 128 and saw 100,000 batches of 64: scores of a smaller or "
        "shorter training are an approximation, which `gate evaluate` has to judge.\n"
    )


def rounding_text(largest: float, rho: float) -> str:
    """What half precision changed, in words."""
    order = "" if math.isnan(rho) else f", Spearman of both {rho:.5f}"
    return f"Half precision changes a score by at most {largest:.1e}{order}."
