"""Labels: the quality a sample is trained towards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gate.errors import GateError
from gate.lab.distill.material import UNKNOWN, Material
from gate.lab.distill.teach import Samples
from gate.lab.results import IndexArray
from gate.types import FloatArray

MIN_IMAGES = 10
"""Images of a person from which the mean of the others is a centre: eDifFIQA's own limit."""

_STRANGER = 0.2
"""Cosine to the centre below which a picture does not count for it: web collections hold wrong people."""

_IMPLAUSIBLE = 0.3
"""How far an image may stay below what its embedding promises before it is taken for another person's."""


_FIT_STEPS = 2000


@dataclass(frozen=True, eq=False)
class View:
    """What one teacher says about S samples."""

    length: FloatArray
    """(S,) length of the embedding, logarithm."""

    clean_length: FloatArray
    """(S,) the same of the sample's crop before it was spoilt."""

    movement: FloatArray
    """(S,) cosine to the embedding of the crop before it was spoilt; 1 for the crop itself."""

    centre: FloatArray
    """(S,) cosine to the mean embedding of the person's other crops, NaN where those are fewer than 9."""

    unit: FloatArray
    """(S, D) embeddings of unit length."""

    people: IndexArray
    """(S,) person's number, `UNKNOWN` where not known."""

    clean: IndexArray
    """(S,) row of the sample's crop before it was spoilt, a row's own number for the crop itself."""


def view(embeddings: FloatArray, material: Material, samples: Samples) -> View:
    """Measure one teacher's embeddings, (S, D)."""
    values = embeddings.astype(np.float32)
    length = np.maximum(np.linalg.norm(values, axis=1), 1e-6)
    unit = values / length[:, None]
    clean = np.searchsorted(samples.index, samples.index).astype(np.int32)
    return View(
        length=np.log(length),
        clean_length=np.log(length[clean]),
        movement=np.einsum("sd,sd->s", unit, unit[clean]),
        centre=_centre(unit, material, samples, clean),
        unit=unit,
        people=material.identities[samples.index],
        clean=clean,
    )


def _centre(unit: FloatArray, material: Material, samples: Samples, clean: IndexArray) -> FloatArray:
    people = material.identities[samples.index]
    is_clean = samples.version == 0
    count = np.bincount(people[(people != UNKNOWN) & is_clean], minlength=1)
    usable = (people != UNKNOWN) & (count[np.maximum(people, 0)] >= MIN_IMAGES)
    result = np.full(len(unit), np.nan, dtype=np.float32)
    if not usable.any():
        return result
    counted = usable & is_clean
    for _ in range(2):
        total = np.zeros((len(count), unit.shape[1]), dtype=np.float32)
        np.add.at(total, people[counted], unit[counted])
        # A sample's own crop says nothing about the others: leave it out of its centre, if it counted.
        own = np.where(counted[clean], 1.0, 0.0)[:, None] * unit[clean]
        others = total[people] - own
        others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-6)
        result[usable] = np.einsum("sd,sd->s", unit, others)[usable]
        counted = usable & is_clean & (result > _STRANGER)
    return result


def recognizers_labels(views: Mapping[str, View], witnesses: Sequence[FloatArray] = (), *, seed: int) -> FloatArray:
    """One label a sample, about 0 to 0.9: how near its embedding comes to where the person is.

    Where a person's centre is known it is the cosine to it. Elsewhere a small network, fitted on the known ones, tells
    it from how long the embedding is, how far the degradation moved it, and how near it comes to the person's other
    crops, if there are any. On web photos of people it had not seen, its answer has a rank correlation with the truth
    of 0.71 without another crop, 0.84 with one, 0.87 with two and 0.92 with four.

    Args:
        views: teacher's name → what it says.
        witnesses: (S,) scores of quality methods, further features of that network.
        seed: of the fit.

    Raises:
        GateError: too few crops of known people to fit it.
    """
    truth = np.stack([view.centre for view in views.values()], axis=1)
    known = np.asarray(~np.isnan(truth).any(axis=1))
    if np.count_nonzero(known) < 500:
        raise GateError(
            f"{np.count_nonzero(known)} samples are of people with {MIN_IMAGES} images or more; labels from "
            "recognizers need 500. Give --identities, or labels of a method with --label."
        )
    clean = next(iter(views.values())).clean
    features = [feature for view in views.values() for feature in (view.length, view.clean_length, view.movement)]
    alone = np.stack([*features, *(part for scores in witnesses for part in (scores, scores[clean]))], axis=1)
    rng = np.random.default_rng([seed, 3])
    rows = np.flatnonzero(known).astype(np.int32)
    # Every known sample stands in for several unknown ones: with none, one and up to seven other crops.
    drawn = [with_mates(views, rows, most=most, rng=rng) for most in (0, 1, 2, 3, 5, 7)]
    examples = np.concatenate([np.concatenate([alone[rows], mates], axis=1) for mates in drawn])
    everybody = np.concatenate(
        [alone, with_mates(views, np.arange(len(alone), dtype=np.int32), most=None, rng=rng)], axis=1
    )
    promised = _promised(examples, np.tile(truth[rows], (len(drawn), 1)), everybody, seed)
    # What others' pictures say is of no use to tell whether this one is of the same person.
    lone = _promised(alone[rows], truth[rows], alone, seed)
    trusted = known & (truth.mean(axis=1) > lone.mean(axis=1) - _IMPLAUSIBLE)
    label = np.where(trusted[:, None], truth, np.where(known[:, None], lone, promised))
    # Every teacher has its say by the order it makes, not by how widely its cosines happen to spread.
    spread = truth[known].std(axis=0)
    weight = (1 / spread) / (1 / spread).sum()
    return np.asarray(label @ weight, dtype=np.float32)


