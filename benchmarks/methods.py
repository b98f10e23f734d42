"""Times every quality method against a literal baseline of its published procedure and prints a table.

python benchmarks/methods.py                                        what a CPU gets through in a few minutes
python benchmarks/methods.py --methods grafiqs serfiq --batch 32
python benchmarks/methods.py --methods diffiqa-r-18 --precision float32 bfloat16

benchmarks/gpu_methods.py is for a GPU.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

PRECISIONS = ("float32", "bfloat16", "float16")

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when a method and its baseline disagree, 2 when it cannot run."""
    if str(ROOT) not in sys.path:
        # Neither the package nor this folder need be installed.
        sys.path.insert(0, str(ROOT))
    from benchmarks.cases import NAMES, USUAL
    from benchmarks.comparison import Plan, run
    from gate.errors import GateError

    options = _parser(NAMES).parse_args(arguments)
    on_gpu = options.device.startswith("cuda")
    plan = Plan(
        methods=tuple(NAMES if options.methods == ["all"] else options.methods or USUAL),
        network="mobilefacenet" if options.filled else options.network,
        device=options.device,
        batches=tuple(options.batch or ((1, 8, 32, 128, 512) if on_gpu else (1, 8, 32))),
        repeats=options.repeats,
        threads=options.threads,
        precisions=tuple(options.precision),
        crops=options.crops,
        literal_crops=options.literal_crops,
        unet_dim=options.unet_dim or (128 if on_gpu else 32),
        quick=options.quick,
    )
    try:
        return run(plan, json_file=options.json)
    except GateError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/methods.py", description="Times each quality method against a literal baseline."
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=f"{', '.join(names)}, or all")
    parser.add_argument(
        "--network",
        default="facexzoo-mobilefacenet",
        help="recognition network: a backbone as in a configuration, or an architecture's name for filled weights",
    )
    parser.add_argument("--filled", action="store_true", help="the default network with made-up weights")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--batch", nargs="+", type=_count, metavar="N", help="batch sizes")
    parser.add_argument("--repeats", type=_count, default=7, help="pairs of runs")
    parser.add_argument("--threads", type=_count, default=2, help="CPU threads of torch")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"], help="of ours")
    parser.add_argument("--crops", type=Path, metavar="FILE", help=".npy of (N, 112, 112, 3) uint8; default is made up")
    parser.add_argument("--literal-crops", type=_count, default=8, help="most crops in a literal run")
    parser.add_argument("--unet-dim", type=_count, help="width of DifFIQA's U-Net; 32 on a CPU, 128 on a GPU")
    parser.add_argument("--quick", action="store_true", help="small settings, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
