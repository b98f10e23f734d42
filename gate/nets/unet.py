"""The denoising U-Net of DDPM-style diffusion with the parameter names of the published checkpoints.

Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020; the variant with weight-standardised
convolutions (Qiao et al., 2019), linear attention (Shen et al., 2021) and cosine attention (Henry et al., 2020) that
DifFIQA (Babnik et al., IJCB 2023) was trained with.
"""

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from gate.errors import WeightsError

CHANNELS = 3
MULTIPLIERS = (1, 2, 4, 8)
HEADS = 4
HEAD_WIDTH = 32
GROUPS = 8
EPS = 1e-5
COSINE_ATTENTION_SCALE = 10.0
PUBLISHED_DIM = 128

_FIRST = "init_conv.weight"
_CHILDREN = {
    "init_conv",
    "time_mlp",
    "downs",
    "mid_block1",
    "mid_attn",
    "mid_block2",
    "ups",
    "final_res_block",
    "final_conv",
}


class WeightStandardisedConv2d(nn.Conv2d):
    """A convolution whose kernels have zero mean and unit variance per output channel (Qiao et al., 2019)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, padding: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        self._baked = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H, W)."""
        weight = self.weight if self._baked else self._standardised()
        return functional.conv2d(x, weight, self.bias, padding=self.padding)

    @torch.no_grad()
    def bake(self) -> None:
        """Standardise the stored kernels once and for all; only for inference, and only once."""
        if not self._baked:
            self.weight.copy_(self._standardised())
            self._baked = True

    def _standardised(self) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        return (self.weight - mean) * torch.rsqrt(variance + EPS)


class ChannelLayerNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, with a gain and no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        # torch.var_mean over a strided dimension takes twice as long on a CPU.
        centred = x - x.mean(dim=1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + EPS) * self.g


class Block(nn.Module):
    """Convolution → GroupNorm → scale and shift, where given → SiLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = WeightStandardisedConv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, out_channels)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(N, in, H, W) → (N, out, H, W)."""
        x = self.norm(self.proj(x))
        if scale_shift is not None:
            scale, shift = scale_shift
            x = torch.addcmul(shift, x, scale + 1)
        y: Tensor = functional.silu(x)
        return y


class ResidualBlock(nn.Module):
    """Two `Block`s and a shortcut; the first is modulated by the time embedding."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * out_channels))
        self.block1 = Block(in_channels, out_channels)
        self.block2 = Block(out_channels, out_channels)
        self.res_conv = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(N, in, H, W) and the time embedding (N, time_width) → (N, out, H, W)."""
        scale, shift = self.mlp(time)[:, :, None, None].chunk(2, dim=1)
        y: Tensor = self.block2(self.block1(x, (scale, shift))) + self.res_conv(x)
        return y


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the number of pixels (Shen et al., 2021)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 3 * HEADS * HEAD_WIDTH, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(HEADS * HEAD_WIDTH, channels, 1), ChannelLayerNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        n, _, height, width = x.shape
        q, k, v = self.to_qkv(x).reshape(n, 3, HEADS, HEAD_WIDTH, height * width).unbind(1)
        context = k.softmax(dim=-1) @ v.transpose(-1, -2) / (height * width)
        mixed = context.transpose(-1, -2) @ (q.softmax(dim=-2) * HEAD_WIDTH**-0.5)
        y: Tensor = self.to_out(mixed.reshape(n, HEADS * HEAD_WIDTH, height, width))
        return y


class CosineAttention(nn.Module):
    """Full attention over pixels with unit-length queries and keys (Henry et al., 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 3 * HEADS * HEAD_WIDTH, 1, bias=False)
        self.to_out = nn.Conv2d(HEADS * HEAD_WIDTH, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        n, _, height, width = x.shape
        qkv = self.to_qkv(x).reshape(n, 3, HEADS, HEAD_WIDTH, height * width).transpose(-1, -2)
        q, k, v = qkv.unbind(1)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        mixed = functional.scaled_dot_product_attention(q, k, v, scale=COSINE_ATTENTION_SCALE)
        y: Tensor = self.to_out(mixed.transpose(-1, -2).reshape(n, HEADS * HEAD_WIDTH, height, width))
        return y


class PreNorm(nn.Module):
    """Normalises the channels before the wrapped module."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = ChannelLayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        y: Tensor = self.fn(self.norm(x))
        return y


