"""One run of the benchmark: agreement first, then time, then a table."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.cases import Case, Settings, build, can
from benchmarks.measure import Comparison, Work, compare
from benchmarks.networks import crops
from gate.bench.measure import Spread, machine
from gate.quality.device import resolve_device
from gate.types import FloatArray, Image

AGREEMENT = 1e-3
"""Largest difference between ours and the literal procedure, of the raw number, relative to the literal's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of the benchmark."""

    methods: Sequence[str]
    network: str
    device: str
    batches: Sequence[int]
    repeats: int
    threads: int
    precisions: Sequence[str] = ("float32",)
    """Of ours, one after another; methods that cannot are left out of the others than float32."""

    crops: Path | None = None
    literal_crops: int = 8
    unet_dim: int = 32
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    method: str
    network: str
    batch: int
    precision: str
    """Of ours."""

    difference: float
    """Largest relative difference of the raw numbers from the literal's."""

    times: Comparison


def run(plan: Plan, *, json_file: Path | None = None) -> int:
    """Measure and print; 1 when numbers disagree."""
    torch.set_num_threads(plan.threads)
    device = resolve_device(plan.device)
    facts = {**machine(device), "repeats": plan.repeats}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(
        "milliseconds a crop, median (quartiles) of paired runs; baseline: the literal procedure, one crop at a time\n"
    )
    print(_line(HEADINGS))
    print(_line("---" for _ in HEADINGS))
    rows = []
    for row in rows_of(plan, device):
        print(_line(_cells(row)), flush=True)
        rows.append(row)
    if json_file is not None:
        document = {"machine": facts, "rows": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    wrong = sorted({row.method for row in rows if row.precision == "float32" and not row.difference <= AGREEMENT})
    if wrong:
        print(f"\ndisagree with the literal procedure by more than {AGREEMENT}: {', '.join(wrong)}")
    return 1 if wrong else 0


def rows_of(plan: Plan, device: str) -> Iterator[Row]:
    """The lines as they are measured."""
    pictures = crops(max(plan.batches), plan.crops)
    for name in plan.methods:
        for precision in plan.precisions:
            if not can(name, precision):
                continue
            case = build(name, _settings(plan, device, precision))
            for batch in plan.batches:
                yield _measured(case, pictures[:batch], precision, plan, device)


def _settings(plan: Plan, device: str, precision: str) -> Settings:
    largest = max(32, *plan.batches) if device.startswith("cuda") else 32
    few = {"passes": 10, "examples": 2, "iterations": 2, "repeats": 1} if plan.quick else {}
    dim = 8 if plan.quick else plan.unet_dim
    return Settings(plan.network, device=device, max_batch=largest, precision=precision, unet_dim=dim, **few)


def _measured(case: Case, pictures: Image, precision: str, plan: Plan, device: str) -> Row:
    few = pictures[: plan.literal_crops]

    def ours() -> FloatArray:
        return case.ours(pictures, [0] * len(pictures))

    def literal() -> FloatArray:
        return case.literal(few, [0] * len(few))

    wanted, got = literal(), ours()[: len(few)]
    difference = float(np.max(np.abs(got - wanted) / np.maximum(np.abs(wanted), 1e-6)))
    works = Work(ours, len(pictures)), Work(literal, len(few))
    times = compare(*works, repeats=plan.repeats, device=device)
    return Row(case.name, case.network, len(pictures), precision, difference, times)


HEADINGS = (
    "method",
    "network",
    "batch",
    "precision",
    "ours",
    "literal",
    "faster",
    "ours, CPU",
    "literal, CPU",
    "faster, CPU",
    "off",
)


def _cells(row: Row) -> list[str]:
    times = row.times
    cells: list[Spread] = [times.ours.wall_ms, times.literal.wall_ms, times.wall_speedup]
    cells += [times.ours.cpu_ms, times.literal.cpu_ms, times.cpu_speedup]
    return [row.method, row.network, str(row.batch), row.precision, *map(str, cells), f"{row.difference:.0e}"]


def _line(cells: Iterator[str] | Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
