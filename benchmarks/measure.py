"""Paired timing: the machine may be busy or change its clock, so both sides of a pair run right after each other."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from gate.bench.measure import Spread, Timing


@dataclass(frozen=True, slots=True)
class Work:
    """One side of a pair."""

    run: Callable[[], object]

    crops: int
    """How many crops a run scores."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides, and how many times faster ours is; ratios are taken pair by pair."""

    ours: Timing
    literal: Timing
    wall_speedup: Spread
    cpu_speedup: Spread


@dataclass(frozen=True, slots=True)
class _Run:
    wall_ms: float
    cpu_ms: float


def compare(ours: Work, literal: Work, *, repeats: int, device: str) -> Comparison:
    """Run both `repeats` times after a warm-up of each, in turns, taking turns at going first."""
    for work in (ours, literal):
        _run(work, device)
    pairs = []
    for number in range(repeats):
        if number % 2:
            other = _run(literal, device)
            mine = _run(ours, device)
        else:
            mine = _run(ours, device)
            other = _run(literal, device)
        pairs.append((mine, other))
    return Comparison(
        ours=_timing([mine for mine, _ in pairs]),
        literal=_timing([other for _, other in pairs]),
        wall_speedup=Spread.of([other.wall_ms / mine.wall_ms for mine, other in pairs]),
        cpu_speedup=Spread.of([other.cpu_ms / mine.cpu_ms for mine, other in pairs]),
    )


def _run(work: Work, device: str) -> _Run:
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize(device)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    work.run()
    if on_gpu:
        torch.cuda.synchronize(device)
    return _Run(1e3 * (time.perf_counter() - wall_s) / work.crops, 1e3 * (time.process_time() - cpu_s) / work.crops)


def _timing(runs: Sequence[_Run]) -> Timing:
    return Timing(Spread.of([run.wall_ms for run in runs]), Spread.of([run.cpu_ms for run in runs]))