class Residual(nn.Module):
    """Adds the input to what the wrapped module returns."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        y: Tensor = self.fn(x)
        return y + x


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of the time index at geometrically spaced frequencies, 1 down to 1/10,000."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, index: Tensor) -> Tensor:
        """(N,) integers → (N, width) float32, the sines first."""
        half = self.width // 2
        place = torch.arange(half, device=index.device)
        angles = index[:, None] * torch.exp(place * (-math.log(10_000) / (half - 1)))
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class Unet(nn.Module):
    """Four levels of two residual blocks and linear attention, a middle with full attention, and the way back up.

    Args:
        dim: channels of the first level, a multiple of 8; published DifFIQA uses 128.
    """

    def __init__(self, dim: int = PUBLISHED_DIM) -> None:
        super().__init__()
        self.dim = dim
        widths = [dim, *(dim * m for m in MULTIPLIERS)]
        pairs = list(itertools.pairwise(widths))
        last = len(pairs) - 1
        time = 4 * dim
        self.init_conv = nn.Conv2d(CHANNELS, dim, 7, padding=3)
        self.time_mlp = nn.Sequential(SinusoidalEmbedding(dim), nn.Linear(dim, time), nn.GELU(), nn.Linear(time, time))
        self.downs = nn.ModuleList(
            nn.ModuleList(
                [
                    ResidualBlock(narrow, narrow, time),
                    ResidualBlock(narrow, narrow, time),
                    Residual(PreNorm(narrow, LinearAttention(narrow))),
                    _half_size(narrow, wide) if i < last else _same_size(narrow, wide),
                ],
            )
            for i, (narrow, wide) in enumerate(pairs)
        )
        self.mid_block1 = ResidualBlock(widths[-1], widths[-1], time)
        self.mid_attn = Residual(PreNorm(widths[-1], CosineAttention(widths[-1])))
        self.mid_block2 = ResidualBlock(widths[-1], widths[-1], time)
        self.ups = nn.ModuleList(
            nn.ModuleList(
                [
                    ResidualBlock(wide + narrow, wide, time),
                    ResidualBlock(wide + narrow, wide, time),
                    Residual(PreNorm(wide, LinearAttention(wide))),
                    _double_size(wide, narrow) if i < last else _same_size(wide, narrow),
                ],
            )
            for i, (narrow, wide) in enumerate(reversed(pairs))
        )
        self.final_res_block = ResidualBlock(2 * dim, dim, time)
        self.final_conv = nn.Conv2d(dim, CHANNELS, 1)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """Predict what the diffusion was trained to predict (for DifFIQA the clean image).

        Args:
            x: (N, 3, H, W) float, RGB in about [-1, 1]; H and W multiples of 8.
            index: (N,) integer time index of each image.

        Returns:
            (N, 3, H, W), not clipped.
        """
        time = self.time_mlp(index)
        x = self.init_conv(x)
        stem = x
        skips: list[Tensor] = []
        for level in self.downs:
            first, second, attention, resample = _parts(level)
            x = first(x, time)
            skips.append(x)
            x = attention(second(x, time))
            skips.append(x)
            x = resample(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time)), time)
        for level in self.ups:
            first, second, attention, resample = _parts(level)
            x = first(torch.cat((x, skips.pop()), dim=1), time)
            x = second(torch.cat((x, skips.pop()), dim=1), time)
            x = resample(attention(x))
        x = self.final_res_block(torch.cat((x, stem), dim=1), time)
        y: Tensor = self.final_conv(x)
        return y

    def bake(self) -> None:
        """Standardise all kernels once: the same function, without that work in every pass. Inference only."""
        for module in self.modules():
            if isinstance(module, WeightStandardisedConv2d):
                module.bake()


def _parts(level: nn.Module) -> list[nn.Module]:
    return list(level.children())


def _half_size(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)


def _same_size(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _double_size(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), _same_size(in_channels, out_channels))


def unet_state(checkpoint: Mapping[str, Tensor], *, where: str, ema: bool = False) -> dict[str, Tensor]:
    """Pick the U-Net's tensors out of a checkpoint of any published layout.

    The tensors may stand bare, behind the diffusion wrapper's `model.`, an averager's `ema_model.` or `module.`; the
    wrapper's own buffers (betas and the like) are left behind.

    Args:
        checkpoint: name → tensor as read from the file.
        where: names the file in messages.
        ema: take the averaged weights where there are several; published DifFIQA inference uses the raw ones.

    Returns:
        `Unet` parameter name → tensor.

    Raises:
        WeightsError: no U-Net of the wanted kind is in there.
    """
    found = [n.removesuffix(_FIRST) for n in checkpoint if f".{n}".endswith(f".{_FIRST}")]
    unwanted = "online_model" if ema else "ema_model"
    fitting = [prefix for prefix in found if unwanted not in prefix.split(".")]
    if not fitting:
        kind = "averaged (EMA)" if ema else "raw"
        hint = f"only {found[0]}*, of the other kind" if found else "is it the checkpoint of another network?"
        raise WeightsError(f"{where}: no {kind} U-Net weights, no tensor named *{_FIRST}; {hint}")
    prefix = min(fitting, key=lambda p: (("ema_model" in p.split(".")) != ema, len(p)))
    inner = {n.removeprefix(prefix): t for n, t in checkpoint.items() if n.startswith(prefix)}
    return {n: t for n, t in inner.items() if n.split(".", 1)[0] in _CHILDREN}


def dim_of(state: Mapping[str, Tensor], *, where: str) -> int:
    """The `dim` of the `Unet` that a state of `unet_state` belongs to.

    Raises:
        WeightsError: the first convolution has no shape such a network can have.
    """
    shape = tuple(state[_FIRST].shape)
    if len(shape) != 4 or shape[0] % GROUPS or shape[0] < 2 * GROUPS or shape[1:] != (CHANNELS, 7, 7):
        raise WeightsError(
            f"{where}: {_FIRST} is {shape}, wanted (dim, {CHANNELS}, 7, 7) with dim a multiple of {GROUPS}; "
            "is it a checkpoint of another network?",
        )
    return shape[0]
