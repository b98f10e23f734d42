"""How long the engine waits for the spool to keep a face, and how fast a backlog is read back.

python benchmarks/spool.py [FOLDER]    FOLDER lies on the disk to measure; default is the system's temporary folder
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gate.clock import SystemClock
from gate.publish.event import FaceEvent, encode
from gate.publish.spool import SpooledBacklog, SpoolLimits
from gate.publish.waiting import Waiting

CROP_BYTES = 10_000


class Prints:
    """Says what goes wrong."""

    def dropped(self, reason: str, n: int) -> None:
        """See `BacklogObserver.dropped`."""
        print(f"dropped {n}: {reason}")

    def spool_failed(self, cause: str, message: str) -> None:
        """See `BacklogObserver.spool_failed`."""
        print(f"{cause}: {message}")

    def spool_kept(self) -> None:
        """See `BacklogObserver.spool_kept`."""


def face(number: int, crop: bytes) -> Waiting:
    """A face of the usual size."""
    event = FaceEvent(
        event_id=f"01JD00000000000000000{number:05d}",
        camera="door",
        visit="01JD0000000000000000000000",
        seq=number,
        final=False,
        captured_ms=1_700_000_000_000,
        width=1920,
        height=1080,
        box=(1.0, 2.0, 3.0, 4.0),
        landmarks=tuple(map(float, range(10))),
        det_score=0.9,
        quality=70.0,
        raw=0.1,
        method="grafiqs",
        model="facexzoo-mobilefacenet@0123abcd",
        signals={"yaw_deg": 1.0},
        crop=crop,
    )
    return Waiting(event, sum(map(len, encode(event).values())))


def pushed(backlog: SpooledBacklog, faces: Sequence[Waiting], *, pause_s: float, deliver: bool) -> None:
    """Push, as the engine does, and print how long each took."""
    times_ms = []
    for waiting in faces:
        start_s = time.perf_counter()
        with backlog.changed:
            backlog.push(waiting)
        times_ms.append((time.perf_counter() - start_s) * 1000)
        if deliver:
            with backlog.changed:
                backlog.confirm(backlog.take(64, 16e6), {})
        time.sleep(pause_s)
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99))
    state = "Redis keeps up" if deliver else "Redis is away"
    print(f"push, {state}: p50 {p50:.3f} ms, p95 {p95:.3f} ms, p99 {p99:.3f} ms, longest {max(times_ms):.3f} ms")


def read_back(backlog: SpooledBacklog) -> None:
    """Deliver everything that waits."""
    many, start_s = len(backlog), time.perf_counter()
    while len(backlog):
        with backlog.changed:
            backlog.changed.wait_for(lambda: backlog.ready, 5)
            backlog.confirm(backlog.take(64, 16e6), {})
    print(f"read back: {many / (time.perf_counter() - start_s):.0f} events a second")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        limits = SpoolLimits(max_bytes=1_000_000_000)
        backlog = SpooledBacklog(Path(folder), limits=limits, clock=SystemClock(), observer=Prints())
        backlog.start()
        crop = b"\xff\xd8\xff" + np.random.default_rng(0).bytes(CROP_BYTES)
        faces = [face(number, crop) for number in range(1000)]
        pushed(backlog, faces, pause_s=0.005, deliver=True)
        pushed(backlog, faces, pause_s=0.005, deliver=False)
        read_back(backlog)
        backlog.close(5.0)


if __name__ == "__main__":
    main()
