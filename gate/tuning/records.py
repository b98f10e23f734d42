"""What a shadow run remembers of a face: numbers, never a picture."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from gate.config import DecideConfig
from gate.decide.bars import Circumstances, cheap_reasons, quality_reasons
from gate.reasons import Reason
from gate.types import Face, Signals


@dataclass(frozen=True, slots=True, eq=False)
class FaceRecord:
    """One face, with all that a verdict needs."""

    camera: str

    visit: str
    """ULID of the visit."""

    time_ms: int
    """Unix milliseconds at decode."""

    face: Face
    """The detection: box, landmarks and the detector's score."""

    signals: Signals

    at: Circumstances
    """Where it was; its age is 0, for a shadow run is slower than the gate."""

    quality: float | None
    """Calibrated, 0..100; None where no method gave a number."""

    raw: float | None
    method: str
    model: str


Reasons = tuple[Reason, ...]


def judge(records: Iterable[FaceRecord], rules: DecideConfig) -> list[Reasons]:
    """What would have spoken against each face of one camera under these rules, the decisive reason first.

    The bars alone: who was published lately (`duplicate`) and how old a frame was (`stale`) is not asked.
    """
    passed: set[str] = set()
    verdicts: list[Reasons] = []
    for record in records:
        reasons = cheap_reasons(rules, record.face, record.signals, record.at)
        if not reasons:
            quality = float("nan") if record.quality is None else record.quality
            reasons = quality_reasons(rules, quality, passed_before=record.visit in passed)
        if not reasons:
            passed.add(record.visit)
        verdicts.append(tuple(reasons))
    return verdicts


_SIGNALS = tuple(field.name for field in fields(Signals))

_COLUMNS = (
    *("camera", "visit", "time_ms", "verdict", "reasons", "quality", "raw", "method", "model"),
    *("detector_score", "face_px", "outside_share", *_SIGNALS),
)


def faces_csv(records: Sequence[FaceRecord], verdicts: Sequence[Reasons]) -> str:
    """One line a face: when, which visit, what was measured, and the verdict under today's rules."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record, reasons in zip(records, verdicts, strict=True):
        numbers = {
            "quality": record.quality,
            "raw": record.raw,
            "detector_score": record.face.score,
            "face_px": float(record.face.box_xywh[3]),
            "outside_share": record.at.outside_share,
            **asdict(record.signals),
        }
        words = {
            "camera": record.camera,
            "visit": record.visit,
            "time_ms": record.time_ms,
            "verdict": "rejected" if reasons else "accepted",
            "reasons": " ".join(reason.value for reason in reasons),
            "method": record.method,
            "model": record.model,
        }
        writer.writerow({**words, **{name: _number(value) for name, value in numbers.items()}})
    return out.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
