"""What one core of this machine can do at best: the floor of a stage is its work at these rates."""

from dataclasses import dataclass

import numpy as np
import torch

from gate.bench.measure import timed

_GEMM_SIDE = 768
_COPY_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Rates of one core, by the processor time it took."""

    gflops: float
    """10^9 float32 operations a second, in a product of two square matrices of 768 rows."""

    gbytes: float
    """10^9 bytes a second moved (read and written) by a copy of 64 MiB, which no cache holds."""

    def floor_ms(self, operations: float, moved_bytes: float) -> float:
        """The least time of so many operations and bytes, were one of them all there is to do."""
        return max(operations / self.gflops, moved_bytes / self.gbytes) / 1e6


def measure_ceilings(repeats: int) -> Ceilings:
    """Measure them; takes about a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        side = _GEMM_SIDE
        left, right = torch.ones(side, side), torch.ones(side, side)
        gemm = timed(lambda: left @ right, repeats=repeats)
    finally:
        torch.set_num_threads(threads)
    source = np.ones(_COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    copy = timed(lambda: np.copyto(target, source), repeats=repeats)
    # The fastest quarter: other work on the machine can only slow a core down.
    return Ceilings(2 * side**3 / gemm.cpu_ms.low / 1e6, 2 * _COPY_BYTES / copy.cpu_ms.low / 1e6)
