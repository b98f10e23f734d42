"""Making maps from raw numbers to 0..100: percentiles over a reference set of aligned crops."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.quality.calibration import Calibration, CalibrationTable, fit
from gate.scoring.fault import Failure, Fault
from gate.scoring.images import decode
from gate.scoring.inputs import Item, open_sources
from gate.types import CROP_SIDE_PX, Image

if TYPE_CHECKING:
    from gate.quality.method import CalibratedMethod

LEAST_CROPS = 100
"""A percentile of fewer crops is a guess."""


def sample_crops(inputs: Sequence[str], per_input: int, seed: int) -> Image:
    """Draw aligned crops, the same ones for the same inputs and seed.

    Args:
        inputs: folders, files, lists or archives of 112x112 images.
        per_input: how many to draw from each; all where there are fewer.
        seed: of the draw.

    Returns:
        (N, 112, 112, 3) uint8 RGB, in the order of the inputs.

    Raises:
        GateError: an input cannot be read, or there are too few crops.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    crops: list[Image] = []
    for source in open_sources(inputs):
        paths = [entry.path for entry in source if not isinstance(entry, Failure)]
        chosen = set(rng.choice(len(paths), min(per_input, len(paths)), replace=False).tolist()) if paths else set()
        items = (entry for entry in source if not isinstance(entry, Failure))
        crops += _decoded(item for number, item in enumerate(items) if number in chosen)
    if len(crops) < LEAST_CROPS:
        raise GateError(
            f"{len(crops)} readable 112x112 crops in {', '.join(inputs)}; a calibration needs {LEAST_CROPS} or more."
        )
    return np.stack(crops)


def _decoded(items: Iterator[Item]) -> Iterator[Image]:
    for item in items:
        data = item.read()
        image = data if isinstance(data, Fault) else decode(data, side_px=CROP_SIDE_PX)
        if not isinstance(image, Fault):
            yield image


def calibrate(method: "CalibratedMethod", crops: Image, *, description: str, seed: int) -> Calibration:
    """The map of `method` made from what it says about `crops`.

    Raises:
        GateError: the method gives a number that is not finite.
    """
    values: npt.NDArray[np.float32] = method.calibrated_value(method.raw(crops))
    if not np.isfinite(values).all():
        raise GateError(f"{method.name} gave {int((~np.isfinite(values)).sum())} numbers that are not finite.")
    return fit(values, method.calibration_key, description=description, seed=seed)


def add_to_file(file: Path, added: Calibration) -> None:
    """Put a map into a calibration file, in place of one of the same pairing; other maps stay.

    Raises:
        GateError: the file is there but is no calibration, or cannot be written.
    """
    table = CalibrationTable.load(file) if file.exists() else CalibrationTable((), str(file))
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text(table.with_map(added).to_text(), encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise GateError(f"{file}: {error.strerror}. Give a file that can be written with -o.") from None
