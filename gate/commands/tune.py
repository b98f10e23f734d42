"""`gate tune`: which bars fit a camera?"""

import argparse
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers, positive_seconds
from gate.commands.run import add_camera_arguments, config_of
from gate.errors import ConfigError, GateError

if TYPE_CHECKING:
    from gate.config import GateConfig


def add_arguments(commands: Subparsers) -> None:
    """Add `gate tune`."""
    parser = commands.add_parser(
        "tune",
        help="watch cameras without publishing, and propose thresholds",
        description="Detects, tracks and scores as `gate run` does, and publishes nothing. Every face is scored, also "
        "those that the bars reject; numbers are kept and no pictures. Writes report.md, patch.yaml, baseline.json and "
        "faces.csv.",
    )
    add_camera_arguments(parser)
    until = parser.add_mutually_exclusive_group(required=True)
    until.add_argument("--seconds", type=positive_seconds, metavar="N", help="watch for so long, or until files end")
    until.add_argument("--until-eof", action="store_true", help="end when every file source has ended")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--accept-rate",
        type=_share,
        default=0.9,
        metavar="SHARE",
        help="share of visits that min_quality should accept (default 0.9)",
    )
    parser.set_defaults(run=run, redis=None, port=None)


def run(args: argparse.Namespace) -> int:
    """Watch, propose, write. Ctrl-C ends the watching, and what was seen until then is judged."""
    import datetime as dt

    from gate.clock import SystemClock
    from gate.observe.logging import configure
    from gate.tuning.propose import tune
    from gate.tuning.report import write
    from gate.tuning.shadow import ShadowRun

    wanted = config_of(args)
    configure(wanted.log.level, wanted.log.format)
    if args.until_eof:
        _check_that_files_end(wanted)
    config = _with_numbers(wanted)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    clock = SystemClock()
    date = dt.datetime.fromtimestamp(clock.unix_ms() / 1000, tz=dt.timezone.utc).date().isoformat()
    shadow = ShadowRun(config, clock=clock, stop=stop)
    start_s = clock.monotonic_s()
    records = shadow.run(None if args.until_eof else args.seconds)
    if not records:
        raise GateError(f"{shadow.frames} frames and no face in them: nothing to tune. Watch for longer.")
    tuned = []
    for camera in config.cameras:
        own = [record for record in records if record.camera == camera.name]
        if not own:
            print(f"{camera.name}: no face was seen; left out")
            continue
        live = camera.kind in {"network", "webcam"}
        tuned.append(tune(camera.name, own, config.rules_of(camera), args.accept_rate, date, by_hour=live))
    what = f"{date}: {len(records)} faces in {shadow.frames} frames, {clock.monotonic_s() - start_s:.0f} s."
    page = write(args.output, tuned, records, wanted, what)
    for found in tuned:
        keys = ", ".join(f"{p.key} {p.value:g} ({p.low:g} to {p.high:g})" for p in found.proposals) or "nothing"
        print(f"{found.camera}: {found.today.visit_rate:.0%} of {found.today.visits} visits accepted; proposed: {keys}")
    print(page)
    return 0


def _with_numbers(config: "GateConfig") -> "GateConfig":
    """The configuration with bars that are numbers; a wish whose file is still to be made counts as the default."""
    from gate.config import build_config
    from gate.thresholds import resolve

    try:
        return resolve(config).config
    except ConfigError:
        data = config.model_dump(exclude_unset=True)
        for section in (data, *data["cameras"]):
            decide = section.get("decide", {})
            for key in ("baseline", "min_quality"):
                if key == "baseline" or isinstance(decide.get(key), dict):
                    decide.pop(key, None)
        return build_config(data, where="config")


def _check_that_files_end(config: "GateConfig") -> None:
    from gate.daemon import has_an_end

    endless = [camera.name for camera in config.cameras if not has_an_end(camera)]
    if endless:
        raise ConfigError(f"--until-eof never ends with {', '.join(endless)}; use --seconds.")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return share
