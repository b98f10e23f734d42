"""`gate calibrate`: raw numbers to 0..100, as percentiles of your own crops."""

import argparse
from pathlib import Path

from gate.commands.arguments import Subparsers


def add_arguments(commands: Subparsers) -> None:
    """Add `gate calibrate`."""
    parser = commands.add_parser(
        "calibrate",
        help="make the map from a method's raw numbers to 0..100",
        description="Scores a sample of aligned 112x112 crops and stores the percentiles of the scores. The map holds "
        "for this method, its options and these weights only; `quality.calibration` names the file.",
    )
    parser.add_argument("inputs", nargs="+", metavar="PATH", help="folder, .tar, image or .txt list of aligned crops")
    parser.add_argument("--method", required=True, metavar="NAME", help="as shown by `gate methods`")
    parser.add_argument("--backbone", metavar="SPEC", help="recognition network: name, ARCH:FILE or module:function")
    parser.add_argument("--weights", metavar="NAME|FILE", help="weights of the method, or of the backbone")
    parser.add_argument("--option", dest="options", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda:N")
    parser.add_argument(
        "--sample", type=int, default=1000, metavar="N", help="most crops from each PATH (default 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample (default 0)")
    parser.add_argument("--describe", default="", metavar="TEXT", help="what the crops are; kept in the file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="made, or added to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the map and add it to the file."""
    from gate.commands.score import options_of
    from gate.errors import QualityError
    from gate.lab.calibrate import add_to_file, calibrate, sample_crops
    from gate.quality import load_method
    from gate.quality.method import CalibratedMethod

    options = options_of(args.method, args.options)
    method = load_method(
        args.method, backbone=args.backbone, weights=args.weights, device=args.device, max_batch=32, **options
    )
    if not isinstance(method, CalibratedMethod):
        raise QualityError(f"{args.method} cannot be calibrated here.")
    crops = sample_crops(args.inputs, args.sample, args.seed)
    made = calibrate(method, crops, description=args.describe, seed=args.seed)
    add_to_file(args.output, made)
    print(f"{made.key}: {len(crops)} crops, added to {args.output}")
    return 0
