"""Times what is measured on every face without a network, on one core, and prints a table.

python benchmarks/signals.py
python benchmarks/signals.py --repeats 50
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CALLS = 50
"""Calls a repeat."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print median and quartiles of each part, in microseconds of processor time a face."""
    if str(ROOT) not in sys.path:
        # Neither the package nor this folder need be installed.
        sys.path.insert(0, str(ROOT))
    import cv2
    import skimage

    from gate.faces.align import TEMPLATE, align
    from gate.quality.light import Planes, measure_light
    from gate.quality.occlusion import occlusion
    from gate.quality.signals import measure, pose_deg
    from gate.types import Face

    parser = argparse.ArgumentParser(prog="benchmarks/signals.py", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args(arguments).repeats
    cv2.setNumThreads(1)
    bgr = np.asarray(cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png")))
    frame = np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
    landmarks = np.array([[203, 101], [247, 103], [223, 126], [202, 140], [246, 140]], dtype=np.float32)
    face = Face(np.array([180, 60, 90, 115], np.float32), landmarks, 0.9)
    crop = align(frame, landmarks[None])[0]
    bordered = crop.copy()
    bordered[90:] = 0
    planes = Planes.of(crop)
    parts: dict[str, Callable[[], object]] = {
        "align (for comparison)": lambda: align(frame, landmarks[None]),
        "pose": lambda: pose_deg(TEMPLATE.astype(np.float32)),
        "filters": lambda: Planes.of(crop),
        "sharpness and exposure": lambda: measure_light(planes),
        "occlusion": lambda: occlusion(planes),
        "all signals": lambda: measure(face, crop),
        "all signals, face at the frame's border": lambda: measure(face, bordered),
    }
    print(f"{'part':42} {'us a face':>10} {'quartiles':>14}")
    for name, part in parts.items():
        low, median, high = np.percentile([microseconds(part) for _ in range(repeats + 1)][1:], (25, 50, 75))
        print(f"{name:42} {median:10.0f} {low:7.0f}-{high:.0f}")
    return 0


def microseconds(part: Callable[[], object]) -> float:
    """Processor time of one call: it hardly notices what else the machine does."""
    started = time.thread_time()
    for _ in range(CALLS):
        part()
    return (time.thread_time() - started) / CALLS * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
