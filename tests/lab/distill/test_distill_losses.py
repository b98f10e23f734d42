from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gate.lab.distill.lessons import Batch
from gate.lab.distill.losses import Losses, batch_losses
from gate.lab.distill.recipe import recipe
from gate.types import FloatArray

OURS = recipe("recognizers")


def batch(labels: list[float], *, clean: list[int] | None = None, embeddings: FloatArray | None = None) -> Batch:
    crops = np.zeros((len(labels), 112, 112, 3), dtype=np.uint8)
    places = np.array(clean or [-1] * len(labels), dtype=np.int32)
    return Batch(crops, np.array(labels, dtype=np.float32), embeddings, places)


def losses(scores: list[float] | Tensor, of: Batch, embeddings: Tensor | None = None) -> Losses:
    values = scores if isinstance(scores, Tensor) else torch.tensor(scores)
    unit = torch.eye(len(values), 8) if embeddings is None else embeddings
    return batch_losses(values, unit, of, OURS)


def test_scores_near_their_labels_lose_less() -> None:
    told = batch([0.2, 0.8])
    assert losses([0.2, 0.8], told).closeness == pytest.approx(0, abs=1e-6)
    assert losses([0.3, 0.8], told).closeness == pytest.approx(0.05)
    assert losses([0.3, 0.8], told).total > losses([0.2, 0.8], told).total


def test_the_right_order_loses_less_than_the_wrong_one_at_the_same_distance() -> None:
    told = batch([0.45, 0.55])
    right, wrong = losses([0.35, 0.65], told), losses([0.55, 0.45], told)
    assert right.closeness == pytest.approx(wrong.closeness)
    assert right.ranking < wrong.ranking


def test_a_wider_gap_between_labels_weighs_more() -> None:
    scores = [0.1, 0.5, 0.4]
    far = losses(scores, batch([0.1, 0.3, 0.9]))
    near = losses(scores, batch([0.1, 0.45, 0.5]))
    assert far.ranking > near.ranking > 0


def test_pairs_whose_labels_hardly_differ_are_not_ordered() -> None:
    assert losses([0.9, 0.1], batch([0.50, 0.51])).ranking == 0


def test_a_spoilt_crop_above_its_clean_one_loses() -> None:
    told = batch([0.5, 0.5], clean=[-1, 0])
    assert losses([0.6, 0.4], told).ranking == 0
    below, above = losses([0.6, 0.595], told), losses([0.6, 0.8], told)
    assert 0 < below.ranking < above.ranking


def test_embeddings_like_the_teachers_lose_nothing_and_pictures_without_a_teacher_do_not_count() -> None:
    teacher = np.zeros((3, 8), dtype=np.float32)
    teacher[0, 0] = teacher[1, 1] = 20
    told = batch([0.5, 0.5, -0.1], embeddings=teacher)
    assert losses([0.5, 0.5, -0.1], told).consistency == pytest.approx(0, abs=1e-6)
    turned = torch.eye(3, 8)
    turned[1] = -turned[1]
    assert losses([0.5, 0.5, -0.1], told, turned).consistency == pytest.approx(1.0)


def test_the_whole_is_the_weighted_sum_of_its_parts() -> None:
    teacher = np.ones((4, 8), dtype=np.float32)
    found = losses([0.1, 0.7, 0.2, 0.4], batch([0.3, 0.5, 0.9, 0.0], clean=[-1, 0, -1, 2], embeddings=teacher))
    expected = OURS.closeness * found.closeness + OURS.ranking * found.ranking + OURS.consistency * found.consistency
    assert float(found.total) == pytest.approx(expected, rel=1e-5)


def test_parts_without_a_weight_are_left_out() -> None:
    told = batch([0.3, 0.5], clean=[-1, 0], embeddings=np.ones((2, 8), dtype=np.float32))
    plain = replace(OURS, ranking=0.0, consistency=0.0, closeness=1.0)
    found = batch_losses(torch.tensor([0.9, 0.9]), torch.eye(2, 8), told, plain)
    assert (found.ranking, found.consistency) == (0, 0)
    assert float(found.total) == pytest.approx(found.closeness)


def test_the_gradient_pulls_scores_into_their_order() -> None:
    scores = torch.tensor([0.6, 0.5], requires_grad=True)
    torch.autograd.backward(losses(scores, batch([0.2, 0.9])).total)
    assert scores.grad is not None
    assert scores.grad[0] > 0 > scores.grad[1]
