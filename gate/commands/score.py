"""`gate score`: scores a folder, files, a list or an archive of images."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.commands.arguments import Subparsers
from gate.errors import GateError

if TYPE_CHECKING:
    from gate.scoring.request import DetectorChoice, Request
    from gate.scoring.run import Summary

_WORDS: dict[str, object] = {"true": True, "false": False, "none": None}


def add_arguments(commands: Subparsers) -> None:
    """Add `gate score`."""
    parser = commands.add_parser(
        "score",
        help="score a folder, files, a list or an archive of images",
        description="Score images. An -o file that a killed run left behind is continued, to the same bytes that an "
        "unbroken run writes; one that another method or other inputs have made is refused.",
    )
    _add_inputs(parser)
    _add_method(parser)
    _add_faces(parser)
    _add_outputs(parser)
    parser.set_defaults(run=run)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is scored")
    group.add_argument(
        "paths", nargs="*", metavar="PATH", help="folder (with all below it), image, .tar, .tar.gz, or .txt list"
    )
    group.add_argument(
        "--list",
        dest="lists",
        action="append",
        default=[],
        metavar="FILE",
        help="text file, one path a line, relative to the current folder (repeatable)",
    )


def _add_method(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it is scored")
    group.add_argument("--method", required=True, metavar="NAME", help="as shown by `gate methods`")
    group.add_argument("--backbone", metavar="SPEC", help="recognition network: name, ARCH:FILE or module:function")
    group.add_argument("--weights", metavar="NAME|FILE", help="weights of the method, or of the backbone")
    group.add_argument("--phi", metavar="NAME", help="grafiqs: image, block1 to block4, or all for five files")
    group.add_argument(
        "--option", dest="options", action="append", default=[], metavar="KEY=VALUE", help="of the method (repeatable)"
    )
    group.add_argument("--calibration", type=Path, metavar="FILE", help="maps to 0..100 other than the shipped ones")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda:N")
    group.add_argument("--batch-size", type=int, default=32, metavar="N", help="images a batch (default 32)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of every image (default 0)")


def _add_faces(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is in an image")
    group.add_argument("--aligned", action="store_true", help="a 112x112 crop; otherwise a face is found and aligned")
    group.add_argument("--detector", choices=("yunet", "scrfd"), default="yunet", help="default yunet")
    group.add_argument("--detector-weights", metavar="NAME|FILE", help="default: the detector's own")
    group.add_argument(
        "--min-detector-score", type=float, default=0.6, metavar="SCORE", help="0 to 1; less is no face (default 0.6)"
    )
    group.add_argument(
        "--faces", choices=("largest", "best"), default="largest", help="which of several (default largest)"
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument("-o", "--output", metavar="FILE", help="default: standard output; with --phi all a folder")
    group.add_argument(
        "--format", choices=("txt", "csv", "jsonl", "pickle"), help="default: by the extension of -o, else txt"
    )
    group.add_argument(
        "--value",
        choices=("score", "raw", "quality"),
        help="the number of txt and pickle: higher is better (default), as published (default of --phi all), or 0..100",
    )
    group.add_argument("--path-replace", metavar="OLD=NEW", help="what paths begin with, and what to write instead")
    group.add_argument("--errors", type=Path, metavar="FILE", help="CSV of the images without a score, with the reason")
    group.add_argument("--strict", action="store_true", help="exit with 1 when any image has no score")
    group.add_argument("--overwrite", action="store_true", help="start again where -o exists")


def run(args: argparse.Namespace) -> int:
    """Score; 0 when something has a score, 1 when nothing has, or with `--strict` when anything has none."""
    from gate.scoring.run import score_images

    summary = score_images(request_of(args))
    print(_told(summary, args.errors), file=sys.stderr)
    failed = summary.failed.total()
    return 1 if not summary.scored or (args.strict and failed) else 0


def request_of(args: argparse.Namespace) -> "Request":
    """What the command line asks for. Raises `GateError` where its parts do not fit each other."""
    from gate.scoring.request import Request

    if not (args.paths or args.lists):
        raise GateError("nothing to score: name folders, images, archives or lists of paths.")
    options = options_of(args.method, args.options)
    if args.phi is not None:
        if args.method != "grafiqs":
            raise GateError(f"--phi belongs to grafiqs; {args.method} has none.")
        options["phi"] = args.phi
    return Request(
        method=args.method,
        paths=args.paths,
        lists=args.lists,
        backbone=args.backbone,
        weights=args.weights,
        calibration=args.calibration,
        device=args.device,
        options=options,
        batch_size=args.batch_size,
        seed=args.seed,
        detector=None if args.aligned else _detector_of(args),
        format=args.format,
        value=args.value,
        output=args.output,
        replace=_replacement(args.path_replace),
        errors=args.errors,
        overwrite=args.overwrite,
    )


def options_of(method: str, texts: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` to options of the method, of the type that their defaults have.

    Raises:
        GateError: no `=`, or a value of another type. Unknown names are for the method to refuse.
    """
    from gate.quality import method_info

    defaults = method_info(method).options
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise GateError(f"--option {text}: expected KEY=VALUE.")
        options[key] = _typed(key, value, defaults.get(key))
    return options


def _typed(key: str, text: str, default: object) -> object:
    """`text` as the type of `default`; as whatever it looks like where that is None."""
    if isinstance(default, str):
        return text
    value = _WORDS.get(text.lower(), text)
    for number in (int, float):
        try:
            value = number(text)
            break
        except ValueError:
            continue
    fits = default is None or type(value) is type(default) or (type(default) is float and type(value) is int)
    if not fits:
        raise GateError(f"--option {key}={text}: expected a {type(default).__name__}, such as {default}.")
    return value


def _detector_of(args: argparse.Namespace) -> "DetectorChoice":
    from gate.scoring.request import DetectorChoice

    if not 0 <= args.min_detector_score <= 1:
        raise GateError(f"--min-detector-score {args.min_detector_score}: expected a number from 0 to 1.")
    return DetectorChoice(args.detector, args.detector_weights, args.min_detector_score, args.faces)


def _replacement(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    old, equals, new = text.partition("=")
    if not (old and equals):
        raise GateError(f"--path-replace {text}: expected OLD=NEW.")
    return old, new


def _told(summary: "Summary", errors: Path | None) -> str:
    """What was done and what was not, for standard error."""
    earlier = f" ({summary.skipped:,} of them by an earlier run)" if summary.skipped else ""
    rate = (summary.scored - summary.skipped) / summary.elapsed_s if summary.elapsed_s > 0 else 0.0
    lines = [f"gate: scored {summary.scored:,} images{earlier} in {summary.elapsed_s:.1f} s, {rate:,.0f}/s"]
    if summary.files:
        lines[0] += f" → {', '.join(summary.files)}"
    if summary.ignored:
        lines.append(f"gate: passed over {summary.ignored:,} files that are not called like images")
    failed = summary.failed.total()
    if failed:
        kinds = ", ".join(f"{count:,} {why.value}" for why, count in summary.failed.most_common())
        lines.append(f"gate: {failed:,} without a score: {kinds}")
        # ascii() of a name that could move the cursor or is not UTF-8.
        lines += [f"gate:   {_printable(f.path)}: {_printable(str(f.fault))}" for f in summary.first_failures]
        if failed > len(summary.first_failures):
            lines.append("gate:   …")
        lines.append(f"gate: all of them are in {errors}" if errors else "gate: --errors FILE lists all of them")
    return "\n".join(lines)


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)
