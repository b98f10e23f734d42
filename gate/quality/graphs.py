"""CUDA graphs for a few batch sizes: a small batch on a GPU waits for the CPU to launch hundreds of kernels.

Not measured: no GPU has run this yet. Where a capture fails, the batches go on without.
"""

import logging
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from gate.quality.device import is_out_of_memory

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Batch sizes that are captured, each when it is first needed; larger batches keep a GPU busy without."""

SWITCH = "GATE_CUDA_GRAPHS"
"""Environment variable that turns them on with 1: what was never measured is nobody's default."""

_WARM_UPS = 3
"""Passes before the capture, in which cuDNN chooses its kernels and libraries take their workspaces."""

Forward: TypeAlias = Callable[[Tensor], Tensor]
"""Rows in, as many rows out; a row's result depends on that row only."""

_log = logging.getLogger(__name__)


class Captured(NamedTuple):
    """A forward pass of one batch size, whose tensors stay where they are."""

    inputs: Tensor
    replay: Callable[[], object]
    outputs: Tensor


class Capture(Protocol):
    """Records a forward pass."""

    def __call__(self, forward: Forward, inputs: Tensor) -> Captured:
        """`inputs` become the recording's own. Raises `RuntimeError` where it cannot be recorded."""
        ...


class Graphed:
    """A forward pass that is replayed from recordings, a batch filled up to the next recorded size.

    On the CPU it is the forward pass itself.

    Args:
        forward: the pass; it must not depend on values (no branch on a tensor).
        device: `cpu` or `cuda:N`.
        capture: records a pass; None chooses by the device.
    """

    def __init__(self, forward: Forward, device: str, *, capture: Capture | None = None) -> None:
        self._forward = forward
        wanted = torch.device(device).type == "cuda" and os.environ.get(SWITCH) == "1"
        self._capture = capture or (_CudaCapture() if wanted else None)
        self._captured: dict[tuple[int, ...], Captured] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        """(n, …) to (n, …), a tensor of its own that later calls leave alone."""
        size = next((bucket for bucket in BUCKETS if bucket >= len(inputs)), None)
        if self._capture is None or size is None:
            return self._forward(inputs)
        shape = (size, *inputs.shape[1:])
        captured = self._captured.get(shape) or self._record(self._capture, shape, inputs)
        if captured is None:
            return self._forward(inputs)
        captured.inputs[: len(inputs)].copy_(inputs)
        captured.replay()
        return captured.outputs[: len(inputs)].clone()

    def _record(self, capture: Capture, shape: tuple[int, ...], inputs: Tensor) -> Captured | None:
        try:
            captured = capture(self._forward, inputs.new_zeros(shape))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            _log.warning("CUDA graphs are off: %s", str(error).splitlines()[0])
            self._capture = None
            return None
        self._captured[shape] = captured
        return captured


class _CudaCapture:
    """Recordings of one pass, one memory pool for all sizes: they never run at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, forward: Forward, inputs: Tensor) -> Captured:
        """See `Capture`."""
        with torch.cuda.device(inputs.device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UPS):
                    forward(inputs)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Decoders and other threads may use the GPU while this one records.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = forward(inputs)
            self._pool = graph.pool()
        return Captured(inputs, graph.replay, outputs)
