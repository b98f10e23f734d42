"""What a quality method must beat: numbers that cost one forward pass or none."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from gate.quality.graphs import Graphed
from gate.quality.precision import resolve_precision
from gate.quality.torch_method import TorchMethod

if TYPE_CHECKING:
    from gate.quality.backbone import Backbone
    from gate.quality.calibration import CalibrationTable

_INFERENCE_ACTIVATIONS = 6
"""How many activations of the largest size an inference pass holds at a time, a convolution's workspace included."""


class _EmbeddingBaseline(TorchMethod):
    """A number from embeddings alone."""

    def __init__(
        self,
        backbone: "Backbone",
        *,
        name: str,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: "CalibrationTable | None" = None,
        precision: str = "auto",
    ) -> None:
        super().__init__(name=name, model=backbone.model, device=device, max_batch=max_batch, calibration=calibration)
        self.bytes_per_crop = _INFERENCE_ACTIVATIONS * backbone.footprint.largest_bytes
        self._backbone = backbone.lean(resolve_precision(name, precision, device))
        self._embed = Graphed(self._embedding, device)

    def _embedding(self, inputs: Tensor) -> Tensor:
        return self._backbone.embed(inputs)


class EmbeddingNorm(_EmbeddingBaseline):
    """raw = score = length of the embedding before any L2 normalisation.

    With a MagFace network (Meng et al., CVPR 2021), which was trained to make it so, this is the published MagFace
    quality; with other networks it is the folklore that length grows with quality.
    """

    def __init__(
        self,
        backbone: "Backbone",
        *,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: "CalibrationTable | None" = None,
        precision: str = "auto",
        name: str = "embedding-norm",
    ) -> None:
        super().__init__(
            backbone, name=name, device=device, max_batch=max_batch, calibration=calibration, precision=precision
        )

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        del seeds
        norms: Tensor = torch.linalg.vector_norm(self._embed(self._backbone.inputs(crops)), dim=1)
        return norms

    def _embedding(self, inputs: Tensor) -> Tensor:
        if self._backbone.l2_normalised:
            return self._backbone.project_unnormalised(self._backbone.features(inputs))
        return super()._embedding(inputs)


class MirrorCosine(_EmbeddingBaseline):
    """raw = score = cosine between the embeddings of the crop and of its mirror image."""

    def __init__(
        self,
        backbone: "Backbone",
        *,
        device: str = "cpu",
        max_batch: int = 32,
        calibration: "CalibrationTable | None" = None,
    ) -> None:
        super().__init__(backbone, name="mirror-cosine", device=device, max_batch=max_batch, calibration=calibration)
        self.bytes_per_crop *= 2

    @torch.inference_mode()
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        del seeds
        inputs = self._backbone.inputs(crops)
        original, mirrored = self._embed(torch.cat([inputs, inputs.flip(3)])).chunk(2)
        return functional.cosine_similarity(original, mirrored, dim=1)
