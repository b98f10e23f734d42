"""`gate models list|pull|verify|export`: which weights there are, which are here and genuine, and their ONNX form."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers
from gate.errors import WeightsError

if TYPE_CHECKING:
    from gate.weights.fetch import Progress
    from gate.weights.zoo import Entry, Status, Zoo

_COLUMNS = ("name", "kind", "here", "size", "weights licence", "from")


def add_arguments(subparsers: Subparsers) -> None:
    """Add `gate models list|pull|verify|export`."""
    models = subparsers.add_parser("models", help="weight files: what there is, what is here, fetch, verify, export")
    commands = models.add_subparsers(dest="models_command", required=True, metavar="{list,pull,verify,export}")

    listing = commands.add_parser("list", help="all known weights, which are here, their licence")
    listing.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    listing.set_defaults(run=list_models)

    pulling = commands.add_parser("pull", help="fetch weights; only a file with the right checksum is kept")
    pulling.add_argument("names", nargs="+", metavar="NAME", help="as shown by `gate models list`")
    pulling.set_defaults(run=pull)

    verifying = commands.add_parser("verify", help="compare the checksums of what is here with the table")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="default: everything that is here")
    verifying.set_defaults(run=verify)

    exporting = commands.add_parser(
        "export",
        help="write a network as ONNX, checked against torch",
        description="Write a quality regressor or a recognition network as ONNX with a free batch axis. What to feed "
        "it is in the file's metadata; onnxruntime has given torch's answers before the file gets its name.",
    )
    exporting.add_argument(
        "name", metavar="NAME|FILE", help="a regressor of `gate methods`, weights, a checkpoint, or ARCHITECTURE:FILE"
    )
    exporting.add_argument("--format", choices=("onnx",), default="onnx", help="default onnx")
    exporting.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="an old one is replaced")
    exporting.add_argument(
        "--half",
        action="store_true",
        help="keep weights as float16 where that loses nothing: the shipped ones take half the space",
    )
    exporting.set_defaults(run=export)

    for command in (listing, pulling, verifying, exporting):
        command.add_argument(
            "--folder", type=Path, help="default: $GATE_WEIGHTS, else facegate/weights in your cache folder"
        )


def _zoo(args: argparse.Namespace) -> "Zoo":
    from gate.weights.zoo import Zoo

    return Zoo(args.folder)


def list_models(args: argparse.Namespace) -> int:
    """Print the table: for people at a terminal, tab-separated through a pipe, or as JSON."""
    zoo = _zoo(args)
    rows = [(entry, zoo.status(entry.name)) for entry in zoo.entries()]
    if args.json:
        print(json.dumps({"folder": str(zoo.folder), "models": [_document(*row) for row in rows]}, indent=2))
    elif sys.stdout.isatty():
        _print_table([_cells(*row) for row in rows], zoo.folder)
    else:
        for row in rows:
            print("\t".join(_cells(*row)))
    return 0


def pull(args: argparse.Namespace) -> int:
    """Fetch what is missing or damaged; 1 when any name could not be had."""
    zoo = _zoo(args)

    def fetch(name: str) -> str:
        with _progress(name) as progress:
            return str(zoo.ensure(name, progress))

    return _for_each(args.names, fetch)


def fetch_missing(names: Iterable[str]) -> None:
    """Fetch those of `names` that are not here, with a bar for a person. Raises `WeightsError`."""
    from gate.weights.zoo import Zoo

    zoo = Zoo()
    for name in names:
        if zoo.status(name).state != "here":
            print(f"gate: fetching {name} …", file=sys.stderr, flush=True)
            with _progress(name) as progress:
                zoo.ensure(name, progress)


def verify(args: argparse.Namespace) -> int:
    """Compare checksums; 1 when a file is damaged, or missing though it was named."""
    zoo = _zoo(args)
    present = [e.name for e in zoo.entries() if not e.members and zoo.status(e.name).state in {"here", "damaged"}]
    return _for_each(args.names or present, lambda name: f"ok {zoo.verify(name) or ''}".rstrip())


def export(args: argparse.Namespace) -> int:
    """Write the ONNX file and say what it is and how far it is from torch."""
    from gate.quality.onnx_export import export_onnx, load_exportable

    done = export_onnx(load_exportable(args.name, _zoo(args)), args.output, half=args.half)
    contract = done.contract
    print(
        f"{done.path}: {done.answer} of {done.model}, fed with {contract.colour.upper()}, "
        f"(x - {contract.mean:g}) / {contract.scale:g}; largest difference from torch {done.largest_difference:.1e}"
    )
    return 0


def _for_each(names: list[str], action: Callable[[str], str]) -> int:
    """Do all of them even if one fails, so that one bad mirror does not hide the state of the rest."""
    done = [_one(name, action) for name in names]
    return 0 if all(done) else 1


def _one(name: str, action: Callable[[str], str]) -> bool:
    try:
        print(f"{name}: {action(name)}", flush=True)
    except WeightsError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    return True


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} MB"


def _cells(entry: "Entry", status: "Status") -> tuple[str, ...]:
    licence = entry.license_weights
    if "-NC" in licence:
        licence = f"{licence} (non-commercial)"
    origin = ", ".join(dict.fromkeys(source.kind for source in entry.sources)) or _origin_of_unfetched(entry)
    here = {"here": "yes", "missing": "no", "damaged": "damaged", "slot": "your file"}[status.state]
    return entry.name, entry.kind, here, _size(status.bytes or entry.bytes), licence, origin


def _origin_of_unfetched(entry: "Entry") -> str:
    if entry.bundled is not None:
        return "package"
    return "pack" if entry.members else "you"


def _document(entry: "Entry", status: "Status") -> dict[str, object]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "state": status.state,
        "path": None if status.path is None else str(status.path),
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "license_code": entry.license_code,
        "license_weights": entry.license_weights,
        "commercial": entry.commercial,
        "architecture": entry.architecture,
        "description": entry.description,
        "citation": entry.citation,
        "members": list(entry.members),
        "sources": [str(source) for source in entry.sources],
    }


def _print_table(rows: list[tuple[str, ...]], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in _COLUMNS:
        table.add_column(heading, no_wrap=heading == "name")
    colours = {"yes": "green", "damaged": "red"}
    for name, kind, here, size, licence, origin in rows:
        shown = f"[{colours[here]}]{here}[/]" if here in colours else here
        told = f"[yellow]{licence}[/]" if "commercial" in licence else licence
        table.add_row(name, kind, shown, size, told, origin)
    console = Console()
    console.print(table)
    console.print(f"kept in {folder}", style="dim", highlight=False, soft_wrap=True)


@contextmanager
def _progress(name: str) -> Iterator["Progress | None"]:
    """A bar on stderr for a person; nothing for a log."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
