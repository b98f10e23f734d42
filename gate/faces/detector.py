"""The seam between the gate and whatever finds faces."""

from typing import Protocol

from gate.types import Face, Image


class Detector(Protocol):
    """Finds faces in one picture. Used by one thread."""

    name: str
    """Name as in the configuration."""

    device: str
    """Where it really runs, such as `cpu` or `cuda`; read back from the library, not from the wish."""

    def detect(self, image: Image) -> list[Face]:
        """Faces in an (H, W, 3) uint8 RGB picture, best score first, in full-frame pixels; finite numbers only."""
        ...
