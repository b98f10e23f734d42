import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gate.errors import QualityError, WeightsError
from gate.nets.diffusion import add_noise, cosine_alphas_cumprod, denoise, denoise_path
from gate.nets.unet import Unet
from gate.quality.backbone import Backbone
from gate.quality.diffiqa import DifFIQA, NoiseSource, load_unet, seeded_noise
from gate.types import Image

FillNetwork = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]

SEEDS = [1, 2, 3, 4, 5, 6]
STEPS = 6


class TinyDenoiser(nn.Module):
    """What a U-Net does to its input, in a millisecond: a little of the neighbours, a little of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(self.mix.weight, 0, 0.2, generator=generator)
        with torch.no_grad():
            # Symmetric, so that it does to a mirrored picture what it does to the picture.
            self.mix.weight.copy_((self.mix.weight + self.mix.weight.flip(-1)) / 2)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x)
        return x + mixed - 0.01 * index[:, None, None, None]


def _method(backbone: Backbone, **options: Any) -> DifFIQA:
    return DifFIQA(backbone, TinyDenoiser(), device="cpu", **{"repeats": 3, **options})


@pytest.fixture(scope="module")
def filled_unet(filled_state_dict: FillNetwork) -> Unet:
    net = Unet(32).eval()
    net.load_state_dict(filled_state_dict(net.state_dict()))
    return net


@pytest.fixture(scope="module")
def reference_draws() -> Tensor:
    """(6, mirrored, crop, repeat, 3, 112, 112): the order in which the published code drew."""
    generator = np.random.Generator(np.random.PCG64(99))
    draws = [generator.standard_normal((8, 3, 112, 112)).astype(np.float32) for _ in range(STEPS)]
    return torch.from_numpy(np.stack(draws)).reshape(STEPS, 2, 2, 2, 3, 112, 112)


@dataclass(frozen=True)
class Chain:
    """The published chain on the portable crops; rows (mirrored, crop, repeat)."""

    noisy: Tensor

    restored: Tensor

    passes: list[tuple[Tensor, Tensor]]
    """What went into the U-Net and what came out, pass by pass."""


@pytest.fixture(scope="module")
def chain(filled_unet: Unet, reference_draws: Tensor, portable_crops: Image) -> Chain:
    x = torch.from_numpy(portable_crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    clean = torch.stack((x, x.flip(-1))).repeat_interleave(2, dim=1).flatten(0, 1)
    alphas = cosine_alphas_cumprod()
    first, *others = reference_draws.flatten(1, 3)
    noisy = add_noise(clean, first, float(alphas[5]))
    passes = []

    def network(x: Tensor, index: Tensor) -> Tensor:
        clean: Tensor = filled_unet(x, index)
        passes.append((x, clean))
        return clean

    with torch.inference_mode():
        restored = denoise(network, noisy, denoise_path(5), alphas, functools.partial(next, iter(others)))
    return Chain(noisy, restored, passes)


class Replay(nn.Module):
    """Returns what the U-Net returned for the same images: its passes take seconds."""

    def __init__(self, passes: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.passes = passes

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        wanted, result = self.passes.pop(0)
        torch.testing.assert_close(x, wanted, rtol=0, atol=1e-5)
        return result


def _crops_first(rows: Tensor) -> Tensor:
    """(mirrored, crop, repeat) → (crop, mirrored, repeat)."""
    return rows.reshape(2, 2, 2, 3, 112, 112).transpose(0, 1).flatten(0, 2)


def _replayed(draws: Tensor) -> NoiseSource:
    def source(seed: int, row: int) -> Iterator[Tensor]:
        mirrored, repeat = divmod(row, 2)
        return iter(draws[:, mirrored, seed, repeat])

    return source


def _assert_reference(images: Tensor, published: Mapping[str, Any], atol: float) -> None:
    flat = images.numpy().ravel()
    assert float(flat.mean()) == pytest.approx(published["mean"], abs=1e-4)
    assert float(flat.std()) == pytest.approx(published["std"], abs=1e-4)
    np.testing.assert_allclose(flat[::9973], published["every_9973rd"], rtol=0, atol=atol)


def test_published_unet_output(filled_unet: Unet, portable_crops: Image, portable_reference: dict[str, Any]) -> None:
    x = torch.from_numpy(portable_crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        _assert_reference(filled_unet(x, torch.tensor([4, 4])), portable_reference["unet_dim32_filled_t4"], 1e-4)


@pytest.mark.slow
def test_published_chain_from_the_given_noise(chain: Chain, portable_reference: dict[str, Any]) -> None:
    _assert_reference(chain.noisy, portable_reference["diffiqa_noisy"], 1e-6)
    _assert_reference(chain.restored, portable_reference["diffiqa_reconstructed"], 1e-3)


@pytest.mark.slow
def test_published_scores_from_the_given_noise(
    chain: Chain,
    facexzoo: Backbone,
    reference_draws: Tensor,
    portable_crops: Image,
    portable_reference: dict[str, Any],
) -> None:
    replay = Replay([(_crops_first(x), _crops_first(y)) for x, y in chain.passes])
    method = DifFIQA(facexzoo, replay, device="cpu", repeats=2, images_per_pass=8, noise=_replayed(reference_draws))
    scores = method.raw(portable_crops, seeds=[0, 1])
    np.testing.assert_allclose(scores, portable_reference["diffiqa_dim32_repeats2_score"], rtol=1e-4)
    assert not replay.passes


def test_published_unet_output_and_schedule_on_the_larger_set(shared_data: Path, filled_unet: Unet) -> None:
    reference = np.load(shared_data / "reference" / "reference.npz")
    np.testing.assert_allclose(cosine_alphas_cumprod(), reference["diffusion_alphas_cumprod"], rtol=1e-6, atol=1e-9)
    x = torch.from_numpy(reference["images_rgb_uint8"][:2]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        images = filled_unet(x, torch.tensor([4, 4]))
    np.testing.assert_allclose(images, reference["unet_dim32_filled_t4"], rtol=1e-3, atol=5e-4)


@pytest.mark.parametrize(("max_batch", "images_per_pass"), [(1, 1), (2, 5), (32, 7), (32, 64)])
def test_score_does_not_depend_on_batch_order_or_passes(
    tiny_backbone: Backbone, noise_crops: Image, max_batch: int, images_per_pass: int
) -> None:
    whole = _method(tiny_backbone).raw(noise_crops, seeds=SEEDS)
    order = [3, 0, 5, 1, 4, 2]
    method = _method(tiny_backbone, max_batch=max_batch, images_per_pass=images_per_pass)
    shuffled = method.raw(noise_crops[order], seeds=[SEEDS[i] for i in order])
    np.testing.assert_allclose(shuffled, whole[order], rtol=0, atol=1e-5)


def test_score_is_the_mean_of_the_five_cosines(tiny_backbone: Backbone, noise_crops: Image) -> None:
    alphas = cosine_alphas_cumprod()
    x = torch.from_numpy(noise_crops[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    denoiser = TinyDenoiser().requires_grad_(requires_grad=False)
    own = tiny_backbone.embed(x)[0]
    cosines = [float(own @ tiny_backbone.embed(x.flip(-1))[0])]
    for mirrored, picture in enumerate((x, x.flip(-1))):
        for repeat in range(3):
            draws = seeded_noise(9, 3 * mirrored + repeat)
            noisy = add_noise(picture, next(draws), float(alphas[5]))
            restored = denoise(denoiser, noisy, denoise_path(5), alphas, functools.partial(next, draws))
            cosines += [float(own @ tiny_backbone.embed(image)[0]) / 3 for image in (noisy, restored)]
    assert _method(tiny_backbone).raw(noise_crops[:1], seeds=9) == pytest.approx(sum(cosines) / 5, abs=1e-6)


def test_every_image_has_its_own_noise_and_the_seed_decides_it() -> None:
    def first(seed: int, row: int) -> Tensor:
        return next(seeded_noise(seed, row))

    assert torch.equal(first(3, 1), first(3, 1))
    assert torch.equal(first(-1, 1), first(2**64 - 1, 1))
    assert not torch.equal(first(3, 1), first(3, 2))
    # Not by adding seed and row: neighbouring seeds would share all their noise but one.
    assert not torch.equal(first(3, 1), first(2, 2))
    stream = seeded_noise(3, 1)
    drawn = torch.stack([next(stream) for _ in range(4)])
    assert abs(float(drawn.mean())) < 0.01
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)


def test_mirrored_crop_with_mirrored_noise_scores_the_same(tiny_backbone: Backbone, noise_crops: Image) -> None:
    class MirrorBlind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            embedding: Tensor = tiny_backbone.net(x) + tiny_backbone.net(x.flip(-1))
            return embedding

    def turned(seed: int, row: int) -> Iterator[Tensor]:
        return (draw.flip(-1) for draw in seeded_noise(seed, row))

    blind = Backbone("blind", MirrorBlind(), tiny_backbone.contract)
    straight = _method(blind).raw(noise_crops, seeds=SEEDS)
    mirrored = _method(blind, noise=turned).raw(np.ascontiguousarray(noise_crops[:, :, ::-1]), seeds=SEEDS)
    np.testing.assert_allclose(mirrored, straight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_flat_crops_score_finite(tiny_backbone: Backbone, value: int) -> None:
    crops = np.full((1, 112, 112, 3), value, dtype=np.uint8)
    (score,) = _method(tiny_backbone).raw(crops)
    assert np.isfinite(score)
    assert -1 <= score <= 1 + 1e-6


def test_neither_the_global_generator_nor_the_networks_are_touched(tiny_backbone: Backbone, noise_crops: Image) -> None:
    before = torch.get_rng_state()
    denoiser = TinyDenoiser()
    DifFIQA(tiny_backbone, denoiser, device="cpu", repeats=2).raw(noise_crops[:2])
    # Building the tiny network itself draws from the global generator.
    torch.set_rng_state(before)
    DifFIQA(tiny_backbone, denoiser, device="cpu", repeats=2).raw(noise_crops[:2])
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())
    assert all(parameter.grad is None for parameter in tiny_backbone.net.parameters())


@pytest.mark.parametrize(("ema", "bias"), [(False, 1.0), (True, 2.0)])
def test_unet_of_a_trainers_checkpoint_is_loaded_with_its_own_size(tmp_path: Path, ema: bool, bias: float) -> None:
    path = tmp_path / "model-100.pt"
    states = []
    for value in (1.0, 2.0):
        net = Unet(16)
        nn.init.constant_(net.final_conv.bias, value)  # type: ignore[arg-type]  # a convolution with a bias
        states.append({f"model.{name}": tensor for name, tensor in net.state_dict().items()})
    raw = {**states[0], "betas": torch.zeros(1000)}
    averaged = {f"ema_model.{name}": tensor for name, tensor in states[1].items()}
    torch.save({"step": 100, "model": raw, "ema": {**averaged, "initted": torch.tensor([True])}}, path)
    unet, model = load_unet(path, ema=ema)
    assert unet.dim == 16
    assert unet.final_conv.bias is not None
    assert unet.final_conv.bias.tolist() == [bias] * 3
    assert model.startswith("diffiqa-unet-ema@" if ema else "diffiqa-unet@")


def test_missing_tensors_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "unet.pt"
    state = {f"model.{name}": tensor for name, tensor in Unet(16).state_dict().items()}
    del state["model.mid_attn.fn.norm.g"]
    torch.save({"model": state}, path)
    with pytest.raises(WeightsError, match=r"unet\.pt.*mid_attn\.fn\.norm\.g"):
        load_unet(path)


def test_scores_name_both_networks(tiny_backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "unet.pt"
    torch.save(Unet(16).state_dict(), path)
    method = DifFIQA(tiny_backbone, path, device="cpu")
    assert method.model.startswith(f"{tiny_backbone.model}+diffiqa-unet@")
    assert method.bytes_per_crop == 4 * 4 * 112 * 112 * 960


@pytest.mark.parametrize("options", [{"t": 0}, {"t": 1000}, {"repeats": 0}, {"images_per_pass": 0}, {"t": "5"}])
def test_senseless_options_are_refused_by_name(tiny_backbone: Backbone, options: dict[str, Any]) -> None:
    with pytest.raises(QualityError, match=f"diffiqa: {next(iter(options))} must be"):
        _method(tiny_backbone, **options)
