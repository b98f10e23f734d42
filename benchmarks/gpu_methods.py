"""Times every quality method with IResNet-100 on a GPU against its literal baseline, in each number format it has.

python benchmarks/gpu_methods.py --json gpu.json          on a machine with torch, numpy and a GPU; half an hour
python benchmarks/gpu_methods.py --device cpu --small     only whether it runs

Weights are made up: the time does not depend on them, and nothing is fetched. Without CUDA it says so and ends with 0.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

METHODS = ("grafiqs", "grafiqs-all", "serfiq", "faceqan", "diffiqa", "diffiqa-r", "ediffiqa-l", "crfiqa-l")
BASELINES = ("embedding-norm", "mirror-cosine")
SMALL = ("grafiqs", "serfiq", "ediffiqa-t", "embedding-norm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when a method and its baseline disagree in float32, 2 when it cannot run."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import torch

    from benchmarks.comparison import Plan, run
    from gate.errors import GateError

    options = _parser().parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"no CUDA device: torch {torch.__version__} sees none, so nothing was measured")
        return 0
    plan = Plan(
        methods=SMALL if options.small else (*METHODS, *BASELINES),
        network="mobilefacenet" if options.small else "iresnet100",
        device=options.device,
        batches=(2,) if options.small else (1, 8, 32, 128, 512),
        repeats=1 if options.small else options.repeats,
        threads=options.threads,
        precisions=("float32", "bfloat16") if options.device == "cpu" else ("float32", "bfloat16", "float16"),
        literal_crops=2 if options.small else 16,
        unet_dim=128,
        quick=options.small,
    )
    try:
        return run(plan, json_file=options.json)
    except GateError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu_methods.py", description="Times each quality method with IResNet-100 on a GPU."
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:N; cpu goes with --small")
    parser.add_argument("--small", action="store_true", help="a small network and few crops, to see that it runs")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of runs")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
