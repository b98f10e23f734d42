"""`gate run`: the daemon."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.commands.arguments import Subparsers
from gate.errors import ConfigError

if TYPE_CHECKING:
    from gate.config import GateConfig


def add_arguments(commands: Subparsers) -> None:
    """Add `gate run`."""
    parser = commands.add_parser("run", help="the daemon: cameras in, accepted faces out")
    add_source_arguments(parser)
    parser.add_argument("--until-eof", action="store_true", help="end when every file source has ended")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the final counts as JSON")
    parser.set_defaults(run=run)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which configuration is meant: `-c`, or `--source` and a few overrides."""
    add_camera_arguments(parser)
    parser.add_argument("--redis", metavar="URL", help="overrides redis.url; without -c the default is embedded:")
    parser.add_argument("--port", type=int, metavar="N", help="overrides http.port")


def add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which cameras are watched and how their faces are scored."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration (YAML)")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="URL",
        help="without -c: rtsp://…, http://…, a file, webcam:0 or virtual: (repeatable; default webcam:0)",
    )
    parser.add_argument("--method", metavar="NAME", help="overrides quality.method")
    parser.add_argument(
        "--fast", action="store_true", help="--source files and virtual: as fast as possible, dropping no frame"
    )


def run(args: argparse.Namespace) -> int:
    """Run until a signal, or until the files end with `--until-eof`."""
    from gate.daemon import Daemon
    from gate.reload import ConfigFile

    # Before the file is read: what is written to it from here on is news.
    file = None if args.config is None else ConfigFile(args.config, partial(config_of, args))
    return Daemon(config_of(args), until_eof=args.until_eof, summary=args.summary, file=file, supervised=True).run()


def config_of(args: argparse.Namespace) -> "GateConfig":
    """The configuration file with the command line's overrides, or one made of `--source` alone."""
    from gate.config import build_config, load_config

    if args.config is not None and args.source:
        raise ConfigError("--source stands for a configuration of its own: use it without -c, or add it to cameras:.")
    if args.config is not None and args.fast:
        raise ConfigError("--fast is for --source; in a configuration, write pace: fast at the camera.")
    overrides: dict[str, dict[str, Any]] = {
        "redis": {} if args.redis is None else {"url": args.redis},
        "quality": {} if args.method is None else {"method": args.method},
        "http": {} if args.port is None else {"port": args.port},
    }
    if args.config is None:
        data: dict[str, Any] = {"cameras": cameras_of(args.source, fast=args.fast), "redis": {"url": "embedded:"}}
        # A trial leaves nothing behind; whoever writes a configuration means it.
        data["spool"] = {"enabled": False}
    else:
        # Read once: it may be a pipe.
        data = load_config(args.config).model_dump(exclude_unset=True)
    for section, values in overrides.items():
        if values:
            data[section] = {**data.get(section, {}), **values}
    return build_config(data, where=str(args.config or "command line"))


def cameras_of(sources: list[str], *, fast: bool = False) -> list[dict[str, Any]]:
    """Camera sections for bare addresses: files are named by their stem, others cam1, cam2 and so on.

    Raises:
        ConfigError: `fast` is wanted and no source can be played fast.
    """
    import re

    from gate.config import kind_of

    cameras: list[dict[str, Any]] = []
    taken: set[str] = set()
    for number, source in enumerate(sources or ["webcam:0"], start=1):
        kind = kind_of(source)
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(source).stem).strip("-._")[:48] if kind == "file" else ""
        name = stem or f"cam{number}"
        while name in taken:
            name = f"{name}-{number}"
        taken.add(name)
        pace = "fast" if fast and kind in {"file", "virtual"} else "realtime"
        cameras.append({"name": name, "url": source, "pace": pace})
    if fast and all(camera["pace"] == "realtime" for camera in cameras):
        raise ConfigError("--fast: no --source is a file or virtual:, and cameras come in their own time.")
    return cameras
