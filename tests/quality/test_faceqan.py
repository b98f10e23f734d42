from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from gate.errors import QualityError
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.quality.faceqan import FaceQAN, seeded_noise
from gate.types import Image

FEW: dict[str, Any] = {"iterations": 3, "examples": 4}
SEEDS = [11, 12, 13, 14, 15, 16]


def _reference_noise(seed: int, count: int, epsilon: float) -> Tensor:
    noise = np.random.Generator(np.random.PCG64(1234 + seed)).uniform(-epsilon, epsilon, (count, 3, 112, 112))
    return torch.from_numpy(noise.astype(np.float32))


def _unit(crops: Image) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def _literal(backbone: Backbone, crop: Image, noise: Tensor, *, iterations: int, epsilon: float, power: int) -> float:
    """The published procedure as it is written down: one crop, the loss itself, a backward after every score."""

    def embed(x: Tensor) -> Tensor:
        return backbone.embed(backbone.contract.from_unit(x))

    x = _unit(crop[None])
    adversarial = (x + noise).clamp(-1, 1)
    scores = []
    for _ in range(iterations):
        adversarial = adversarial.detach().requires_grad_()
        cosines = cosine_similarity(embed(x), embed(adversarial), dim=1)
        (slope,) = torch.autograd.grad((1 - cosines).mean(), adversarial)
        scores.append(cosines.detach())
        adversarial = (adversarial + epsilon * slope.sign()).clamp(-1, 1)
    every = torch.stack(scores)
    symmetry = cosine_similarity(embed(x), embed(x.flip(-1)), dim=1)
    score = (1 + every.mean()) / 2 * (1 - every.std(correction=0)).clamp(0, 1) * symmetry
    return float(score**power)


class Recording(nn.Module):
    """Hands on what another network returns and keeps what it was given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.inputs: list[Tensor] = []
        self.graphs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x.detach().clone())
        self.graphs += x.requires_grad
        embedding: Tensor = self.net(x)
        return embedding


class LeftMinusRight(nn.Module):
    """An embedding that turns round with the picture: the cosine with the mirrored crop is -1."""

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.mean(dim=1).flatten(1).reshape(len(x), 112, 2, 56).unbind(2)
        return (left - right.flip(-1)).flatten(1)


class Zero(nn.Module):
    """A network that has nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        silent: Tensor = self.flat(x)[:, :8] * 0
        return silent


@pytest.fixture
def unit_backbone(tiny_backbone: Backbone) -> Backbone:
    """The tiny network, recording its inputs, fed with [0, 1] RGB as it stands."""
    return Backbone("recording", Recording(tiny_backbone.net), InputContract("rgb", 0.0, 255.0))


@pytest.mark.slow
def test_published_numbers_come_out_of_the_given_noise(
    facexzoo: Backbone, portable_crops: Image, portable_reference: dict[str, Any]
) -> None:
    method = FaceQAN(facexzoo, device="cpu", noise=_reference_noise)
    scores = method.raw(portable_crops, seeds=[0, 1])
    np.testing.assert_allclose(scores, portable_reference["faceqan_score"], rtol=1e-3)
    np.testing.assert_array_equal(method.score(portable_crops[:1], seeds=[0]), scores[:1])


def test_published_cosines_of_the_first_steps(
    facexzoo: Backbone, portable_crops: Image, portable_reference: dict[str, Any]
) -> None:
    method = FaceQAN(facexzoo, device="cpu", noise=_reference_noise, iterations=2)
    unit = _unit(portable_crops)
    with torch.no_grad():
        reference, mirrored = method._embed(torch.cat((unit, unit.flip(-1)))).chunk(2)
    cosines = method._similarities(unit, reference, [0, 1])
    published = np.asarray(portable_reference["faceqan_similarities"])
    assert published.shape == (2, 5, 10)
    np.testing.assert_allclose(cosines, published[:, :2], rtol=1e-3)
    symmetry = cosine_similarity(reference, mirrored, dim=1)
    np.testing.assert_allclose(symmetry, portable_reference["faceqan_symmetry"], rtol=1e-4)


@pytest.mark.parametrize("power", [1, 5])
def test_batch_equals_the_literal_procedure_one_crop_at_a_time(
    tiny_backbone: Backbone, noise_crops: Image, power: int
) -> None:
    method = FaceQAN(tiny_backbone, device="cpu", power=power, epsilon=0.01, **FEW)
    literal = [
        _literal(tiny_backbone, crop, seeded_noise(seed, 4, 0.01), iterations=3, epsilon=0.01, power=power)
        for crop, seed in zip(noise_crops, SEEDS, strict=True)
    ]
    np.testing.assert_allclose(method.raw(noise_crops, seeds=SEEDS), literal, rtol=0, atol=1e-4)


@pytest.mark.parametrize("max_batch", [1, 2, 5, 32])
def test_score_is_the_same_to_the_bit_in_any_batch_and_order(
    tiny_backbone: Backbone, noise_crops: Image, max_batch: int
) -> None:
    whole = FaceQAN(tiny_backbone, device="cpu", **FEW).raw(noise_crops, seeds=SEEDS)
    order = [3, 0, 5, 1, 4, 2]
    method = FaceQAN(tiny_backbone, device="cpu", max_batch=max_batch, **FEW)
    shuffled = method.raw(noise_crops[order], seeds=[SEEDS[i] for i in order])
    np.testing.assert_array_equal(shuffled, whole[order])


