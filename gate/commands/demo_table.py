"""What `gate demo` shows while it runs, from the same numbers as `/status`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Status = Mapping[str, Any]


def table(status: Status) -> "Table":
    """A row a camera, for a terminal."""
    from rich.table import Table

    result = Table(caption=_delivery(status), caption_justify="left")
    faces = ("accepted", "rejected", "not scored")
    for heading in ("camera", "fps", "visits", *faces, "best quality", "latency p50 / p95"):
        result.add_column(heading)
    for name, camera in status["cameras"].items():
        result.add_row(
            f"{name} ({camera['state']})",
            f"{camera['fps']:.0f}",
            _visits(camera),
            str(camera["faces"]["accepted"]),
            _rejected(camera, "\n"),
            str(camera["faces"]["unscored"]),
            _number(camera["best_quality"]),
            _latency(camera),
        )
    return result


def plain_line(status: Status) -> str:
    """One line for a log, all cameras."""
    cameras = (
        f"{name} {camera['state']} {camera['fps']:.0f} fps, visits {_visits(camera)}, "
        f"accepted {camera['faces']['accepted']}, rejected {_rejected(camera, ', ')}, "
        f"not scored {camera['faces']['unscored']}, best {_number(camera['best_quality'])}, latency {_latency(camera)}"
        for name, camera in status["cameras"].items()
    )
    return " | ".join((*cameras, _delivery(status)))


def _visits(camera: Status) -> str:
    visits = camera["visits"]
    return f"{visits['published']} published, {visits['unusable']} unusable"


def _rejected(camera: Status, separator: str) -> str:
    faces = camera["faces"]
    if not faces["rejected"]:
        return "0"
    by_count = sorted(faces["reasons"].items(), key=lambda reason: -reason[1])
    return f"{faces['rejected']}: " + separator.join(f"{name} {count}" for name, count in by_count)


def _latency(camera: Status) -> str:
    latency = camera["latency_ms"]
    return f"{_number(latency['p50'])} / {_number(latency['p95'])} ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _delivery(status: Status) -> str:
    redis = status["redis"]
    return f"redis {redis['state']}, {status['total']['published']} events published, {redis['waiting_events']} waiting"
