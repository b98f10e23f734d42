"""`gate distill`: trains a quality network on your own crops, or the diffusion network that DifFIQA needs."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers
from gate.errors import GateError

if TYPE_CHECKING:
    from gate.lab.distill.diffusion import UnetPlan
    from gate.lab.distill.plan import Plan
    from gate.lab.distill.run import Outcome
    from gate.lab.distill.telling import Telling

DIFFUSION = "diffusion"
DEFAULT_RECIPE = "recognizers"

_INTERRUPTED = 130

_OF_REGRESSOR = {
    "identities": "--identities",
    "recipe": "--recipe",
    "changes": "--set",
    "teachers": "--teacher",
    "witnesses": "--witness",
    "labels": "--label",
    "start": "--start",
    "held_back": "--held-back",
}
_OF_DIFFUSION = {"dim": "--dim", "steps": "--steps", "batch": "--batch"}


def add_arguments(commands: Subparsers) -> None:
    """Add `gate distill`."""
    parser = commands.add_parser(
        "distill",
        help="train a small quality network on your own crops, or DifFIQA's diffusion network",
        usage="gate distill SOURCE... -o DIR [options]\n       gate distill diffusion SOURCE... -o DIR [options]",
        description="Train a small network on the quality that recognizers or slower methods see in aligned crops. "
        "The word `diffusion` before the sources trains the diffusion network of DifFIQA instead. Ctrl-C is safe: the "
        "same command goes on where it was.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folder or archive of aligned 112x112 crops (./diffusion if so named)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where all files go")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every draw (default 0)")
    parser.add_argument("--limit", type=int, metavar="N", help="take N crops of each source, evenly spread")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a CPU that this process may use")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu or cuda:N")
    _add_regressor(parser)
    _add_diffusion(parser)
    parser.set_defaults(run=run)


def _add_regressor(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of the quality network")
    group.add_argument(
        "--identities",
        type=Path,
        action="append",
        metavar="CSV",
        help="who is who: first column the path, a column `identity` (repeatable)",
    )
    group.add_argument(
        "--recipe",
        metavar="NAME",
        help="recognizers (default: by what recognizers make of degraded crops), diffiqa-r, ediffiqa-l, -m, -s, -t",
    )
    group.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="numbers of the recipe: epochs=1.5",
    )
    group.add_argument(
        "--teacher",
        dest="teachers",
        nargs="+",
        action="extend",
        metavar="RECOGNIZER",
        help="whom recipe recognizers asks (default w600k-mbf facexzoo-mobilefacenet)",
    )
    group.add_argument(
        "--witness",
        dest="witnesses",
        action="append",
        metavar="METHOD",
        help="a method whose scores help to label crops of unknown people; same recipe (repeatable)",
    )
    group.add_argument(
        "--label",
        dest="labels",
        action="append",
        metavar="METHOD[=WEIGHT]",
        help="what the other recipes learn: a method, or scores:FILE as `gate score` writes it (repeatable, blended)",
    )
    group.add_argument(
        "--start", metavar="NAME|FILE", help="weights to start from: recognition network, or regressor to train on"
    )
    group.add_argument(
        "--held-back", type=float, metavar="SHARE", help="of the people, kept from training to check it (default 0.1)"
    )


def _add_diffusion(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of the diffusion network")
    group.add_argument("--dim", type=int, metavar="N", help="width (default 64; published 128)")
    group.add_argument("--steps", type=int, metavar="N", help="default 100000, as published; more go on later")
    group.add_argument("--batch", type=int, metavar="N", help="crops a step (default 64)")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when the weights are there, 130 when it was stopped and the same command would go on."""
    from gate.lab.distill.telling import Telling

    telling = Telling(sys.stderr)
    try:
        with _stop_on_interrupt() as stop:
            outcome = _started(args, telling, stop)
    except KeyboardInterrupt:
        telling.say(f"stopped; what is done is kept in {args.output}. The same command goes on where it was.")
        return _INTERRUPTED
    finally:
        telling.close()
    if outcome.state == "stopped":
        telling.say(f"stopped, with a checkpoint in {args.output}. The same command goes on where it was.")
        return _INTERRUPTED
    if outcome.state == "was done":
        telling.say(f"{args.output} is finished already, nothing to do; name another folder to train again.")
    print(outcome.weights)
    return 0


