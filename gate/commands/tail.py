"""`gate tail`: follow the stream in the terminal, and save its crops."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers
from gate.errors import ConfigError

if TYPE_CHECKING:
    from gate.client.received import Received
    from gate.publish.event import FaceEvent, VisitEndEvent

DEFAULT_URL = "redis://127.0.0.1:6379/0"


def add_arguments(commands: Subparsers) -> None:
    """Add `gate tail`."""
    parser = commands.add_parser("tail", help="follow the stream in the terminal")
    parser.add_argument(
        "--redis", default=DEFAULT_URL, metavar="URL", help=f"redis://, rediss:// or unix:// (default {DEFAULT_URL})"
    )
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="holds the password, so that no list of processes shows it"
    )
    parser.add_argument(
        "--stream", action="append", metavar="KEY", help="key of the stream (repeatable; default facegate:faces)"
    )
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the crops as DIR/CAMERA/VISIT-SEQ.jpg")
    parser.add_argument("--count", type=_at_least_one, metavar="N", help="end after N events")
    parser.add_argument("--from-start", action="store_true", help="begin with the oldest entry instead of now")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, without the pictures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Follow until `--count` events were shown, or until Ctrl-C; both are a success."""
    from gate.client.stream import FaceStream

    password = None if args.password_file is None else _password(args.password_file)
    streams = args.stream or ["facegate:faces"]
    shown = 0
    try:
        with FaceStream(args.redis, stream=streams, password=password, from_start=args.from_start) as stream:
            # A stream retries for ever; somebody at a terminal wants to know at once that the address is wrong.
            stream.check()
            for received in stream.events():
                if args.save is not None:
                    save(received, args.save)
                print(_as_json(received) if args.json else line(received), flush=True)
                shown += 1
                if shown == args.count:
                    break
    except KeyboardInterrupt:
        return 0
    return 0


def line(received: "Received") -> str:
    """One event for human eyes."""
    from gate.publish.event import FaceEvent

    event = received.event
    if isinstance(event, FaceEvent):
        return _face_line(event, stored_ms=received.entry.stored_ms)
    return _visit_line(event)


def save(received: "Received", folder: Path) -> Path | None:
    """Write a face's crop; returns where, or None for an event without one. Raises `ConfigError`."""
    from gate.publish.event import FaceEvent

    event = received.event
    if not isinstance(event, FaceEvent):
        return None
    path = folder / _file_name(event.camera) / f"{_file_name(event.visit)}-{event.seq:03d}.jpg"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(event.crop)
    except OSError as error:
        raise ConfigError(f"--save {path}: {error.strerror or error}. Give a folder that can be written.") from None
    return path


def _face_line(event: "FaceEvent", *, stored_ms: int) -> str:
    eyes_px = event.signals.get("inter_eye_px")
    parts = [
        _time(event.captured_ms),
        f"{event.camera:<12}",
        f"visit {_short(event.visit)} #{event.seq}",
        "final" if event.final else "     ",
        f"quality {event.quality:5.1f}",
        event.method,
        "" if eyes_px is None else f"eyes {eyes_px:.0f} px",
        # From decode, by the gate's clock, to storage, by the server's: with two machines only as good as their clocks.
        f"{stored_ms - event.captured_ms} ms",
        ",".join(event.reasons),
    ]
    return "  ".join(part for part in parts if part)


def _visit_line(event: "VisitEndEvent") -> str:
    best = "" if event.best_quality is None else f"best {event.best_quality:.1f}"
    rejected = ", ".join(f"{reason} {count}" for reason, count in event.reasons_counts.items())
    parts = [
        _time(event.last_ms),
        f"{event.camera:<12}",
        f"visit {_short(event.visit)} ended",
        f"{(event.last_ms - event.first_ms) / 1000:.1f} s",
        f"{event.faces} faces, {event.accepted} accepted, {event.published} published",
        best,
        f"rejected: {rejected}" if rejected else "",
    ]
    return "  ".join(part for part in parts if part)


def _as_json(received: "Received") -> str:
    import json

    from gate.publish.event import as_json

    return json.dumps(as_json(received.event, images=False), ensure_ascii=True)


def _time(unix_ms: int) -> str:
    import datetime as dt

    try:
        moment = dt.datetime.fromtimestamp(unix_ms / 1000, tz=dt.timezone.utc).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"{unix_ms} ms"
    return moment.strftime("%H:%M:%S.") + f"{unix_ms % 1000:03d}"


def _short(visit: str) -> str:
    """The last characters of a ULID: the first ones are the time, and visits of one minute share them."""
    return visit[-6:]


def _file_name(text: str) -> str:
    """`text` as one part of a path, whatever the sender wrote."""
    return re.sub(r"[^A-Za-z0-9_-]|^(?=$)", "_", text)[:80]


def _password(path: Path) -> str:
    from gate.secret_files import read_secret

    try:
        return read_secret(path)
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"--password-file {path}: cannot be read as text. Give a file that holds the password."
        ) from None


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of events, got {text!r}")
    return int(text)
