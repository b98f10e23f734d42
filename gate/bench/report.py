"""The numbers as JSON, as tables, and held against those of another day."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.bench.ceilings import Ceilings
from gate.bench.running import Run
from gate.bench.stages import StageTime
from gate.errors import GateError

if TYPE_CHECKING:
    from rich.table import Table

    from gate.bench.simulation import Outcome, World

FORMAT = 1


def stage_row(line: StageTime) -> dict[str, Any]:
    """One stage, ready for JSON."""
    over = line.over_floor
    return {**asdict(line), "over_floor": over if over == over else None}  # noqa: PLR0124 - not-a-number is no JSON


def as_json(
    machine: Mapping[str, str | int], clip: str, ceilings: Ceilings, stages: list[StageTime], runs: list[Run]
) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "format": FORMAT,
        "machine": dict(machine),
        "clip": clip,
        "ceilings": asdict(ceilings),
        "stages": [stage_row(line) for line in stages],
        "runs": [{**asdict(run), "sustained": run.sustained} for run in runs],
    }


def load_report(file: Path) -> dict[str, Any]:
    """What `gate bench --json` wrote. Raises `GateError`."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(f"{file}: {error}. Give a file that gate bench --json has written.") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT or not isinstance(report.get("stages"), list):
        raise GateError(f"{file}: not what gate bench --json writes.")
    return report


def stages_table(stages: list[StageTime], ceilings: Ceilings) -> "Table":
    """A line a stage."""
    from rich.table import Table

    table = Table(
        caption=f"one core: {ceilings.gflops:.0f} GFLOP/s, {ceilings.gbytes:.1f} GB/s. "
        "Stages have one core. Medians (quartiles); CPU time hardly notices what else the machine does. --json says "
        "what each floor is."
    )
    for heading in ("stage", "per", "CPU ms", "wall ms", "floor ms", "x floor"):
        table.add_column(heading, no_wrap=heading == "stage")
    for line in stages:
        timing, over = line.timing, line.over_floor
        times = str(timing.cpu_ms), str(timing.wall_ms), f"{line.floor_ms:.3f}"
        table.add_row(line.stage, line.per, *times, f"{over:.1f}" if over < 1e4 else "-")
    return table


def runs_table(runs: list[Run]) -> "Table":
    """A line a load."""
    from rich.table import Table

    table = Table(caption="Latency: from the decode of a visit's first accepted face to its entry in Redis.")
    for heading in ("cameras", "fps each", "looked at", "cores", "CPU ms a frame", "latency p50/p95/p99 ms", "peak MB"):
        table.add_column(heading)
    for run in runs:
        latency = " / ".join("-" if value is None else f"{value:.0f}" for value in run.latency_ms.values())
        numbers = f"{run.cores:.2f}", f"{run.cpu_ms_a_frame:.1f}", latency, f"{run.peak_mb:.0f}"
        table.add_row(str(run.cameras), f"{run.fps:g}", _kept_up(run), *numbers)
    return table


def outcomes_table(played: "Sequence[tuple[World, Outcome]]") -> "Table":
    """A line a simulated load."""
    from rich.table import Table

    table = Table(caption="Simulated from the times above. Latency: from decode to the end of the frame's step.")
    for heading in (
        "cameras",
        "fps each",
        "looked at",
        "cores",
        "frames a step",
        "latency p50/p95 ms",
        "decode lag ms",
    ):
        table.add_column(heading)
    for world, outcome in played:
        latency = f"{outcome.latency_p50_ms:.0f} / {outcome.latency_p95_ms:.0f}"
        numbers = f"{outcome.cores_used:.2f} of {world.cores}", f"{outcome.frames_a_step:.1f}", latency
        lag = f"{outcome.decode_lag_p95_ms:.0f}"
        table.add_row(str(world.cameras), f"{world.analysed_fps:g}", _kept_up(outcome), *numbers, lag)
    return table


def _kept_up(result: "Run | Outcome") -> str:
    return f"{result.looked_at_share:.0%}" + ("" if result.sustained else " (too many)")


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> "Table":
    """Processor time of then in that of now, for what both have measured; above 1 is faster now."""
    from rich.table import Table

    table = Table(caption="then / now: above 1 is faster now. A ratio within the quartiles' reach says nothing.")
    for heading in ("what", "then", "now", "then / now", "from quartile to quartile"):
        table.add_column(heading)
    for then, now in pairs_of(old["stages"], new["stages"], "stage"):
        before, after = then["timing"]["cpu_ms"], now["timing"]["cpu_ms"]
        reach = f"{before['low'] / after['high']:.2f} to {before['high'] / after['low']:.2f}"
        ratio = f"{before['median'] / after['median']:.2f}"
        table.add_row(then["stage"], f"{before['median']:.3f} ms", f"{after['median']:.3f} ms", ratio, reach)
    for then, now in pairs_of(old["runs"], new["runs"], "cameras", "fps"):
        before, after = then["cpu_ms_a_frame"], now["cpu_ms_a_frame"]
        what = f"{then['cameras']} cameras at {then['fps']:g} fps, a frame"
        table.add_row(what, f"{before:.1f} ms", f"{after:.1f} ms", f"{before / after:.2f}", "")
    return table


def pairs_of(
    old: list[dict[str, Any]], new: list[dict[str, Any]], *keys: str
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of both that have the same keys, in the order of the old ones."""
    found = {tuple(row[key] for key in keys): row for row in new}
    named = [(row, tuple(row[key] for key in keys)) for row in old]
    return [(row, found[name]) for row, name in named if name in found]