def _started(args: argparse.Namespace, telling: "Telling", stop: Callable[[], bool]) -> "Outcome":
    if args.sources[0] == DIFFUSION:
        from gate.lab.distill.diffusion import train_unet

        return train_unet(diffusion_plan_of(args), telling, stop)
    from gate.lab.distill.run import distill

    return distill(plan_of(args), telling, stop)


def plan_of(args: argparse.Namespace) -> "Plan":
    """What the command line asks for. Raises `GateError` where its parts do not fit each other."""
    from gate.lab.distill.plan import DEFAULT_TEACHERS, LabelRequest, Plan
    from gate.lab.distill.recipe import adjusted, recipe
    from gate.lab.distill.run import check_plan
    from gate.quality.device import resolve_device

    _refuse(args, _OF_DIFFUSION, "belongs to `gate distill diffusion`")
    chosen = adjusted(recipe(args.recipe or DEFAULT_RECIPE), _changes(args.changes or []))
    if args.teachers and chosen.rule != "recognizers":
        raise GateError(f"--teacher: recipe {chosen.name} asks methods, not recognizers; name them with --label.")
    if args.witnesses and chosen.rule != "recognizers":
        raise GateError(f"--witness: recipe {chosen.name} learns scores themselves; name methods with --label.")
    plan = Plan(
        sources=tuple(args.sources),
        output=args.output,
        recipe=chosen,
        identities=tuple(args.identities or ()),
        teachers=tuple(args.teachers or DEFAULT_TEACHERS),
        witnesses=tuple(args.witnesses or ()),
        labels=tuple(LabelRequest.parse(text) for text in args.labels or ()),
        start=args.start,
        held_back=0.1 if args.held_back is None else args.held_back,
        seed=_seed(args),
        limit=_limit(args),
        threads=_threads(args),
        device=resolve_device(args.device),
    )
    check_plan(plan)
    return plan


def diffusion_plan_of(args: argparse.Namespace) -> "UnetPlan":
    """What the command line asks for. Raises `GateError` where its parts do not fit each other."""
    from gate.lab.distill.diffusion import UnetPlan
    from gate.lab.distill.restorer import UnetRecipe
    from gate.quality.device import resolve_device

    _refuse(args, _OF_REGRESSOR, "is not for `gate distill diffusion`")
    if len(args.sources) < 2:
        raise GateError(
            "no crops to learn from: name folders or archives after `diffusion`, or ./diffusion for a folder."
        )
    dim, batch = (given if given is not None else 64 for given in (args.dim, args.batch))
    return UnetPlan(
        sources=tuple(args.sources[1:]),
        output=args.output,
        recipe=UnetRecipe(dim, batch, _seed(args)),
        steps=100_000 if args.steps is None else args.steps,
        limit=_limit(args),
        threads=_threads(args),
        device=resolve_device(args.device),
    )


def _refuse(args: argparse.Namespace, options: dict[str, str], why: str) -> None:
    for name, option in options.items():
        if getattr(args, name) is not None:
            raise GateError(f"{option} {why}.")


def _changes(texts: list[str]) -> dict[str, str]:
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise GateError(f"--set {text}: expected KEY=VALUE, such as epochs=1.5")
        changes[name] = value
    return changes


def _seed(args: argparse.Namespace) -> int:
    if args.seed < 0:
        raise GateError(f"--seed {args.seed}: expected 0 or more")
    return int(args.seed)


def _limit(args: argparse.Namespace) -> int | None:
    if args.limit is not None and args.limit < 1:
        raise GateError(f"--limit {args.limit}: expected 1 or more")
    return None if args.limit is None else int(args.limit)


def _threads(args: argparse.Namespace) -> int:
    if args.threads is not None and args.threads < 1:
        raise GateError(f"--threads {args.threads}: expected 1 or more")
    # A container or a batch system may leave this process fewer CPUs than the machine has.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return args.threads or usable or 1


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """What training asks after each step. Before anybody asks, and the second time, Ctrl-C interrupts at once."""
    asked = listening = False

    def stop() -> bool:
        nonlocal listening
        listening = True
        return asked

    def handle(*_: object) -> None:
        nonlocal asked
        if asked or not listening:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    usual = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)
