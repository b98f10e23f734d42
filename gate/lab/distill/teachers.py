"""Recognition networks as teachers: embeddings with their length, which alone says something about quality."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from gate.lab.recognizers import Embedder
from gate.lab.scores import MethodRequest
from gate.types import FloatArray, Image

if TYPE_CHECKING:
    from gate.quality.backbone import Backbone

_ROWS = 8
"""Crops at once on a CPU, where larger batches leave its cache."""


class BackboneTeacher:
    """A backbone of the zoo, before its L2 normalisation."""

    def __init__(self, backbone: "Backbone") -> None:
        self.name = backbone.name
        self.model = backbone.model
        self._backbone = backbone.folded

    def embed(self, crops: Image) -> FloatArray:
        """See `gate.lab.distill.teach.Teacher`."""
        import torch

        backbone = self._backbone
        rows = _ROWS if backbone.device == "cpu" else len(crops)
        answers = []
        with torch.inference_mode():
            for start in range(0, len(crops), rows):
                images = torch.from_numpy(crops[start : start + rows]).to(backbone.device)
                features = backbone.features(backbone.inputs(images))
                answers.append(backbone.project_unnormalised(features).float().cpu().numpy())
        return np.concatenate(answers)


class EmbedderTeacher:
    """Any recognizer of the laboratory; its embeddings are taken as they are."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = embedder.name
        self.model = embedder.model
        self._embedder = embedder

    def embed(self, crops: Image) -> FloatArray:
        """See `gate.lab.distill.teach.Teacher`."""
        return self._embedder.embed(crops)


class Witness:
    """A quality method that is asked as teachers are; its (N, 1) scores help to foretell labels, they are none."""

    def __init__(self, spec: str, device: str, seed: int) -> None:
        """`spec` as `gate evaluate --method` takes it; raises as `gate.quality.load_method`."""
        self._method = MethodRequest.parse(spec).load(device)
        self.model = self._method.model or self._method.name
        self.name = f"witness {self.model}"
        self._seed = seed
        # Several threads make the pictures; a method is used by one at a time.
        self._turn = threading.Lock()

    def embed(self, crops: Image) -> FloatArray:
        """(N, 112, 112, 3) uint8 RGB to (N, 1) float32."""
        with self._turn:
            return self._method.score(crops, seeds=self._seed)[:, None]
