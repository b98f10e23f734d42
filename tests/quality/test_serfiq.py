from pathlib import Path

import numpy as np
import pytest
import torch

from gate.errors import QualityError
from gate.quality.backbone import Backbone
from gate.quality.serfiq import Serfiq, published_score, raw_of_embeddings
from gate.types import FloatArray, Image


def _embeddings(spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    centre = torch.randn(3, 1, 32, generator=generator)
    return centre + spread * torch.randn(3, 20, 32, generator=generator)


def _mean_distance(embeddings: torch.Tensor) -> list[float]:
    """Pair by pair, in double precision."""
    unit = torch.nn.functional.normalize(embeddings.double(), dim=2)
    count = unit.shape[1]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    return [float(np.mean([(crop[i] - crop[j]).norm().item() for i, j in pairs])) for crop in unit]


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4])
def test_gram_matrix_gives_the_distances_of_the_pairs(spread: float) -> None:
    embeddings = _embeddings(spread)
    wanted = _mean_distance(embeddings)
    raw = raw_of_embeddings(embeddings).double().numpy()
    np.testing.assert_allclose(raw, 2 / (1 + np.exp(wanted)), rtol=1e-6)
    if spread > 1e-3:
        np.testing.assert_allclose(np.log(2 / raw - 1), wanted, rtol=1e-4)


def test_identical_embeddings_are_perfectly_robust() -> None:
    same = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(1)).expand(2, 10, 32)
    np.testing.assert_allclose(raw_of_embeddings(same).numpy(), [1.0, 1.0], atol=1e-6)


def test_port_divides_by_the_square_of_the_passes_and_sharpens() -> None:
    embeddings = _embeddings(0.5)
    passes = embeddings.shape[1]
    sums = np.asarray(_mean_distance(embeddings)) * passes * (passes - 1) / 2
    wanted = 2 / (1 + np.exp(8 * sums / passes**2))
    np.testing.assert_allclose(raw_of_embeddings(embeddings, "port").numpy(), wanted, rtol=1e-5)


def test_published_embeddings_give_the_published_scores(shared_data: Path) -> None:
    with np.load(shared_data / "reference" / "reference.npz") as reference:
        embeddings = torch.from_numpy(reference["serfiq_embeddings"])
        wanted, wanted_score = reference["serfiq_raw"], reference["serfiq_score"]
    raw = raw_of_embeddings(embeddings).numpy()
    np.testing.assert_allclose(raw, wanted, rtol=1e-5)
    np.testing.assert_allclose(published_score(raw), wanted_score, rtol=1e-4)


def test_published_raw_lies_within_the_distribution_over_seeds(facexzoo: Backbone, shared_data: Path) -> None:
    with np.load(shared_data / "reference" / "reference.npz") as reference:
        crops, wanted = reference["images_rgb_uint8"], reference["serfiq_raw"]
    method = Serfiq(facexzoo)
    draws = np.stack([method.raw(crops, seeds=seed) for seed in range(12)])
    assert (np.abs(draws.mean(axis=0) - wanted) < 4 * draws.std(axis=0)).all()
    assert (draws.std(axis=0) < 0.005).all()


def test_dropout_has_the_mean_and_spread_of_its_share(tiny_backbone: Backbone) -> None:
    mask = Serfiq(tiny_backbone, passes=200, p=0.3)._mask(seed=9, size=1000)
    assert mask.shape == (200, 1000)
    torch.testing.assert_close(mask[mask > 0], torch.full_like(mask[mask > 0], 1 / 0.7))
    assert mask.mean().item() == pytest.approx(1.0, abs=0.01)


def test_more_dropout_is_less_robust(tiny_backbone: Backbone, noise_crops: Image) -> None:
    gentle = Serfiq(tiny_backbone, p=0.1).raw(noise_crops)
    rough = Serfiq(tiny_backbone, p=0.6).raw(noise_crops)
    assert (gentle > rough).all()


def test_dropout_share_is_the_backbones_unless_told(tiny_backbone: Backbone) -> None:
    assert Serfiq(tiny_backbone).p == 0.4
    assert Serfiq(tiny_backbone, p=0.2).p == 0.2


def test_a_seed_belongs_to_its_crop(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = Serfiq(tiny_backbone, max_batch=4)
    seeds = [3, 1, 3, 0, 2, 10]
    together = method.raw(noise_crops, seeds=seeds)
    alone = [method.raw(noise_crops[i : i + 1], seeds=seed)[0] for i, seed in enumerate(seeds)]
    np.testing.assert_allclose(together, np.asarray(alone), rtol=1e-4)
    assert not np.allclose(together, method.raw(noise_crops), rtol=1e-4)


def test_masks_of_many_seeds_do_not_pile_up(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = Serfiq(tiny_backbone)
    first = method.raw(noise_crops[:1], seeds=0)
    for seed in range(1, 20):
        method.raw(noise_crops[:1], seeds=seed)
    assert len(method._masks) <= 4
    np.testing.assert_array_equal(method.raw(noise_crops[:1], seeds=0), first)


def test_score_is_raw_until_the_logistic_is_given(tiny_backbone: Backbone, noise_crops: Image) -> None:
    plain = Serfiq(tiny_backbone)
    raw = plain.raw(noise_crops)
    np.testing.assert_array_equal(plain.score(noise_crops), raw)
    shaped = Serfiq(tiny_backbone, alpha=130.0, r=0.88)
    wanted: FloatArray = (1 / (1 + np.exp(-130.0 * (raw.astype(np.float64) - 0.88)))).astype(np.float32)
    np.testing.assert_allclose(shaped.score(noise_crops), wanted, rtol=1e-5)
    assert shaped.calibration_key == plain.calibration_key


def test_logistic_never_overflows() -> None:
    assert published_score(np.asarray([0.0, 1.0], dtype=np.float32), alpha=1e6).tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passes": 1}, "passes must be at least 2"),
        ({"p": 0.0}, "p must be between 0 and 1"),
        ({"p": 1.0}, "p must be between 0 and 1"),
        ({"alpha": 130.0}, "alpha and r belong together"),
        ({"variant": "prot"}, "did you mean 'port'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, float | str], message: str, tiny_backbone: Backbone
) -> None:
    with pytest.raises(QualityError, match=message):
        Serfiq(tiny_backbone, **options)  # type: ignore[arg-type]
