"""The detector that the configuration names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.faces.detector import Detector
from gate.inference import Backend, engine_for

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
    backend: Backend = "torch",
    threads: int | None = None,
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
        backend: yunet: by OpenVINO where that is, or is found to be, the choice; by OpenCV otherwise.
        threads: of one run of OpenVINO; OpenCV's belong to the process.

    Raises:
        ConfigError: there is no detector of this name.
        WeightsError: the weights are missing or of another network.
        DeviceError: none of the providers, or the backend, is there.
    """
    if name == "yunet":
        options: dict[str, Any] = {"min_score": min_score, "nms_iou": nms_iou, "max_side_px": max_side_px}
        if engine_for(backend) == "openvino":
            from gate.faces.yunet_openvino import OpenVinoYuNet

            return OpenVinoYuNet(Path(weights), threads=threads, **options)
        from gate.faces.yunet import YuNetDetector

        return YuNetDetector(Path(weights), **options)
    if name == "scrfd":
        from gate.faces.scrfd import ScrfdDetector

        return ScrfdDetector(
            weights, root=root, min_score=min_score, nms_iou=nms_iou, max_side_px=max_side_px, providers=providers
        )
    raise ConfigError(f"there is no detector {name!r}; detector.name is yunet or scrfd")
