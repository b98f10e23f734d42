"""SCRFD through insightface.

Guo, Deng, Lattas, Zafeiriou: "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022.
"""

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gate.errors import DeviceError, WeightsError
from gate.faces.assemble import assemble_faces
from gate.faces.shrink import shrink
from gate.types import Face, Image

_LICENCE = "insightface's weights are for non-commercial research only"

_STRIDE_PX = 32
"""The network's coarsest step; sides of its input are multiples of it."""

_DEFAULT_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

_DETECTOR_PREFIXES = ("det_", "scrfd", "retinaface")
"""How the detection file is called in the published packs; others are tried after it."""


class ScrfdDetector:
    """Faces by the detection module of an insightface pack, run by onnxruntime."""

    name = "scrfd"

    device: str
    """`cpu`, `cuda`, …: the first provider of the session that was really made."""

    def __init__(
        self,
        path_or_pack: str | Path,
        *,
        root: Path | None = None,
        min_score: float = 0.6,
        nms_iou: float = 0.3,
        max_side_px: int = 640,
        providers: Sequence[str] | None = None,
    ) -> None:
        """Load the network. Nothing is downloaded.

        Args:
            path_or_pack: An ONNX file, or the name of a pack such as `buffalo_l`.
            root: Folder that holds `models/<pack>`; default is insightface's own, `~/.insightface`.
            min_score: Detections below this confidence are left out.
            nms_iou: Of two detections that overlap more than this, the better one stays.
            max_side_px: Longer side to which frames are scaled down; smaller frames are not scaled up.
            providers: onnxruntime providers in order of preference; default is CUDA where it is there, else the CPU.

        Raises:
            WeightsError: file or pack is missing, or holds no detector with five landmarks.
            DeviceError: none of the providers is in this onnxruntime.
        """
        wanted = _available(providers)
        self._net = _load(_detection_candidates(path_or_pack, root), wanted)
        self._net.prepare(0, det_thresh=min_score, nms_thresh=nms_iou)
        self._max_side_px = max_side_px
        self._fixed_wh = _fixed_size(self._net.session)
        self.device = _device_of(self._net.session.get_providers())

    def detect(self, image: Image) -> list[Face]:
        """Faces in an (H, W, 3) uint8 RGB picture, best score first, in full-frame pixels. Used by one thread."""
        height, width = image.shape[:2]
        if not (height and width):
            return []
        fixed = self._fixed_wh
        small = shrink(image, min(self._max_side_px, *fixed) if fixed else self._max_side_px)
        canvas = _bgr_canvas(small.image, fixed)
        # A canvas of the size asked for is not scaled again by insightface, which would enlarge small pictures.
        rows, points = self._net.detect(canvas, input_size=(canvas.shape[1], canvas.shape[0]))
        scale = np.array([small.scale_x, small.scale_y])
        corners = np.asarray(rows[:, :4], dtype=np.float64) * np.tile(scale, 2)
        with np.errstate(invalid="ignore"):  # infinite corners have a size of NaN and drop out below
            size = corners[:, 2:] - corners[:, :2]
        return assemble_faces(
            np.concatenate([corners[:, :2], size], axis=1),
            np.asarray(points, dtype=np.float64) * scale,
            rows[:, 4],
            width_px=width,
            height_px=height,
        )


def _bgr_canvas(image: Image, fixed_wh: tuple[int, int] | None) -> Image:
    """Put an RGB picture into the top left of a black BGR one whose sides the network accepts."""
    height, width = image.shape[:2]
    canvas_w, canvas_h = fixed_wh or (-(-width // _STRIDE_PX) * _STRIDE_PX, -(-height // _STRIDE_PX) * _STRIDE_PX)
    canvas = np.zeros((canvas_h, canvas_w, 3), dtype=np.uint8)
    canvas[:height, :width] = image[:, :, ::-1]
    return canvas


def _available(providers: Sequence[str] | None) -> list[str]:
    import onnxruntime

    there = onnxruntime.get_available_providers()
    wanted = [name for name in (providers or _DEFAULT_PROVIDERS) if name in there]
    if not wanted:
        raise DeviceError(
            f"this onnxruntime offers {', '.join(there)}, not {', '.join(providers or _DEFAULT_PROVIDERS)}. "
            "Install onnxruntime-gpu instead of onnxruntime for CUDA, or choose another provider."
        )
    return wanted


def _detection_candidates(path_or_pack: str | Path, root: Path | None) -> list[Path]:
    """ONNX files that may be the detector, the most likely one first."""
    path = Path(path_or_pack).expanduser()
    if path.is_file():
        return [path]
    if path.suffix == ".onnx":
        raise WeightsError(f"no SCRFD weights at {path}. Name an existing ONNX file or a pack; {_LICENCE}.")
    folder = (root or Path("~/.insightface")).expanduser() / "models" / path_or_pack
    files = sorted(folder.glob("*.onnx"))
    if not files:
        raise WeightsError(
            f"no insightface pack {str(path_or_pack)!r}: looked for ONNX files in {folder}. Nothing is fetched here: "
            f"put the pack there, or set detector.root to the folder that holds models/; {_LICENCE}."
        )
    return sorted(files, key=lambda file: not file.name.startswith(_DETECTOR_PREFIXES))


def _load(files: list[Path], providers: list[str]) -> Any:
    """Load the first file that insightface takes for a detector with landmarks."""
    faults = []
    for file in files:
        try:
            net = _read_model(file, providers)
        # onnxruntime raises its own classes for unreadable files, insightface asserts and IndexErrors.
        except Exception as error:  # noqa: BLE001
            faults.append(f"{file.name}: {type(error).__name__}")
            continue
        if getattr(net, "taskname", None) == "detection" and getattr(net, "use_kps", False):
            return net
        faults.append(f"{file.name}: not a detector with five landmarks")
    raise WeightsError(f"no SCRFD detector in {files[0].parent} ({'; '.join(faults)}). Name a detection ONNX file.")


def _read_model(file: Path, providers: list[str]) -> Any:
    """Ask insightface's model zoo, without its prints and warnings."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Waiting threads that spin took 36 ms of CPU a frame instead of 14, and more wall time, beside other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from insightface.model_zoo import get_model

        # One session for every frame size: insightface 2 would keep another copy of the network for each.
        return get_model(
            str(file), providers=providers, sess_options=options, static_shape_sessions=False, download=False
        )


def _fixed_size(session: Any) -> tuple[int, int] | None:
    """(width, height) where the network takes one size only."""
    height, width = session.get_inputs()[0].shape[2:4]
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _device_of(providers: Sequence[str]) -> str:
    """`CUDAExecutionProvider` first in the list → `cuda`."""
    return providers[0].removesuffix("ExecutionProvider").lower()
