"""`gate bench`: what this machine makes of the gate, stage by stage and as a whole."""

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers, positive_seconds

if TYPE_CHECKING:
    from gate.bench.running import Run
    from gate.bench.simulation import Outcome, World
    from gate.bench.stages import StageTime
    from gate.config import GateConfig

_LOADS = ((1, 5.0), (5, 5.0), (1, 10.0), (2, 10.0), (1, 25.0))


def add_arguments(commands: Subparsers) -> None:
    """Add `gate bench`."""
    parser = commands.add_parser(
        "bench",
        help="measure this machine",
        description="Times every stage against what its operations would take at this machine's best, then runs the "
        "daemon with cameras before it: how many it sustains, at which latency, processor time and memory.",
    )
    parser.add_argument("--video", type=Path, metavar="FILE", help="what the cameras show; default: a rendered door")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="detector, quality and rules from there")
    parser.add_argument("--method", dest="methods", action="append", metavar="NAME", help="time this method (repeat)")
    parser.add_argument("--load", action="append", type=_load, metavar="CAMERASxFPS", help="such as 5x10 (repeat)")
    parser.add_argument("--seconds", type=positive_seconds, default=20.0, metavar="S", help="a load (default 20)")
    parser.add_argument(
        "--simulate", action="append", type=_load, metavar="CAMERASxFPS", help="play a load through instead (repeat)"
    )
    parser.add_argument("--cores", type=int, metavar="N", help="of the simulated machine; default: this one's")
    parser.add_argument("--faces", type=float, default=2.0, metavar="N", help="a simulated frame (default 2)")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="timings of a stage (default 9)")
    parser.add_argument("--quick", action="store_true", help="under a minute: that it runs, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="also print ratios to an earlier --json")
    parser.set_defaults(run=run)


def _load(text: str) -> tuple[int, float]:
    """An argparse type: cameras x frames a second."""
    cameras, cross, fps = text.lower().partition("x")
    try:
        found = int(cameras), float(fps)
    except ValueError:
        found = 0, 0.0
    if not cross or not (1 <= found[0] <= 1000 and 0 < found[1] <= 240):
        raise argparse.ArgumentTypeError(f"expected cameras and frames a second such as 5x10, got {text!r}")
    return found


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 unless something cannot be measured."""
    import json
    import tempfile
    from dataclasses import asdict

    from rich.console import Console

    from gate.bench.ceilings import measure_ceilings
    from gate.bench.clip import write_virtual_clip
    from gate.bench.measure import machine
    from gate.bench.report import as_json, compared, load_report, outcomes_table, runs_table, stages_table
    from gate.bench.stages import measure_stages
    from gate.errors import GateError

    console, config = Console(), _config(args)
    _take_one_core()
    if args.video is not None and not args.video.is_file():
        raise GateError(f"--video {args.video}: no such file.")
    # Before anything is measured: a wrong file is told at once.
    old = None if args.compare is None else load_report(args.compare)
    repeats = 3 if args.quick else max(1, args.repeats)
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as folder:
        clip = args.video or write_virtual_clip(Path(folder) / "door.mp4", 4.0 if args.quick else 12.0)
        shown = str(args.video.name) if args.video else "virtual camera, 1280x720 H.264"
        facts = machine("cpu")
        console.print(", ".join(f"{name} {value}" for name, value in facts.items()), f"; {shown}", soft_wrap=True)
        ceilings = measure_ceilings(repeats)
        methods = args.methods or [config.quality.method]
        stages = list(measure_stages(config, clip, methods, ceilings, repeats=repeats, quick=args.quick))
        console.print(stages_table(stages, ceilings))
        runs = _runs(args, config, clip)
    console.print(runs_table(runs))
    report = as_json(facts, shown, ceilings, stages, runs)
    if args.simulate:
        played = _simulated(args, config, stages)
        console.print(outcomes_table(played))
        report["simulated"] = [{**asdict(world), **asdict(outcome)} for world, outcome in played]
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if old is not None:
        console.print(compared(old, report))
    return 0


def _runs(args: argparse.Namespace, config: "GateConfig", clip: Path) -> "list[Run]":
    """Each load in turn; none that is larger than one of the same rate that was too much already."""
    from gate.bench.running import Load, run_gate

    settings = config.model_dump(mode="json", exclude_unset=True, exclude={"cameras", "redis", "http", "log"})
    loads = args.load or ([(1, 5.0)] if args.quick else () if args.simulate else _LOADS)
    seconds = min(args.seconds, 4.0) if args.quick else args.seconds
    runs: list[Run] = []
    for cameras, fps in loads:
        if args.load is None and any(run.fps == fps and not run.sustained for run in runs):
            continue
        runs.append(run_gate(Load(clip, cameras, fps, max(1.0, seconds), settings)))
    return runs


def _simulated(
    args: argparse.Namespace, config: "GateConfig", stages: "list[StageTime]"
) -> "list[tuple[World, Outcome]]":
    from gate.bench.simulation import World, costs_of, simulate

    costs, cores = costs_of(stages), args.cores or len(os.sched_getaffinity(0))
    scores_per_s = config.decide.max_scores_per_s
    worlds = [
        World(
            cameras=cameras,
            analysed_fps=fps,
            faces=args.faces,
            scores_per_s=math.inf if scores_per_s is None else scores_per_s,
            cores=cores,
        )
        for cameras, fps in args.simulate
    ]
    return [(world, simulate(costs, world)) for world in worlds]


def _take_one_core() -> None:
    """Threads that wait for each other would be counted as processor time."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _config(args: argparse.Namespace) -> "GateConfig":
    """The configuration whose detector, quality and rules are measured."""
    from gate.config import build_config, load_config

    if args.config is not None:
        return load_config(args.config)
    return build_config({"cameras": [{"name": "bench", "url": "virtual:"}]})
