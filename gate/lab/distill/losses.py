"""What a training step minimises."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gate.lab.distill.lessons import Batch
from gate.lab.distill.recipe import Recipe

_TEMPERATURE = 0.05
"""Difference of two scores from which their order counts as settled: labels are 0 to 0.9."""

_WORTH_ORDERING = 0.04
"""Difference of two labels below which their order is noise."""

_STEP_DOWN = 0.01
"""How far a spoilt crop's score shall at least stay below its clean one's."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts, before their weights, and their weighted sum."""

    total: Tensor
    closeness: float
    ranking: float
    consistency: float


def batch_losses(scores: Tensor, embeddings: Tensor, batch: Batch, recipe: Recipe) -> Losses:
    """The losses of (B,) scores and (B, D) unit embeddings."""
    labels = torch.from_numpy(batch.labels).to(scores.device)
    closeness = (scores - labels).abs().mean()
    total = recipe.closeness * closeness
    ranking = consistency = torch.zeros((), device=scores.device)
    if recipe.ranking:
        ranking = _pairs(scores, labels) + _spoilt(scores, torch.from_numpy(batch.clean).to(scores.device))
        total = total + recipe.ranking * ranking
    if recipe.consistency and batch.embeddings is not None:
        teacher = torch.from_numpy(batch.embeddings).to(scores.device)
        consistency = _consistency(embeddings, teacher)
        total = total + recipe.consistency * consistency
    return Losses(total, *(float(part.detach()) for part in (closeness, ranking, consistency)))


def _pairs(scores: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss over all pairs whose labels differ enough (RankNet, Burges et al. 2005), weighted by how much."""
    gap = labels[:, None] - labels[None, :]
    weight = torch.where(gap > _WORTH_ORDERING, gap, torch.zeros_like(gap))
    loss = nn.functional.softplus(-(scores[:, None] - scores[None, :]) / _TEMPERATURE)
    return (weight * loss).sum() / weight.sum().clamp_min(1e-6)


def _spoilt(scores: Tensor, clean: Tensor) -> Tensor:
    """Hinge loss, in temperatures, of spoilt crops that do not score below the crop they were made from."""
    places = torch.nonzero(clean >= 0).flatten()
    if not len(places):
        return scores.new_zeros(())
    excess = scores[places] - scores[clean[places].long()] + _STEP_DOWN
    return nn.functional.relu(excess).mean() / _TEMPERATURE


def _consistency(embeddings: Tensor, teacher: Tensor) -> Tensor:
    """Mean 1 - cosine over the rows that have a teacher."""
    there = teacher.square().sum(dim=1) > 0
    cosine = nn.functional.cosine_similarity(embeddings[there], teacher[there])
    return (1 - cosine).mean()
