"""FaceQAN: how steadily a face's embedding stands against adversarial noise, times the symmetry of the face.

Babnik, Peer and Štruc, "FaceQAN: Face image quality assessment through adversarial noise exploration", ICPR 2022.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from gate.nets.fold import folded
from gate.quality.backbone import Backbone
from gate.quality.calibration import CalibrationTable, OptionValue
from gate.quality.options import check_count, check_fraction
from gate.quality.torch_method import TorchMethod
from gate.types import CROP_SIDE_PX

LOWEST, HIGHEST = -1.0, 1.0
"""Where the published code clamps its images, although they live in [0, 1]."""

SHAPE = (3, CROP_SIDE_PX, CROP_SIDE_PX)


class NoiseSource(Protocol):
    """Where the first perturbation comes from."""

    def __call__(self, seed: int, count: int, epsilon: float) -> Tensor:
        """(count, 3, 112, 112) float32 on the CPU, uniform in [-epsilon, epsilon], for the crop with this seed."""
        ...


def seeded_noise(seed: int, count: int, epsilon: float) -> Tensor:
    """A generator for each crop; on the CPU, so that a seed means the same noise on every device."""
    generator = torch.Generator().manual_seed(seed % 2**64)
    return torch.empty((count, *SHAPE)).uniform_(-epsilon, epsilon, generator=generator)


class FaceQAN(TorchMethod):
    """Adversarial noise exploration: raw is the published score, higher is better, at most 1.

    Crops share passes: a gradient's sign does not depend on how many other losses are summed with its own.

    Args:
        backbone: the recognition network that is attacked.
        device: the backbone's own.
        max_batch: most crops in a batch.
        calibration: maps to 0..100, by default the shipped ones.
        epsilon: bound of the noise and size of a step, on the [0, 1] scale.
        iterations: how often each adversarial example is scored; one step lies between two scores (l).
        examples: adversarial examples of a crop (k).
        power: exponent of the score (p); an odd one keeps the sign of the symmetry.
        noise: where the first perturbation comes from.

    Raises:
        QualityError: an option is out of its range.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str,
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
        epsilon: float = 0.001,
        iterations: int = 5,
        examples: int = 10,
        power: int = 5,
        noise: NoiseSource = seeded_noise,
    ) -> None:
        super().__init__(
            name="faceqan", model=backbone.model, device=device, max_batch=max_batch, calibration=calibration
        )
        for option, value in (("iterations", iterations), ("examples", examples), ("power", power)):
            check_count("faceqan", option, value)
        check_fraction("faceqan", "epsilon", epsilon)
        self._epsilon, self._iterations, self._examples, self._power = epsilon, iterations, examples, power
        self._contract, self._noise = backbone.contract, noise
        on_gpu = torch.device(device).type == "cuda"
        # A sign turns rounding into a step, and rounding depends on the shape of a pass: on the CPU crops pass one by
        # one, so that a score is the same to the last bit in any batch (two at a time differ by up to 9e-5 and gain
        # 5 %). A GPU needs the batch.
        self._crops_per_pass = max_batch if on_gpu else 1
        twin = folded(backbone.net)
        self._net = backbone.net if twin is None else twin
        self._layout = torch.contiguous_format
        if twin is not None and not on_gpu:
            # 16 instead of 20 ms an example on one core. Networks of unknown structure may not take this layout.
            self._layout = torch.channels_last
            twin.to(memory_format=torch.channels_last)
        self.bytes_per_crop = examples * 2 * backbone.footprint.total_bytes

    def calibration_options(self) -> dict[str, OptionValue]:
        """All four of the paper's parameters."""
        return {
            "epsilon": self._epsilon,
            "iterations": self._iterations,
            "examples": self._examples,
            "power": self._power,
        }

    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        size = self._crops_per_pass
        parts = [slice(start, start + size) for start in range(0, len(seeds), size)]
        return torch.cat([self._score(crops[part], seeds[part]) for part in parts])

    @torch.inference_mode(mode=False)
    def _score(self, crops: Tensor, seeds: list[int]) -> Tensor:
        unit = crops.permute(0, 3, 1, 2).to(torch.float32) / 255
        with torch.no_grad():
            reference, mirrored = self._embed(torch.cat((unit, unit.flip(-1)))).chunk(2)
        symmetry = functional.cosine_similarity(reference, mirrored, dim=1)
        steady = self._similarities(unit, reference, seeds).flatten(1)
        spread = steady.std(dim=1, correction=0)
        return ((1 + steady.mean(dim=1)) / 2 * (1 - spread).clamp(0, 1) * symmetry) ** self._power

    def _similarities(self, unit: Tensor, reference: Tensor, seeds: list[int]) -> Tensor:
        """Cosines between the crops and their adversarial examples, (n, iterations, examples)."""
        noise = torch.cat([self._noise(seed, self._examples, self._epsilon) for seed in seeds]).to(unit.device)
        start = unit.repeat_interleave(self._examples, dim=0) + noise
        cosines = self._explore(start, reference.repeat_interleave(self._examples, dim=0))
        return cosines.reshape(self._iterations, len(seeds), self._examples).transpose(0, 1)

    def _explore(self, start: Tensor, reference: Tensor) -> Tensor:
        """Walk the examples away from their references; (iterations, len(start)) cosines on the way."""
        x = start.clamp(LOWEST, HIGHEST)
        cosines = []
        for iteration in range(self._iterations):
            # What comes after the last cosine is never scored, so nobody needs its gradient.
            last = iteration == self._iterations - 1
            with torch.set_grad_enabled(not last):
                x = x.detach().requires_grad_(not last)
                cosine = functional.cosine_similarity(reference, self._embed(x), dim=1)
            cosines.append(cosine.detach())
            if not last:
                (slope,) = torch.autograd.grad(cosine.sum(), x)
                x = (x.detach() - self._epsilon * slope.sign()).clamp(LOWEST, HIGHEST)
        return torch.stack(cosines)

    def _embed(self, unit_rgb: Tensor) -> Tensor:
        embedding: Tensor = self._net(self._contract.from_unit(unit_rgb).contiguous(memory_format=self._layout))
        return embedding