def test_shared_passes_score_as_single_ones(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = FaceQAN(tiny_backbone, device="cpu", **FEW)
    singles = method.raw(noise_crops, seeds=SEEDS)
    method._crops_per_pass = 4
    np.testing.assert_allclose(method.raw(noise_crops, seeds=SEEDS), singles, rtol=0, atol=1e-4)


def test_seed_decides_the_noise(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = FaceQAN(tiny_backbone, device="cpu", epsilon=0.1, **FEW)
    one = method.raw(noise_crops, seeds=1)
    assert not np.array_equal(one, method.raw(noise_crops, seeds=2))
    np.testing.assert_array_equal(one, method.raw(noise_crops, seeds=1))
    assert torch.equal(seeded_noise(-1, 2, 0.5), seeded_noise(2**64 - 1, 2, 0.5))
    noise = seeded_noise(1, 10, 0.5)
    assert noise.shape == (10, 3, 112, 112)
    assert -0.5 <= float(noise.min()) < -0.49
    assert 0.49 < float(noise.max()) <= 0.5


def test_mirrored_crops_have_the_same_symmetry_and_mirrored_noise_the_same_score(
    tiny_backbone: Backbone, noise_crops: Image
) -> None:
    class MirrorBlind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            embedding: Tensor = tiny_backbone.net(x) + tiny_backbone.net(x.flip(-1))
            return embedding

    blind = Backbone("blind", MirrorBlind(), tiny_backbone.contract)
    straight = FaceQAN(blind, device="cpu", **FEW).raw(noise_crops, seeds=SEEDS)
    turned = FaceQAN(blind, device="cpu", noise=lambda *args: seeded_noise(*args).flip(-1), **FEW)
    mirrored = turned.raw(np.ascontiguousarray(noise_crops[:, :, ::-1]), seeds=SEEDS)
    np.testing.assert_allclose(mirrored, straight, rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_flat_crops_score_finite(tiny_backbone: Backbone, value: int) -> None:
    crops = np.full((1, 112, 112, 3), value, dtype=np.uint8)
    (score,) = FaceQAN(tiny_backbone, device="cpu", **FEW).raw(crops)
    assert np.isfinite(score)
    assert -1 <= score <= 1


def test_a_network_that_says_nothing_scores_zero() -> None:
    method = FaceQAN(Backbone("zero", Zero(), InputContract()), device="cpu", **FEW)
    assert method.raw(np.zeros((1, 112, 112, 3), dtype=np.uint8)).tolist() == [0.0]


@pytest.mark.parametrize(("power", "sign"), [(1, -1), (2, 1), (5, -1)])
def test_odd_power_keeps_the_sign_of_the_symmetry(noise_crops: Image, power: int, sign: int) -> None:
    backbone = Backbone("turning", LeftMinusRight(), InputContract())
    (score,) = FaceQAN(backbone, device="cpu", power=power, **FEW).raw(noise_crops[:1])
    assert sign * score > 0.5


def test_examples_leave_the_pictures_range_below_but_not_above(unit_backbone: Backbone) -> None:
    crops = np.stack([np.zeros((112, 112, 3), np.uint8), np.full((112, 112, 3), 255, np.uint8)])
    FaceQAN(unit_backbone, device="cpu", epsilon=0.01, **FEW).raw(crops, seeds=[1, 2])
    recording = unit_backbone.net
    assert isinstance(recording, Recording)
    assert min(float(x.min()) for x in recording.inputs) < -0.01
    assert max(float(x.max()) for x in recording.inputs) == 1.0


def test_reference_is_embedded_once_and_the_last_score_needs_no_gradient(
    unit_backbone: Backbone, noise_crops: Image
) -> None:
    method = FaceQAN(unit_backbone, device="cpu", **FEW)
    recording = unit_backbone.net
    assert isinstance(recording, Recording)
    recording.inputs.clear()
    recording.graphs = 0
    method.raw(noise_crops[:1])
    assert [len(x) for x in recording.inputs] == [2, 4, 4, 4]
    assert recording.graphs == 2


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_gradients_are_found_where_the_caller_wants_none(
    tiny_backbone: Backbone, noise_crops: Image, mode: Callable[[], Any]
) -> None:
    method = FaceQAN(tiny_backbone, device="cpu", **FEW)
    wanted = method.raw(noise_crops[:2])
    with mode():
        np.testing.assert_array_equal(method.raw(noise_crops[:2]), wanted)


def test_neither_the_global_generator_nor_the_network_is_touched(tiny_backbone: Backbone, noise_crops: Image) -> None:
    before = torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in tiny_backbone.net.state_dict().items()}
    FaceQAN(tiny_backbone, device="cpu", **FEW).raw(noise_crops[:2])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in tiny_backbone.net.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tiny_backbone.net.state_dict().items())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"iterations": 0}, "iterations"),
        ({"examples": 2.5}, "examples"),
        ({"power": "5"}, "power"),
        ({"power": True}, "power"),
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": "0.1"}, "epsilon"),
    ],
)
def test_senseless_options_are_refused_by_name(tiny_backbone: Backbone, options: dict[str, Any], named: str) -> None:
    with pytest.raises(QualityError, match=f"faceqan: {named} must be"):
        FaceQAN(tiny_backbone, device="cpu", **options)


def test_calibration_belongs_to_the_options(tiny_backbone: Backbone) -> None:
    keys = {str(FaceQAN(tiny_backbone, device="cpu", power=power).calibration_key) for power in (1, 5)}
    assert len(keys) == 2
