"""What a network must be fed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gate.types import CROP_SIDE_PX, FloatArray, Image

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class InputContract:
    """What a network wants to see: value = (x - mean) / scale for x on 0..255, in the given colour order."""

    colour: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels."""

    mean: float = 127.5
    """Taken from every value, on the 0..255 scale."""

    scale: float = 127.5
    """What is left is divided by this, on the 0..255 scale."""

    side_px: int = CROP_SIDE_PX
    """Height and width of the input."""

    def normalise(self, crops: "Tensor") -> "Tensor":
        """(N, H, W, 3) uint8 RGB to (N, 3, side, side) float32 as the network wants it, resized where sides differ."""
        import torch

        images = crops.permute(0, 3, 1, 2).to(torch.float32)
        if images.shape[2:] != (self.side_px, self.side_px):
            size = (self.side_px, self.side_px)
            images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        return self._ordered((images - self.mean) / self.scale).contiguous()

    def normalised(self, crops: Image) -> FloatArray:
        """`normalise` for arrays; without torch where nothing has to be resized."""
        if crops.shape[1:3] != (self.side_px, self.side_px):
            import torch

            resized: FloatArray = self.normalise(torch.from_numpy(np.array(crops))).numpy()
            return resized
        ordered = crops if self.colour == "rgb" else crops[..., ::-1]
        values = ordered.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        values -= np.float32(self.mean)
        values /= np.float32(self.scale)
        return values

    def from_unit(self, unit_rgb: "Tensor") -> "Tensor":
        """(N, 3, H, W) float RGB in [0, 1] to the network's input; differentiable."""
        return self._ordered(unit_rgb * (255.0 / self.scale) - self.mean / self.scale)

    def from_signed(self, signed_rgb: "Tensor") -> "Tensor":
        """(N, 3, H, W) float RGB in [-1, 1] to the network's input; differentiable."""
        return self._ordered(signed_rgb * (127.5 / self.scale) + (127.5 - self.mean) / self.scale)

    def _ordered(self, rgb: "Tensor") -> "Tensor":
        return rgb if self.colour == "rgb" else rgb.flip(1)


CONTRACTS = {
    "arcface": InputContract("rgb", 127.5, 127.5),
    "adaface": InputContract("bgr", 127.5, 127.5),
    "magface": InputContract("bgr", 0.0, 255.0),
    "facexzoo": InputContract("bgr", 127.5, 128.0),
}
"""Input contracts of the published families."""
