"""DifFIQA: how little a face's embedding moves when diffusion noises and restores it.

Babnik, Peer and Štruc, "DifFIQA: Face image quality assessment using denoising diffusion probabilistic models", IJCB
2023.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gate.nets.diffusion import add_noise, cosine_alphas_cumprod, denoise, denoise_path
from gate.nets.unet import PUBLISHED_DIM, Unet, dim_of, unet_state
from gate.quality.backbone import Backbone
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.options import check_count
from gate.quality.torch_method import TorchMethod
from gate.types import CROP_SIDE_PX

SHAPE = (3, CROP_SIDE_PX, CROP_SIDE_PX)


class NoiseSource(Protocol):
    """Where the noise comes from."""

    def __call__(self, seed: int, row: int) -> Iterator[Tensor]:
        """Endless draws of standard normal noise, (3, 112, 112) float32 on the CPU, for one noised image.

        Args:
            seed: the crop's seed.
            row: number of the noised image among the crop's own: 0..R-1 are the crop's, R..2R-1 its mirror's.
        """
        ...


def seeded_noise(seed: int, row: int) -> Iterator[Tensor]:
    """A generator for each noised image, so that how images are grouped into passes changes nothing.

    On the CPU, so that a seed means the same noise on every device.
    """
    (mixed,) = np.random.SeedSequence([seed % 2**64, row]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(mixed))
    while True:
        yield torch.randn(SHAPE, generator=generator)


class _Row(NamedTuple):
    """One image to be noised and restored."""

    crop: int
    mirrored: int
    noise: Iterator[Tensor]


class DifFIQA(TorchMethod):
    """Mean of five cosines between a crop's embedding and those of its noised, restored and mirrored versions.

    Raw is the published score, higher is better, at most 1.

    Args:
        backbone: the recognition network that judges.
        weights: the diffusion's U-Net: a checkpoint of any published layout, or the network itself, which is then
            changed for inference (eval mode, kernels standardised).
        device: where the U-Net goes; the backbone's own.
        max_batch: most crops in a batch.
        calibration: maps to 0..100, by default the shipped ones.
        t: time index in 1..999 to which the image is noised.
        repeats: noised images of the crop, and as many of its mirror.
        ema: take the checkpoint's averaged weights; the published scores come from the raw ones.
        images_per_pass: most images in one pass of the U-Net; None is 160 on a GPU and 4 on the CPU, where more
            gains nothing and costs memory.
        noise: where the noise comes from.
        model: name of the U-Net's weights where `weights` is a network.

    Raises:
        QualityError: an option is out of its range.
        WeightsError: the checkpoint is missing or of another network.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: Path | str | nn.Module,
        *,
        device: str,
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        t: int = 5,
        repeats: int = 10,
        ema: bool = False,
        images_per_pass: int | None = None,
        noise: NoiseSource = seeded_noise,
        model: str = "unet",
    ) -> None:
        alphas_cumprod = cosine_alphas_cumprod()
        check_count("diffiqa", "t", t, most=len(alphas_cumprod) - 1)
        check_count("diffiqa", "repeats", repeats)
        on_gpu = torch.device(device).type == "cuda"
        per_pass = images_per_pass if images_per_pass is not None else (160 if on_gpu else 4)
        check_count("diffiqa", "images_per_pass", per_pass)
        if isinstance(weights, nn.Module):
            unet = weights
        else:
            unet, model = load_unet(Path(weights), ema=ema)
        super().__init__(
            name="diffiqa",
            model=f"{backbone.model}+{model}",
            device=device,
            max_batch=max_batch,
            calibration=calibration,
        )
        self._backbone = backbone
        self._unet = unet.to(device).eval().requires_grad_(requires_grad=False)
        if isinstance(unet, Unet):
            unet.bake()
        self._alphas_cumprod = alphas_cumprod
        self._t, self._repeats, self._noise = t, repeats, noise
        self._images_per_pass = per_pass
        width = unet.dim if isinstance(unet, Unet) else PUBLISHED_DIM
        self.bytes_per_crop = min(2 * repeats, per_pass) * _bytes_per_image(width)

    def calibration_options(self) -> dict[str, OptionValue]:
        """Time index and repeats."""
        return {"t": self._t, "repeats": self._repeats}

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        clean = crops.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
        views = torch.stack((clean, clean.flip(-1)), dim=1)
        own, mirror = self._embed(views.flatten(0, 1)).reshape(len(seeds), 2, -1).unbind(1)
        noisy, restored = self._similarities(views, own, seeds)
        return (noisy + restored + functional.cosine_similarity(own, mirror, dim=1)) / 5

    def _similarities(self, views: Tensor, own: Tensor, seeds: list[int]) -> tuple[Tensor, Tensor]:
        """Cosines to the noised and to the restored images, averaged over repeats, crop and mirror added; (n,) each."""
        rows = [
            _Row(crop, index // self._repeats, self._noise(seed, index))
            for crop, seed in enumerate(seeds)
            for index in range(2 * self._repeats)
        ]
        parts = []
        for some in _chunks(rows, self._images_per_pass):
            reference = own[[row.crop for row in some]]
            images = self._noise_and_restore(views, some)
            parts.append(torch.stack([functional.cosine_similarity(reference, self._embed(x), dim=1) for x in images]))
        noisy, restored = torch.cat(parts, dim=1).reshape(2, len(seeds), 2, self._repeats).mean(-1).sum(-1)
        return noisy, restored

    def _noise_and_restore(self, views: Tensor, rows: Sequence[_Row]) -> tuple[Tensor, Tensor]:
        """The rows' noised and restored images, (len(rows), 3, 112, 112) each."""

        def draw() -> Tensor:
            noise = torch.stack([next(row.noise) for row in rows])
            if views.is_cuda:
                # From pinned memory the copy does not wait for the GPU: drawing hides behind the pass before.
                return noise.pin_memory().to(views.device, non_blocking=True)
            return noise

        clean = views[[row.crop for row in rows], [row.mirrored for row in rows]]
        noisy = add_noise(clean, draw(), float(self._alphas_cumprod[self._t]))
        return noisy, denoise(self._unet, noisy, denoise_path(self._t), self._alphas_cumprod, draw)

    def _embed(self, signed_rgb: Tensor) -> Tensor:
        return self._backbone.embed(self._backbone.contract.from_signed(signed_rgb))


def load_unet(path: Path, *, ema: bool = False) -> tuple[Unet, str]:
    """Read the U-Net of a diffusion checkpoint, of whatever `dim`, and its name@first 8 hex digits of the sha256.

    Args:
        path: state dict, diffusion wrapper or whole trainer state, see `gate.nets.unet.unet_state`.
        ema: the averaged weights instead of the raw ones.

    Raises:
        WeightsError: the file is missing or cannot be read, or holds another network.
    """
    from gate.weights import checkpoint

    where = str(path)
    state = unet_state(checkpoint.load_state_dict(path, section="ema" if ema else None), where=where, ema=ema)
    unet = Unet(dim_of(state, where=where))
    checkpoint.fit(state, unet, where)
    return unet, checkpoint.model_id("diffiqa-unet-ema" if ema else "diffiqa-unet", path)


def _chunks(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _bytes_per_image(dim: int) -> int:
    """Measured peaks of a pass: 45, 58 and 94 MiB an image at dim 32, 64 and 128."""
    return 4 * CROP_SIDE_PX**2 * (10 * dim + 800)
