"""What holds for every method that needs no weights of its own: crops do not see each other."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.quality.backbone import Backbone
from gate.quality.baselines import EmbeddingNorm, MirrorCosine
from gate.quality.grafiqs import Grafiqs
from gate.quality.method import CalibratedMethod
from gate.quality.serfiq import Serfiq
from gate.quality.sharpness import Sharpness
from gate.types import Image

METHODS: dict[str, Callable[[Backbone], CalibratedMethod]] = {
    "grafiqs": Grafiqs,
    "grafiqs-image": lambda backbone: Grafiqs(backbone, phi="image"),
    "serfiq": Serfiq,
    "serfiq-port": lambda backbone: Serfiq(backbone, variant="port"),
    "embedding-norm": EmbeddingNorm,
    "mirror-cosine": MirrorCosine,
    "sharpness": lambda _: Sharpness(),
}

several = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, tiny_backbone: Backbone) -> CalibratedMethod:
    return METHODS[request.param](tiny_backbone)


@given(order=st.permutations(range(6)), seeds=st.lists(st.integers(0, 3), min_size=6, max_size=6))
@several
def test_order_does_not_matter(
    order: list[int], seeds: list[int], method: CalibratedMethod, noise_crops: Image
) -> None:
    straight = method.raw(noise_crops, seeds=seeds)
    shuffled = method.raw(noise_crops[order], seeds=[seeds[i] for i in order])
    np.testing.assert_allclose(shuffled, straight[order], rtol=1e-4)


@given(
    cuts=st.sets(st.integers(0, 6)),
    max_batch=st.integers(1, 8),
    seeds=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
@several
def test_splits_and_batch_sizes_do_not_matter(
    cuts: set[int], max_batch: int, seeds: list[int], method: CalibratedMethod, noise_crops: Image
) -> None:
    whole = method.raw(noise_crops, seeds=seeds)
    method.max_batch = max_batch
    edges = sorted({0, 6, *cuts})
    parts = [method.raw(noise_crops[a:b], seeds=seeds[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4)


def test_a_crop_and_its_mirror_score_together_as_alone(method: CalibratedMethod, noise_crops: Image) -> None:
    mirrored = np.ascontiguousarray(noise_crops[:, :, ::-1])
    pairs = np.stack([noise_crops, mirrored], axis=1).reshape(-1, 112, 112, 3)
    alone = np.stack([method.raw(noise_crops), method.raw(mirrored)], axis=1).reshape(-1)
    np.testing.assert_allclose(method.raw(pairs), alone, rtol=1e-4)


def test_blind_crops_have_finite_scores(method: CalibratedMethod) -> None:
    black, grey, white = (np.full((112, 112, 3), value, dtype=np.uint8) for value in (0, 128, 255))
    half = black.copy()
    half[:, 56:] = 255
    edges = np.zeros((112, 112, 3), dtype=np.uint8)
    edges[::2, ::2] = 255
    crops = np.stack([black, grey, white, half, edges])
    for numbers in (method.raw(crops), method.score(crops)):
        assert np.isfinite(numbers).all()


def test_same_seed_same_score_and_the_global_generator_is_left_alone(
    method: CalibratedMethod, noise_crops: Image
) -> None:
    torch_state, numpy_state = torch.random.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    first = method.raw(noise_crops, seeds=4)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert repr(np.random.get_state()) == numpy_state  # noqa: NPY002
    np.testing.assert_array_equal(method.raw(noise_crops, seeds=4), first)


def test_crops_are_not_changed(method: CalibratedMethod, noise_crops: Image) -> None:
    crops = noise_crops.copy()
    tensor = torch.from_numpy(crops)
    method.raw(crops)
    method.raw(tensor)
    np.testing.assert_array_equal(crops, noise_crops)


@pytest.mark.parametrize("name", ["grafiqs", "serfiq"])
def test_real_faces_in_a_batch_score_as_alone(
    name: str, filled_iresnet18: Backbone, portable_crops: Image, noise_crops: Image
) -> None:
    method = METHODS[name](filled_iresnet18)
    crops = np.concatenate([portable_crops, noise_crops[:1]])
    alone = np.concatenate([method.raw(crops[i : i + 1]) for i in range(len(crops))])
    np.testing.assert_allclose(method.raw(crops), alone, rtol=1e-4)
