"""Damaged inputs by the hundred thousand: configurations, events, HTTP requests, weight files, pickles.

    python scripts/fuzz.py --seconds 600

Good inputs are cut, bits are flipped, pieces are repeated, dropped and exchanged. Each must be read, or refused with an
error of ours, within ten seconds; pickles carry code that would leave a file behind if it ever ran. Prints how many
inputs there were of each kind; exit status 1 at the first that does anything else, with the input in a file.
"""

import argparse
import pickle
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gate.config import parse_config
from gate.errors import ConfigError, EventError, WeightsError
from gate.observe.request import BadRequestError, parse_head
from gate.publish.event import FaceEvent, VisitEndEvent, decode, encode
from gate.publish.jpeg import encode_crop
from gate.weights.checkpoint import load_state_dict
from gate.weights.unpickle import read_pickled

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST_S = 10
BATCH = 20


class Planted:
    """Pickles as a call that would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._target), "w")


@dataclass(frozen=True)
class Kind:
    """One kind of input: good ones, who reads them, and what it may refuse them with."""

    name: str
    good: list[bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]


def damaged(data: bytes, dice: random.Random) -> bytes:
    """`data` after one to four accidents."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if not out:
            break
        start = dice.randrange(len(out))
        end = min(len(out), start + dice.choice((1, 2, 8, 64)))
        accident = dice.randrange(6)
        if accident == 0:
            out[start] ^= 1 << dice.randrange(8)
        elif accident == 1:
            del out[start:]
        elif accident == 2:
            del out[start:end]
        elif accident == 3:
            out[start:start] = out[start:end] * dice.choice((1, 2, 50))
        elif accident == 4:
            out[start:end] = dice.randbytes(end - start)
        else:
            out[start:end] = dice.choice(
                (b"\x00", b"\xff" * 8, b"-1", b"1e999", b"[" * 200, b"\n", b"\xed\xa0\x80", b": &a")
            )
    return bytes(out)


def kinds(folder: Path) -> list[Kind]:
    """Everything that reads what somebody else wrote."""
    return [
        Kind(
            "configuration",
            [file.read_bytes() for file in sorted((REPOSITORY / "config").glob("*.yaml"))],
            _config,
            (ConfigError,),
        ),
        Kind("event", _events(), _event, (EventError,)),
        Kind("HTTP request", _requests(), parse_head, (BadRequestError,)),
        Kind("pickled weights", _pickles(folder), _weights(folder / "w.pkl", read_pickled), (WeightsError,)),
        Kind("safetensors", _tensors(folder), _weights(folder / "w.safetensors", load_state_dict), (WeightsError,)),
    ]


def _config(data: bytes) -> object:
    return parse_config(data.decode(errors="replace"))


def _event(data: bytes) -> object:
    # Fields and values in turns; a length of two bytes in front of each.
    parts, place = [], 0
    while place + 2 <= len(data):
        length = int.from_bytes(data[place : place + 2], "big")
        parts.append(data[place + 2 : place + 2 + length])
        place += 2 + length
    return decode(dict(zip(parts[::2], parts[1::2], strict=False)))


def _packed(entry: dict[str, bytes]) -> bytes:
    parts = [part if isinstance(part, bytes) else str(part).encode() for pair in entry.items() for part in pair]
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _events() -> list[bytes]:
    crop = encode_crop(np.full((112, 112, 3), 128, np.uint8))
    ulid = "01JD0000000000000000000000"
    face = FaceEvent(
        event_id=ulid, camera="door", visit=ulid, seq=1, final=True, captured_ms=1_700_000_000_000, frame_pts_ms=40.0,
        width=1920, height=1080, box=(10.5, 20.0, 100.25, 120.0), landmarks=tuple(float(n) for n in range(10)),
        det_score=0.93, quality=71.5, raw=-0.01, method="grafiqs", model="m@0123abcd", signals={"yaw_deg": -3.5},
        crop=crop,
    )  # fmt: skip
    end = VisitEndEvent(
        event_id=ulid, camera="door", visit=ulid, first_ms=1, last_ms=2, faces=9, accepted=2, published=1,
        reasons_counts={"too_small": 5}, best_quality=71.5,
    )  # fmt: skip
    return [_packed(encode(face)), _packed(encode(end))]


def _requests() -> list[bytes]:
    return [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
        b"HEAD /status?x=%20 HTTP/1.0\r\nHost: door\r\nAccept: */*\r\nContent-Length: 4\r\n\r\n",
    ]


def _pickles(folder: Path) -> list[bytes]:
    block = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    found = []
    for as_zip in (False, True):
        for content in (
            block,
            block.state_dict(),
            {"state_dict": block.state_dict(), "x": Planted(folder / "planted")},
        ):
            torch.save(content, folder / "good", _use_new_zipfile_serialization=as_zip)
            found.append((folder / "good").read_bytes())
    return [*found, pickle.dumps(Planted(folder / "planted"), 2), pickle.dumps([Planted(folder / "planted")], 4)]


def _tensors(folder: Path) -> list[bytes]:
    from safetensors.torch import save_file

    save_file({"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}, folder / "good")
    return [(folder / "good").read_bytes()]


def _weights(file: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def from_file(data: bytes) -> object:
        file.write_bytes(data)
        return read(file)

    return from_file


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in what takes longer."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tried(kind: Kind, data: bytes) -> Exception | None:
    """What went wrong with an input; None for one that was read or refused as it should."""
    try:
        with at_most(LONGEST_S):
            kind.read(data)
    except kind.refusals:
        return None
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return error
    return None


def main() -> int:
    """Fuzz for a while; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failure", type=Path, default=Path("fuzz-failure"), help="where an input that failed is left")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="gate-") as name:
        folder = Path(name)
        everything = kinds(folder)
        counts, spent_s = (
            dict.fromkeys((kind.name for kind in everything), 0),
            dict.fromkeys((k.name for k in everything), 0.0),
        )
        end_s = time.monotonic() + arguments.seconds
        while time.monotonic() < end_s:
            # The kind that has had the least time is next: a quick reader gets through more.
            kind = min(everything, key=lambda each: spent_s[each.name])
            began_s = time.monotonic()
            for _ in range(BATCH):
                data = damaged(dice.choice(kind.good), dice)
                error = tried(kind, data)
                if error is None and (folder / "planted").exists():
                    error = RuntimeError("code of the pickle ran")
                if error is not None:
                    arguments.failure.write_bytes(data)
                    print(f"{kind.name}: {type(error).__name__}: {error}; the input is in {arguments.failure}")
                    return 1
                counts[kind.name] += 1
            spent_s[kind.name] += time.monotonic() - began_s
    for name, count in counts.items():
        print(f"{name}: {count:,} inputs, each read or refused in words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
