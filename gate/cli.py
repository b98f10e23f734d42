"""The `gate` command: parses arguments and calls; each command is one module of `gate.commands`."""

import argparse
import sys
from collections.abc import Sequence

from gate import __version__
from gate.commands import calibrate, check, config, demo, evaluate, methods, models, run, score, tail
from gate.errors import GateError


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. Builds in milliseconds: no command imports torch, OpenCV or PyAV before it runs."""
    parser = argparse.ArgumentParser(
        prog="gate",
        description="A streaming camera-quality gate: camera frames in, usable faces in a Redis stream, metrics out.",
    )
    parser.add_argument("--version", action="version", version=f"gate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (run, demo, check, tail, score, evaluate, calibrate, methods, models, config):
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
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; Python would complain again while it flushes at exit.
        sys.stderr.close()
        return 141