def with_mates(
    views: Mapping[str, View], rows: IndexArray, *, most: int | None, rng: np.random.Generator
) -> FloatArray:
    """What the person's other crops say of some samples.

    Args:
        views: teacher's name → what it says.
        rows: the samples.
        most: take at most this many of the others, drawn; None takes all.
        rng: draws them.

    Returns:
        (rows, 2 * teachers + 2): per teacher the cosine to the mean of the others and their mean logarithmic length,
        then 1 / (1 + number of others) and whether there is any; zeros where there is none.
    """
    first = next(iter(views.values()))
    is_clean = first.clean == np.arange(len(first.clean))
    others: dict[int, IndexArray] = {}
    order = np.flatnonzero(is_clean & (first.people != UNKNOWN)).astype(np.int32)
    order = order[np.argsort(first.people[order], kind="stable")]
    bounds = np.flatnonzero(np.diff(first.people[order])) + 1
    for group in np.split(order, bounds):
        if len(group):
            others[int(first.people[group[0]])] = group
    result = np.zeros((len(rows), 2 * len(views) + 2), dtype=np.float32)
    for place, row in enumerate(rows):
        mates = others.get(int(first.people[row]), np.empty(0, dtype=np.int32))
        mates = mates[mates != first.clean[row]]
        if most is not None and len(mates) > most:
            mates = rng.choice(mates, most, replace=False)
        if not len(mates):
            continue
        for column, view in enumerate(views.values()):
            centre = view.unit[mates].mean(axis=0)
            cosine = float(view.unit[row] @ centre) / max(float(np.linalg.norm(centre)), 1e-6)
            result[place, 2 * column : 2 * column + 2] = cosine, view.length[mates].mean()
        result[place, -2:] = 1 / (1 + len(mates)), 1
    return result


def _promised(examples: FloatArray, truth: FloatArray, asked: FloatArray, seed: int) -> FloatArray:
    """A two-layer network from (E, F) features to (E, teachers) centres, and its answer for (S, F) others."""
    import torch
    from torch import nn

    mean, scale = examples.mean(axis=0), np.maximum(examples.std(axis=0), 1e-6)

    def scaled(features: FloatArray) -> torch.Tensor:
        # What lies far outside the known is not to be extrapolated.
        return torch.from_numpy(np.clip((features - mean) / scale, -4, 4).astype(np.float32))

    inputs, targets = scaled(examples), torch.from_numpy(truth.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs.shape[1], 64), nn.GELU(), nn.Linear(64, targets.shape[1]))
    with torch.no_grad():
        for parameter in net.parameters():
            bound = 1 / 8 if parameter.ndim == 1 else parameter.shape[1] ** -0.5
            parameter.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _FIT_STEPS)
    for _ in range(_FIT_STEPS):
        batch = torch.randint(len(inputs), (256,), generator=generator)
        loss = (net(inputs[batch]) - targets[batch]).abs().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        answer: FloatArray = net(scaled(asked)).numpy()
    return answer


def scaled_labels(scores: FloatArray) -> FloatArray:
    """Scores of a method min-max scaled to [0, 1], as DifFIQA(R) and eDifFIQA do.

    Raises:
        GateError: they are all the same, or not all finite.
    """
    if not np.isfinite(scores).all() or scores.size == 0 or scores.max() == scores.min():
        raise GateError("labels must be finite and not all the same")
    return np.asarray((scores - scores.min()) / (scores.max() - scores.min()), dtype=np.float32)


def blended_labels(parts: Mapping[str, tuple[float, FloatArray]]) -> FloatArray:
    """Weighted mean of several methods' scaled scores, name → (weight, (N,) scores); weights need not add up to 1."""
    total = sum(weight for weight, _ in parts.values())
    if total <= 0 or any(weight < 0 for weight, _ in parts.values()):
        raise GateError("weights of labels must not be negative, and at least one must be above 0")
    return scaled_labels(np.sum([weight / total * scaled_labels(scores) for weight, scores in parts.values()], axis=0))


def centred_labels(quality: FloatArray, embeddings: FloatArray, identities: IndexArray) -> FloatArray:
    """The rule of eDifFIQA: clamp(q - 0.5 (1 - cos(e, class centre)), 0, 1), Babnik et al. 2024.

    Args:
        quality: (N,) in [0, 1].
        embeddings: (N, D) of the network whose class centres count.
        identities: (N,) person's number, `UNKNOWN` where not known.

    Returns:
        (N,); NaN for crops that the rule drops: those of unknown people and of people who have fewer than 10 images
        in the global top 20 % of quality.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    top = quality >= np.quantile(quality, 0.8)
    result = np.full(len(quality), np.nan, dtype=np.float32)
    for person in np.unique(identities[identities != UNKNOWN]):
        own = identities == person
        best = own & top
        if np.count_nonzero(best) < MIN_IMAGES:
            continue
        centre = unit[best].mean(axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-12)
        result[own] = np.clip(quality[own] - 0.5 * (1 - unit[own] @ centre), 0, 1)
    return result
