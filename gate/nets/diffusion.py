"""The forward and the backward walk of a diffusion process, as far as image quality needs them.

Cosine schedule: Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021. Denoising: Song
et al., "Denoising diffusion implicit models", ICLR 2021, for a network that predicts the clean image.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

STEPS = 1000
COSINE_OFFSET = 0.008
MAX_BETA = 0.999

OUT = -1
"""The place after the last denoising step: the clean image."""

Denoiser: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Noisy images (N, 3, H, W) and their time indices (N,) → predicted clean images, not clipped."""


def cosine_alphas_cumprod(steps: int = STEPS, offset: float = COSINE_OFFSET) -> Tensor:
    """ᾱ of the cosine schedule: the share of the signal's power left after each step.

    Returns:
        (steps,) float64 on the CPU, falling from nearly 1 to nearly 0.
    """
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    signal = torch.cos((share + offset) / (1 + offset) * (math.pi / 2)) ** 2
    betas = (1 - signal[1:] / signal[:-1]).clamp(0, MAX_BETA)
    return torch.cumprod(1 - betas, dim=0)


def denoise_path(index: int) -> tuple[int, ...]:
    """The time indices that published DifFIQA walks back through from `index`, `OUT` last.

    It truncates linspace(-1, index - 1, index + 2) to integers, so that the walk starts one below `index` and visits
    0 twice; faithful scores need both.

    >>> denoise_path(5)
    (4, 3, 2, 1, 0, 0, -1)
    """
    return tuple(torch.linspace(-1, index - 1, index + 2, dtype=torch.float64).int().flip(0).tolist())


def add_noise(clean: Tensor, noise: Tensor, alpha_cumprod: float) -> Tensor:
    """Walk forward: √ᾱ · clean + √(1 - ᾱ) · noise."""
    return math.sqrt(alpha_cumprod) * clean + math.sqrt(1 - alpha_cumprod) * noise


def denoise(
    network: Denoiser,
    noisy: Tensor,
    path: tuple[int, ...],
    alphas_cumprod: Tensor,
    draw: Callable[[], Tensor],
    *,
    eta: float = 1.0,
) -> Tensor:
    """Walk backward along `path`, predicting the clean image at each place and re-noising it for the next.

    Args:
        network: predicts the clean image.
        noisy: (N, 3, H, W) images in [-1, 1] plus noise.
        path: falling time indices, `OUT` last.
        alphas_cumprod: ᾱ, float64 on the CPU.
        draw: standard normal noise of `noisy`'s shape; called once per step but the last.
        eta: 1 keeps all of the fresh noise of DDPM, 0 walks deterministically.

    Returns:
        (N, 3, H, W) in [-1, 1].
    """
    x = noisy
    clean = noisy
    for here, there in itertools.pairwise(path):
        index = torch.full((len(x),), here, device=x.device, dtype=torch.long)
        clean = network(x, index).clamp(-1, 1)
        if there == OUT:
            break
        step = _step(alphas_cumprod, here, there, eta)
        implied = (x - step.signal * clean) / step.noise
        x = step.keep_clean * clean + step.keep_noise * implied + step.fresh * draw()
    return clean


class _Step(NamedTuple):
    """Factors of one step of `denoise`."""

    signal: float
    noise: float
    keep_clean: float
    keep_noise: float
    fresh: float


def _step(alphas_cumprod: Tensor, here: int, there: int, eta: float) -> _Step:
    # Published scores come from a schedule kept in float32. At the clean end 1 - ᾱ is 4e-5, of which float32 holds
    # three digits: with all of them the denoised images of the reference differ by 1.5e-3 instead of 6e-4.
    now, then = alphas_cumprod[here].float(), alphas_cumprod[there].float()
    sigma = eta * ((1 - now / then) * (1 - then) / (1 - now)).sqrt()
    exact = float(alphas_cumprod[here])
    return _Step(
        signal=math.sqrt(exact),
        noise=math.sqrt(1 - exact),
        keep_clean=float(then.sqrt()),
        keep_noise=float((1 - then - sigma**2).sqrt()),
        fresh=float(sigma),
    )
