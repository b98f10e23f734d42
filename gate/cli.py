"""The `gate` command: parses arguments and calls; each command is one module of `gate.commands`."""

import argparse
import sys
from collections.abc import Sequence

from gate import __version__
from gate.commands import (
    bench,
    calibrate,
    check,
    config,
    demo,
    distill,
    evaluate,
    events,
    methods,
    models,
    run,
    score,
    tail,
    tune,
)
from gate.errors import GateError

DONE, FAILED, WRONG_USAGE, INTERRUPTED, NO_READER, TERMINATED = 0, 1, 2, 130, 141, 143

EXIT_CODES = {
    DONE: "done; `run`, `demo` and `tail` also when a signal ended them and everything was delivered",
    FAILED: "failed, or something of it did: a probe of `check`, a file, an event that Redis never took",
    WRONG_USAGE: "the command line is wrong",
    INTERRUPTED: "Ctrl-C; for `run` the second one, which leaves behind what was not delivered yet",
    NO_READER: "whoever read the output has gone, as `head` does",
    TERMINATED: "a second SIGTERM ended `run` before everything was delivered",
}
"""What the exit code of every command means."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. Builds in milliseconds: no command imports torch, OpenCV or PyAV before it runs."""
    parser = argparse.ArgumentParser(
        prog="gate",
        description="A streaming camera-quality gate: camera frames in, usable faces in a Redis stream, metrics out.",
        epilog="exit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        *(run, demo, check, tail, events, score, evaluate, calibrate),
        *(tune, distill, bench, methods, models, config),
    ):
        command.add_arguments(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors of ours are one line on standard error, never a traceback."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except GateError as error:
        for line in str(error).splitlines():
            print(f"gate: {line}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; Python would complain again while it flushes at exit.
        sys.stderr.close()
        return NO_READER
