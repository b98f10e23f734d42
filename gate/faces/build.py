"""The detector that the configuration names."""

from collections.abc import Sequence
from pathlib import Path

from gate.errors import ConfigError
from gate.faces.detector import Detector

DEFAULT_WEIGHTS = {"yunet": "yunet", "scrfd": "scrfd-500m"}
"""Detector to the zoo name of the weights it takes when none are named."""


def build_detector(
    name: str,
    weights: str | Path,
    *,
    root: Path | None = None,
    min_score: float = 0.6,
    nms_iou: float = 0.3,
    max_side_px: int = 640,
    providers: Sequence[str] | None = None,
) -> Detector:
    """Load a detector; its libraries are imported here and not before.

    Args:
        name: `yunet` or `scrfd`.
        weights: A file; for scrfd also the name of an insightface pack below `root`.
        root: scrfd: folder that holds `models/<pack>`; default is insightface's own.
        min_score: Detections below this confidence are left out.
        nms_iou: Of two detections that overlap more than this, the better one stays.
        max_side_px: Longer side to which frames are scaled down.
        providers: scrfd: onnxruntime providers in order of preference; default is CUDA where it is there, else the CPU.

    Raises:
        ConfigError: there is no detector of this name.
        WeightsError: the weights are missing or of another network.
        DeviceError: none of the providers is there.
    """
    if name == "yunet":
        from gate.faces.yunet import YuNetDetector

        return YuNetDetector(Path(weights), min_score=min_score, nms_iou=nms_iou, max_side_px=max_side_px)
    if name == "scrfd":
        from gate.faces.scrfd import ScrfdDetector

        return ScrfdDetector(
            weights, root=root, min_score=min_score, nms_iou=nms_iou, max_side_px=max_side_px, providers=providers
        )
    raise ConfigError(f"there is no detector {name!r}; detector.name is yunet or scrfd")
