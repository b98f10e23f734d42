"""How often something is run and what is said of it: medians with quartiles, and the machine they belong to.

torch and numpy only: benchmarks of methods run on bare GPU machines.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles."""

    low: float
    """First quartile."""

    median: float

    high: float
    """Third quartile."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The quartiles of at least one value."""
        low, median, high = np.percentile(np.asarray(values, dtype=np.float64), [25, 50, 75])
        return cls(float(low), float(median), float(high))

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1 if self.median < 100 else 0
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


@dataclass(frozen=True, slots=True)
class Timing:
    """One kind of work, milliseconds a piece."""

    wall_ms: Spread

    cpu_ms: Spread
    """Processor time of all threads: it hardly notices what else the machine does."""


def timed(run: Callable[[], object], *, pieces: int = 1, repeats: int = 9, least_s: float = 0.02) -> Timing:
    """Run something again and again, after once to warm up.

    Args:
        run: The work.
        pieces: How many pieces one run is.
        repeats: How many times it is timed.
        least_s: One timing repeats the work for about this long, so that the clock's step does not count.
    """
    start_s = time.perf_counter()
    run()
    rounds = max(1, min(1000, int(least_s / max(1e-6, time.perf_counter() - start_s))))
    wall_ms, cpu_ms = [], []
    for _ in range(repeats):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            run()
        cpu_ms.append(1e3 * (time.process_time() - cpu_s) / rounds / pieces)
        wall_ms.append(1e3 * (time.perf_counter() - wall_s) / rounds / pieces)
    return Timing(Spread.of(wall_ms), Spread.of(cpu_ms))


def machine(device: str) -> dict[str, str | int]:
    """What the numbers were measured on."""
    import torch

    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
