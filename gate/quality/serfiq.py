"""SER-FIQ: stochastic embedding robustness.

Terhörst, Kolf, Damer, Kirchbuchner, Kuijper: "SER-FIQ: Unsupervised Estimation of Face Image Quality Based on
Stochastic Embedding Robustness", CVPR 2020. The embeddings of a good crop stay close together when dropout switches
features off at random. Only the last layer is repeated.
"""

from collections import OrderedDict
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gate.errors import QualityError
from gate.quality.backbone import Backbone
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.graphs import Graphed
from gate.quality.names import nearest
from gate.quality.precision import resolve_precision
from gate.quality.torch_method import TorchMethod
from gate.types import FloatArray

VARIANTS = ("paper", "port")

PORT_SHARPNESS = 8.0
"""The constant s of the authors' later port."""

_SEEDS_KEPT = 4
_CHUNK_BYTES = 256 * 2**20
"""Dropped-out features held at a time: 25,088 features make 10 MB a crop, and more does not get faster."""


class Serfiq(TorchMethod):
    """raw = 2 / (1 + exp(mean pairwise distance)); score = raw, or 1 / (1 + exp(-alpha (raw - r))) where given."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        passes: int = 100,
        p: float | None = None,
        alpha: float | None = None,
        r: float | None = None,
        variant: str = "paper",
        precision: str = "auto",
    ) -> None:
        """Score with `backbone`.

        Args:
            backbone: a network with `trunk` and `head`.
            device: where `backbone` is.
            max_batch: most crops scored at once.
            calibration: maps to 0..100; default is the shipped ones.
            passes: T, how many stochastic embeddings a crop gets.
            p: share of features that dropout switches off; default is what the backbone was trained with.
            alpha: steepness of the published logistic, 130 there; it fits one network only and saturates with others.
            r: centre of the published logistic, 0.88 there.
            variant: `paper`, or `port` for the authors' later code: 2 / (1 + exp(8 m)) with m the sum over the pairs
                divided by T².
            precision: in which the trunk computes; the last layer, which is repeated, stays in float32.
        """
        super().__init__(
            name="serfiq", model=backbone.model, device=device, max_batch=max_batch, calibration=calibration
        )
        if variant not in VARIANTS:
            raise QualityError(f"serfiq: unknown variant {variant!r}{nearest(variant, VARIANTS)}")
        if passes < 2:
            raise QualityError(f"serfiq: passes must be at least 2, got {passes}")
        if (alpha is None) != (r is None):
            raise QualityError("serfiq: alpha and r belong together; give both or neither")
        self.passes = passes
        self.p = backbone.dropout_p if p is None else p
        if not 0 < self.p < 1:
            raise QualityError(f"serfiq: p must be between 0 and 1, got {self.p}")
        self.variant: Literal["paper", "port"] = "port" if variant == "port" else "paper"
        self.bytes_per_crop = 6 * backbone.footprint.largest_bytes
        self._logistic = None if alpha is None or r is None else (alpha, r)
        # Embeddings only: nothing here reads layer statistics.
        self._backbone = backbone.lean(resolve_precision("serfiq", precision, device))
        self._features = Graphed(self._backbone.features, device)
        self._masks: OrderedDict[int, Tensor] = OrderedDict()

    def calibration_options(self) -> dict[str, OptionValue]:
        """See `TorchMethod.calibration_options`. The logistic is left out: quality is a quantile of raw."""
        return {"passes": self.passes, "p": self.p, "variant": self.variant}

    def score_of(self, raw: FloatArray) -> FloatArray:
        """The published logistic where its two numbers are given, else the raw number itself."""
        if self._logistic is None:
            return raw
        alpha, r = self._logistic
        return published_score(raw, alpha=alpha, r=r)

    def _calibrated_value(self, raw: FloatArray) -> FloatArray:
        # Monotone in the score, and the logistic may have saturated it.
        return raw

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        features = self._features(self._backbone.inputs(crops))
        result = features.new_empty(len(seeds))
        for seed in dict.fromkeys(seeds):
            rows = torch.tensor([i for i, other in enumerate(seeds) if other == seed], device=features.device)
            result[rows] = self._robustness(features[rows], self._mask(seed, features.shape[1]))
        return result

    def _robustness(self, features: Tensor, mask: Tensor) -> Tensor:
        """(n, F) features and a (T, F) mask to (n,) raw numbers."""
        chunk = max(1, _CHUNK_BYTES // (mask.numel() * mask.element_size()))
        numbers = []
        for part in torch.split(features, chunk):
            dropped = (part[:, None, :] * mask[None]).flatten(0, 1)
            embeddings = self._backbone.project_unnormalised(dropped)
            numbers.append(raw_of_embeddings(embeddings.view(len(part), self.passes, -1), self.variant))
        return torch.cat(numbers)

    def _mask(self, seed: int, size: int) -> Tensor:
        """(T, F): 1 / (1 - p) where a feature stays, 0 where it goes; drawn on the CPU, the same everywhere."""
        mask = self._masks.get(seed)
        if mask is None:
            generator = torch.Generator().manual_seed(seed)
            stays = torch.rand((self.passes, size), generator=generator) >= self.p
            mask = stays.to(torch.float32).div_(1 - self.p).to(self.device)
            self._masks[seed] = mask
            if len(self._masks) > _SEEDS_KEPT:
                self._masks.popitem(last=False)
        return mask


def raw_of_embeddings(embeddings: Tensor, variant: Literal["paper", "port"] = "paper") -> Tensor:
    """(N, T, D) stochastic embeddings, of any length, to the (N,) raw numbers."""
    unit = torch.nn.functional.normalize(embeddings.to(torch.float32), dim=2)
    # Distances do not change when the mean is taken away, and the small differences that remain keep their digits:
    # |a|² + |b|² - 2ab of unit vectors loses them where a and b are close.
    offset = unit - unit.mean(dim=1, keepdim=True)
    gram = offset @ offset.transpose(1, 2)
    squares = gram.diagonal(dim1=1, dim2=2)
    distances = (squares[:, :, None] + squares[:, None, :] - 2 * gram).clamp_(min=0).sqrt_()
    distances.diagonal(dim1=1, dim2=2).zero_()
    passes = embeddings.shape[1]
    pairs_sum = distances.sum(dim=(1, 2)) / 2
    if variant == "port":
        return 2 / (1 + torch.exp(PORT_SHARPNESS * pairs_sum / passes**2))
    return 2 / (1 + torch.exp(pairs_sum / (passes * (passes - 1) / 2)))


def published_score(raw: FloatArray, *, alpha: float = 130.0, r: float = 0.88) -> FloatArray:
    """The published logistic, 1 / (1 + exp(-alpha (raw - r))), (N,) float32."""
    exponent = np.clip(-alpha * (raw.astype(np.float64) - r), -700.0, 700.0)
    return (1.0 / (1.0 + np.exp(exponent))).astype(np.float32)
