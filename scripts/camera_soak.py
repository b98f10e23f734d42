"""Many cameras that keep failing, and what that does to the process that reads them.

python scripts/camera_soak.py                               64 cameras for an hour
python scripts/camera_soak.py --seconds 30 --trouble 2      the same, shorter and denser

A second process serves RTSP over real sockets and ends every connection after about `--trouble` seconds: hung up, reset
or silent in turns. One camera in eight asks for a path that is not there. Threads, file descriptors and resident memory
of the reading process are sampled; exit status 1 when the last quarter of the run needs more of them than the second
did, or when the cameras leave something behind.
"""

import argparse
import gc
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gate.capture.backoff import Backoff
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread
from gate.capture.factory import open_source_for
from gate.clock import SystemClock
from gate.config import CameraConfig

SERVER = Path(__file__).resolve().parent.parent / "tests" / "capture" / "rtsp_camera.py"
MISSING_EVERY = 8
READ_TIMEOUT_S = 1.0
SAMPLE_S = 0.25
PARTS = 6
"""How often the samples are told: every ten minutes of an hour."""

RSS_GROWTH_BYTES = 16_000_000
"""Decoders come and go in other places of the heap each time: 1, 3 and 4 MB in runs of 40 to 60 s with 64 cameras.
Where lost streams kept their decoders until the collector came by, it was 21 MB."""

PARTING_S = 30.0


@dataclass(frozen=True)
class Sample:
    """What the process needs at one moment."""

    threads: int
    descriptors: int
    rss_bytes: int

    @classmethod
    def now(cls) -> "Sample":
        """As /proc tells it."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        threads, descriptors = (len(list(Path("/proc/self", what).iterdir())) for what in ("task", "fd"))
        return cls(threads, descriptors, pages * os.sysconf("SC_PAGE_SIZE"))

    @classmethod
    def most(cls, samples: "list[Sample]") -> "Sample":
        """The largest of each."""
        return cls(
            max(s.threads for s in samples), max(s.descriptors for s in samples), max(s.rss_bytes for s in samples)
        )

    def __str__(self) -> str:
        return f"{self.threads} threads, {self.descriptors} descriptors, {self.rss_bytes / 1e6:.0f} MB"


class Counts:
    """Counts what the cameras report."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()

    def _add(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1

    def up(self, _camera: str) -> None:
        """It delivers."""
        self._add("up")

    def lost(self, _camera: str, cause: str, _message: str) -> None:
        """It is away."""
        self._add(f"lost: {cause}")

    def frame(self, camera: str, _captured_ms: int) -> None:
        """A picture."""
        with self._lock:
            self.frames[camera] += 1

    def dropped(self, _camera: str, n: int) -> None:
        """Pictures nobody took."""
        with self._lock:
            self.seen["dropped"] += n

    def corrupt(self, _camera: str) -> None:
        """A picture that could not be decoded."""
        self._add("corrupt")

    def changed(self, _camera: str, change: str, _detail: str) -> None:
        """The stream is different."""
        self._add(f"changed: {change}")

    def ended(self, _camera: str) -> None:
        """No camera of this run ends."""
        self._add("ended")


@contextmanager
def server(arguments: argparse.Namespace) -> Iterator[int]:
    """The cameras in a process of their own; gives their port."""
    options = ["--cameras", str(arguments.cameras), "--fps", str(arguments.fps), "--trouble", str(arguments.trouble)]
    process = subprocess.Popen([sys.executable, str(SERVER), *options], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("the cameras have no standard output")
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def camera(number: int, port: int, board: SlotBoard, counts: Counts) -> CameraThread:
    """One reader; its trouble comes quicker than in earnest, and so does its return."""
    missing = number % MISSING_EVERY == MISSING_EVERY - 1
    path = f"not-there-{number}" if missing else str(number)
    config = CameraConfig.model_validate(
        {"name": f"cam{number}", "url": f"rtsp://127.0.0.1:{port}/{path}", "read_timeout_s": READ_TIMEOUT_S}
    )
    clock, stop = SystemClock(), threading.Event()
    backoff = Backoff(clock, base_s=0.2, cap_s=1.0)
    open_source = partial(open_source_for, config, clock, stop)
    return CameraThread(config, open_source, board, clock=clock, observer=counts, backoff=backoff, stop=stop)


def soak(arguments: argparse.Namespace, port: int, counts: Counts) -> list[Sample]:
    """Read the cameras for the time asked for; samples, oldest first, the last taken when all have left."""
    board, clock = SlotBoard(), SystemClock()
    cameras = [camera(number, port, board, counts) for number in range(arguments.cameras)]
    for one in cameras:
        one.start()
    samples: list[Sample] = []
    began_s, told = clock.monotonic_s(), -1
    while (passed_s := clock.monotonic_s() - began_s) < arguments.seconds:
        board.take(min(SAMPLE_S, arguments.seconds - passed_s))
        samples.append(Sample.now())
        if (part := int(PARTS * passed_s / arguments.seconds)) > told:
            told = part
            print(f"{passed_s:5.0f} s: {samples[-1]}, {counts.seen['up']} connections", flush=True)
        time.sleep(SAMPLE_S)
    print(f"{arguments.seconds:5.0f} s: {samples[-1]}, {counts.seen['up']} connections", flush=True)
    for one in cameras:
        one.stop()
    stuck = [one.camera for one in cameras if not one.join(PARTING_S)]
    if stuck:
        print(f"did not leave: {', '.join(stuck)}")
    board.close()
    return samples


def verdicts(before: Sample, samples: list[Sample], after: Sample, cameras: int) -> Iterator[tuple[bool, str]]:
    """What has to hold, and whether it does."""
    quarter = max(1, len(samples) // 4)
    second, last = Sample.most(samples[quarter : 2 * quarter]), Sample.most(samples[-quarter:])
    # How many cameras are connected differs from moment to moment; a leak adds up with every connection.
    slack = max(8, cameras // 4)
    rss_bytes = second.rss_bytes + RSS_GROWTH_BYTES
    yield last.threads <= second.threads + slack, f"threads: at most {second.threads}, later {last.threads}"
    yield (
        last.descriptors <= second.descriptors + slack,
        (f"descriptors: at most {second.descriptors}, later {last.descriptors}"),
    )
    yield (
        last.rss_bytes <= rss_bytes,
        (f"memory: at most {second.rss_bytes / 1e6:.0f} MB, later {last.rss_bytes / 1e6:.0f} MB"),
    )
    yield after.threads <= before.threads, f"threads left behind: {after.threads - before.threads}"
    yield after.descriptors <= before.descriptors, f"descriptors left behind: {after.descriptors - before.descriptors}"


def main() -> int:
    """Run it; 0 when everything stayed flat."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--trouble", type=float, default=5.0, help="seconds a connection lasts, about")
    arguments = parser.parse_args()
    import av

    av.codec.Codec("h264", "r")
    with server(arguments) as port:
        before, counts = Sample.now(), Counts()
        samples = soak(arguments, port, counts)
        gc.collect()
        after = Sample.now()
    print(f"before: {before}; after: {after}")
    print(", ".join(f"{what} {n}" for what, n in sorted(counts.seen.items())))
    silent = [n for n in range(arguments.cameras) if (n + 1) % MISSING_EVERY and not counts.frames[f"cam{n}"]]
    found = [*verdicts(before, samples, after, arguments.cameras), (not silent, f"cameras never read: {len(silent)}")]
    for holds, words in found:
        print(f"{'ok' if holds else 'FAULT':5} {words}")
    return 0 if all(holds for holds, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
