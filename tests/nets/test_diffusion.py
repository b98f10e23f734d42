import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gate.nets.diffusion import OUT, add_noise, cosine_alphas_cumprod, denoise, denoise_path

ALPHAS = cosine_alphas_cumprod()


def _draws(seed: int, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


def test_schedule_starts_as_published() -> None:
    published = [0.99995869, 0.99991256, 0.9998616, 0.99980575, 0.99974501, 0.99967945, 0.99960905, 0.99953377]
    torch.testing.assert_close(ALPHAS[:8], torch.tensor(published, dtype=torch.float64), rtol=0, atol=1e-7)


@given(st.integers(10, 2000))
def test_signal_only_falls_and_never_vanishes(steps: int) -> None:
    alphas = cosine_alphas_cumprod(steps)
    assert alphas.shape == (steps,)
    assert bool((alphas.diff() < 0).all())
    assert 0 < float(alphas[-1]) < float(alphas[0]) < 1


@given(st.integers(1, 999))
def test_path_walks_from_below_the_index_to_the_clean_image(index: int) -> None:
    path = denoise_path(index)
    assert len(path) == index + 2
    assert path[0] == index - 1
    assert path[-2:] == (0, OUT)
    assert all(0 <= a - b <= 1 for a, b in itertools.pairwise(path))


def test_path_of_the_published_index_visits_zero_twice() -> None:
    assert denoise_path(5) == (4, 3, 2, 1, 0, 0, OUT)


def test_noised_image_keeps_the_power() -> None:
    clean, noise = _draws(1, (4, 3, 64, 64))(), _draws(2, (4, 3, 64, 64))()
    for alpha in (1.0, 0.5, 0.0):
        assert float(add_noise(clean, noise, alpha).var()) == pytest.approx(1, abs=0.03)
    assert torch.equal(add_noise(clean, noise, 1.0), clean)
    assert torch.equal(add_noise(clean, noise, 0.0), noise)


def test_a_perfect_network_restores_the_image_whatever_the_noise() -> None:
    clean = _draws(1, (2, 3, 8, 8))().clamp(-1, 1)
    noisy = add_noise(clean, _draws(2, clean.shape)(), float(ALPHAS[5]))
    restored = denoise(lambda _x, _index: clean, noisy, denoise_path(5), ALPHAS, _draws(3, clean.shape))
    assert torch.equal(restored, clean)


def test_prediction_is_clipped_and_noise_is_drawn_for_every_step_but_the_last() -> None:
    asked: list[list[int]] = []
    draws = 0

    def network(x: Tensor, index: Tensor) -> Tensor:
        asked.append(index.tolist())
        return 10 * x

    def draw() -> Tensor:
        nonlocal draws
        draws += 1
        return torch.zeros(2, 3, 8, 8)

    restored = denoise(network, torch.ones(2, 3, 8, 8), denoise_path(5), ALPHAS, draw)
    assert asked == [[i, i] for i in (4, 3, 2, 1, 0, 0)]
    assert draws == 5
    assert torch.equal(restored, torch.ones(2, 3, 8, 8))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_every_place_on_the_way_has_the_noise_of_its_index(eta: float) -> None:
    shape = (1, 3, 256, 256)
    clean = torch.zeros(shape)
    seen: dict[int, float] = {}

    def network(x: Tensor, index: Tensor) -> Tensor:
        seen[int(index)] = float(x.std())
        return clean

    path = (900, 600, 300, 10, OUT)
    noisy = add_noise(clean, _draws(1, shape)(), float(ALPHAS[900]))
    denoise(network, noisy, path, ALPHAS, _draws(2, shape), eta=eta)
    for index in path[:-1]:
        assert seen[index] == pytest.approx(math.sqrt(1 - float(ALPHAS[index])), rel=0.01)


def test_without_eta_the_fresh_noise_does_not_matter() -> None:
    noisy = _draws(1, (1, 3, 8, 8))()
    walks = [
        denoise(lambda x, _: x / 2, noisy, denoise_path(5), ALPHAS, _draws(seed, (1, 3, 8, 8)), eta=0)
        for seed in (2, 3)
    ]
    assert torch.equal(*walks)
    fresh = denoise(lambda x, _: x / 2, noisy, denoise_path(5), ALPHAS, _draws(2, (1, 3, 8, 8)))
    assert not torch.equal(fresh, walks[0])
