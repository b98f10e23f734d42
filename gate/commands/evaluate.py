"""`gate evaluate`: do errors go down when the worst images are discarded?"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers
from gate.errors import GateError

if TYPE_CHECKING:
    from gate.lab.embeddings import Progress
    from gate.lab.results import EvaluationResult
    from gate.lab.run import Plan, Prepared
    from gate.lab.trial import Settings

MODE_NAMES = ("iso", "crfiqa", "beyond-edc")
FMR_TARGETS = (1e-2, 1e-3, 1e-4)
LIMITS = (0.1, 0.2, 0.3)


def add_arguments(commands: Subparsers) -> None:
    """Add `gate evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="EDC curves, pAUC tables and a report of quality methods on labelled crops",
        description="Judge quality methods by what discarding the worst images does to a recognizer's errors. Without "
        "a recognizer only the scores are looked at (bias, attributes, degradations).",
    )
    parser.add_argument("crops", metavar="CROPS", help="folder or archive of aligned 112x112 crops, a folder a person")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the report goes")
    _add_methods(parser)
    _add_comparisons(parser)
    _add_statistics(parser)
    _add_labels(parser)
    parser.set_defaults(run=run)


def _add_methods(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is judged")
    group.add_argument(
        "--method",
        dest="methods",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME[:KEY=VALUE,...]",
        help="as shown by `gate methods`, with options: grafiqs:phi=block3,backbone=facexzoo-mobilefacenet",
    )
    group.add_argument(
        "--scores",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="scores that exist, in any format of `gate score`; higher is better",
    )
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda:N")
    group.add_argument("--cache", type=Path, metavar="DIR", help="default: facegate/lab in your cache folder")


def _add_comparisons(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is compared")
    group.add_argument(
        "--recognizer",
        metavar="NAME|FILE.onnx",
        help="a zoo name (w600k-mbf), a backbone, or an ONNX file[?colour=bgr&mean=0&scale=255]",
    )
    group.add_argument(
        "--embeddings", type=Path, metavar="FILE", help=".npz with names and embeddings, or .npy and .txt"
    )
    group.add_argument("--pairs", type=Path, metavar="FILE", help="LFW pairs.txt, `a b 1|0` a line, or csv a,b,same")
    group.add_argument(
        "--impostors",
        type=_count,
        metavar="N",
        help="sample N impostor pairs of all images (in place of the pair file's)",
    )
    group.add_argument(
        "--max-genuine",
        type=_count,
        default=200,
        metavar="N",
        help="genuine pairs a person, without --pairs (default 200)",
    )


def _add_statistics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is computed")
    group.add_argument(
        "--fmr", type=_fraction, nargs="+", default=FMR_TARGETS, metavar="RATE", help="false match rates"
    )
    group.add_argument(
        "--limits",
        type=_fraction,
        nargs="+",
        default=LIMITS,
        metavar="SHARE",
        help="discarded shares that areas end at",
    )
    group.add_argument(
        "--modes", choices=MODE_NAMES, nargs="+", default=MODE_NAMES, help="rules of the curves (default all)"
    )
    group.add_argument("--bootstrap", type=_zero_or_more, default=1000, metavar="N", help="replicates (default 1000)")
    group.add_argument("--seed", type=_zero_or_more, default=0, metavar="N", help="of samples, bootstrap and methods")


def _add_labels(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is known about the images")
    group.add_argument("--metadata", type=Path, metavar="CSV", help="first column: image path; any others")
    group.add_argument("--identity", metavar="COLUMN", help="who is on the image; default: its parent folder")
    group.add_argument(
        "--bias", nargs="+", action="extend", default=[], metavar="COLUMN", help="groups: gender, age=0,18,60,120"
    )
    group.add_argument(
        "--attributes", nargs="+", action="extend", default=[], metavar="COLUMN", help="levels, best first by number"
    )
    group.add_argument(
        "--degradations",
        type=_count,
        nargs="?",
        const=200,
        default=0,
        metavar="N",
        help="run the suite on N crops (200)",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, print the table."""
    from gate.lab.evaluate import Provenance, evaluate
    from gate.lab.run import prepare

    plan = plan_of(args)
    prepared = prepare(plan, _progress())
    provenance = Provenance(shlex.join(["gate", *sys.argv[1:]]), time.time_ns() // 10**6, prepared.warnings)
    result = evaluate(prepared.material, plan.settings, provenance)
    page = _write(args, plan, prepared, result)
    for warning in result.warnings:
        print(f"gate: {warning}", file=sys.stderr)
    if "iso" in result.modes and result.methods[0].curves:
        from gate.lab.tables import markdown_table

        print(f"normalised pAUC at {max(plan.settings.limits):g}, lower is better; 1 is no better than chance\n")
        print(markdown_table(result, max(plan.settings.limits)))
    print(page)
    return 0


def plan_of(args: argparse.Namespace) -> "Plan":
    """What the command line asks for. Raises `GateError` where its parts do not fit each other."""
    from gate.lab.cache import default_folder
    from gate.lab.run import Plan
    from gate.lab.scores import MethodRequest

    if not (args.methods or args.scores):
        raise GateError("nothing to evaluate: name methods with --method, or score files with --scores NAME=FILE")
    if args.recognizer and args.embeddings:
        raise GateError("--recognizer and --embeddings exclude each other")
    if (args.bias or args.attributes or args.identity) and not args.metadata:
        raise GateError("--bias, --attributes and --identity name columns of --metadata; give the csv")
    return Plan(
        crops=args.crops,
        methods=tuple(MethodRequest.parse(text) for text in args.methods),
        scores=tuple(_named_file(text) for text in args.scores),
        recognizer=args.recognizer,
        embeddings=args.embeddings,
        pairs=args.pairs,
        impostors=args.impostors,
        max_genuine=args.max_genuine,
        metadata=args.metadata,
        identity_column=args.identity,
        device=args.device,
        cache=args.cache or default_folder(),
        settings=_settings(args),
    )


def _settings(args: argparse.Namespace) -> "Settings":
    from gate.lab.trial import MODES, Settings

    return Settings(
        fmr_targets=tuple(sorted(set(args.fmr), reverse=True)),
        limits=tuple(sorted(set(args.limits))),
        modes=tuple(mode for mode in MODES if mode in args.modes),
        bootstrap=args.bootstrap,
        seed=args.seed,
    )


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise GateError(f"--scores {text}: expected NAME=FILE")
    return name, Path(path)


def _write(args: argparse.Namespace, plan: "Plan", prepared: "Prepared", result: "EvaluationResult") -> Path:
    from gate.lab import extras, tables
    from gate.lab.metadata import read_metadata
    from gate.lab.report import write_report

    metadata = read_metadata(plan.metadata) if plan.metadata else None
    crops = prepared.crops
    page = write_report(
        result,
        args.output,
        read_crop=lambda place: crops.image(crops.paths[place]),
        bias=extras.bias_reports(result, metadata, args.bias) if metadata else (),
        attributes=extras.attribute_responses(result, metadata, args.attributes) if metadata else (),
        degradations=extras.degradation_responses(
            plan.methods, crops, args.degradations, device=plan.device, seed=args.seed
        ),
    )
    texts = {
        "scores.csv": tables.scores_csv(result),
        "pairwise.csv": tables.pairwise_csv(result),
        "table.md": tables.markdown_tables(result),
    }
    for name, text in texts.items():
        if text:
            (args.output / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    return page


def _progress() -> "Progress":
    """A line that is written over on a terminal, one line each tenth elsewhere."""
    is_terminal = sys.stderr.isatty()
    last: dict[str, int] = {}

    def tell(what: str, done: int, total: int) -> None:
        tenth = 10 * done // total
        if is_terminal:
            print(f"\r{what}: {done}/{total}\x1b[K", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif last.get(what) != tenth:
            last[what] = tenth
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)

    return tell


def _fraction(text: str) -> float:
    return _number(text, lambda value: 0 < value <= 1, "a number above 0 and at most 1")


def _count(text: str) -> int:
    return int(_number(text, lambda value: value >= 1 and value == int(value), "a whole number of at least 1"))


def _zero_or_more(text: str) -> int:
    return int(_number(text, lambda value: value >= 0 and value == int(value), "a whole number of at least 0"))


def _number(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    try:
        value = float(text)
        is_right = fits(value)
    except (ValueError, OverflowError):
        is_right = False
    if not is_right:
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
    return value
