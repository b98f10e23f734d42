"""A camera that is not there: the rendered scene as a frame source, for trying the gate out and for its tests."""

import time
from collections.abc import Callable
from typing import TypedDict
from urllib.parse import parse_qsl

from gate.capture.causes import Cause, lost
from gate.capture.scene import Scene
from gate.capture.scene_truth import Truth
from gate.capture.source import Picture
from gate.clock import Clock, SystemClock
from gate.errors import ConfigError

LABEL = "virtual:"

FASTEST_FPS = 240.0
LONGEST_SECONDS = 1e6
LARGEST_SEED = 2**32 - 1

_HINT = "Write for example virtual:?seed=3&fps=10&seconds=20; all three may be left out."


class VirtualOptions(TypedDict, total=False):
    """What the address of a virtual camera can say; keyword arguments of `VirtualSource`."""

    seed: int
    fps: float
    duration_s: float


def parse_virtual(url: str) -> VirtualOptions:
    """Read `virtual:` or `virtual:?seed=3&fps=10&seconds=20`.

    >>> parse_virtual("virtual:?seed=3&seconds=20")
    {'seed': 3, 'duration_s': 20.0}

    Raises:
        ConfigError: another scheme, an unknown or repeated key, or a value out of range.
    """
    scheme, colon, rest = url.partition(":")
    if scheme.lower() != "virtual" or not colon or (rest and not rest.startswith("?")):
        raise ConfigError(f"not the address of a virtual camera. {_HINT}")
    try:
        pairs = parse_qsl(rest[1:], keep_blank_values=True, strict_parsing=len(rest) > 1)
    except ValueError:
        raise ConfigError(f"virtual: what follows the ? is not key=value&key=value. {_HINT}") from None
    wanted = dict(pairs)
    if len(wanted) < len(pairs) or set(wanted) - {"seed", "fps", "seconds"}:
        raise ConfigError(f"virtual: knows seed, fps and seconds, each once. {_HINT}")
    options: VirtualOptions = {}
    if "seed" in wanted:
        options["seed"] = int(_number("seed", wanted["seed"], 0, LARGEST_SEED, whole=True))
    if "fps" in wanted:
        options["fps"] = _number("fps", wanted["fps"], 0.1, FASTEST_FPS)
    if "seconds" in wanted:
        options["duration_s"] = _number("seconds", wanted["seconds"], 0.001, LONGEST_SECONDS)
    return options


def _number(key: str, text: str, low: float, high: float, *, whole: bool = False) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    # Not a number fails both comparisons.
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"virtual: {key} must be {kind} from {low:g} to {high:g}. {_HINT}")
    return value


class VirtualSource:
    """Renders the scene in the reader's own thread; nothing is encoded.

    In real time it behaves like a camera: a reader that comes late gets the frame of now, and those it missed are
    never rendered. Otherwise every frame comes, as fast as it is wanted.

    Args:
        seed: decides who comes and what they do.
        fps: frames a second of scene time.
        width: columns of a frame.
        height: rows of a frame.
        duration_s: length of the stream; None for endless.
        realtime: pace the frames and be live.
        clock: decides when a frame is due.
        wait: sleeps until then; `Event.wait` makes it interruptible.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        fps: float = 15.0,
        width: int = 1280,
        height: int = 720,
        duration_s: float | None = None,
        realtime: bool = True,
        clock: Clock | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.label = LABEL
        self.live = realtime
        self.truth: Truth | None = None
        """What the picture that was read last shows."""
        self._seed, self._fps, self._size = seed, fps, (width, height)
        self._frames = None if duration_s is None else max(round(duration_s * fps), 1)
        self._clock = clock if clock is not None else SystemClock()
        self._wait = wait
        self._scene: Scene | None = None
        self._next = 0
        self._started_s = 0.0

    def open(self) -> None:
        """Paint the place and, when live, the people: about a second.

        Raises:
            CaptureError: a portrait is missing.
        """
        width, height = self._size
        scene = Scene(self._seed, width, height, self._fps)
        if self.live:
            scene.prepare()
        self._scene = scene
        self._started_s = self._clock.monotonic_s()
        self._next = 0

    def read(self) -> Picture | None:
        """The next picture, or the one of now when live; None after `duration_s` and after `close`.

        Raises:
            CaptureError: it was never opened, or a portrait is missing.
        """
        scene = self._scene
        if scene is None:
            raise lost(self.label, Cause.OTHER, detail="read before it was opened", remedy="Open it first.")
        index = self._due() if self.live else self._next
        if self._frames is not None and index >= self._frames:
            return None
        self._next = index + 1
        image, self.truth = scene.frame(index)
        return Picture(image, 1000 * index / self._fps)

    def close(self) -> None:
        """Let go of the scene. Safe to call twice and before `open`."""
        self._frames = 0

    def _due(self) -> int:
        """Index of the frame to deliver, after waiting until its time has come."""
        elapsed_s = self._clock.monotonic_s() - self._started_s
        index = max(self._next, int(elapsed_s * self._fps))
        ended = self._frames is not None and index >= self._frames
        ahead_s = index / self._fps - elapsed_s
        if ahead_s > 0 and not ended:
            self._wait(ahead_s)
        return index
