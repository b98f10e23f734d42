"""What one run of `gate score` is asked to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.errors import GateError
from gate.scoring.crops import Choice
from gate.scoring.formats import format_of


@dataclass(frozen=True, slots=True)
class DetectorChoice:
    """How the face of an image is found."""

    name: str = "yunet"
    """`yunet` or `scrfd`."""

    weights: str | None = None
    """Zoo name or path; default is the detector's own entry."""

    min_score: float = 0.6
    """Detections below this confidence are not faces."""

    faces: Choice = "largest"
    """Which of several faces is scored."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one run shall do. `detector` None means that images are aligned crops already."""

    method: str
    paths: Sequence[str] = ()
    lists: Sequence[str] = ()
    backbone: str | None = None
    weights: str | None = None
    calibration: Path | None = None
    device: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    seed: int = 0
    detector: DetectorChoice | None = None
    format: str | None = None
    """`txt`, `csv`, `jsonl` or `pickle`; None is by the extension of `output`."""
    value: str | None = None
    """`score`, `raw` or `quality`: the number of txt and pickle; None is the score, and GraFIQs' raw for φ = all."""
    output: str | None = None
    """A file; None is standard output. With φ = all a folder, or the file name that five names are made of."""
    replace: tuple[str, str] | None = None
    """A prefix of paths, and what stands in the output instead of it."""
    errors: Path | None = None
    """Gets `path,reason` of each image without a score."""
    overwrite: bool = False
    """Start again instead of continuing."""

    @property
    def all_phis(self) -> bool:
        """Whether GraFIQs shall give all of its numbers."""
        return self.method == "grafiqs" and self.options.get("phi") == "all"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise GateError(f"--batch-size {self.batch_size}: expected at least 1.")
        if self.value is not None and self.is_table:
            raise GateError(f"--value goes with txt and pickle; {self.file_format} has a column for each.")
        if self.output is None and (self.file_format == "pickle" or self.all_phis):
            raise GateError("a pickle, and the five files of --phi all, need -o.")
        if self.output is not None and self.errors is not None and Path(self.output) == self.errors:
            raise GateError("-o and --errors are the same file.")

    @property
    def file_format(self) -> str:
        """The format that results are written in."""
        return self.format or format_of(self.output or "")

    @property
    def is_table(self) -> bool:
        """Whether a row has all numbers that there are, and not just one."""
        return self.file_format in {"csv", "jsonl"}
