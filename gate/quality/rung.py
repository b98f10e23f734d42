"""One method of a chain: how it is loaded, proves itself, is benched, and comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gate.clock import Clock
from gate.errors import ConfigError, DeviceError, GateError, NotCalibratedError, WeightsError
from gate.quality.method import Crops, QualityMethod
from gate.quality.selftest import SelfTestError, self_test
from gate.reasons import FallbackCause
from gate.types import FloatArray

BAD_BATCHES = 5
"""A method that fails for some faces of this many batches in a row is benched."""

COOL_DOWN_S = 60.0
"""How long a benched method waits before its first self-test."""

LONGEST_COOL_DOWN_S = 3600.0
"""The wait doubles each time it was for nothing, up to this: a test stops the engine for as long as a few crops."""

CPU = "cpu"

_MOST_CHARACTERS = 200


class Load(Protocol):
    """Makes a method from what is configured."""

    def __call__(self, device: str, *, fetch: bool) -> QualityMethod:
        """The method on that device; weights that are missing are fetched only when `fetch` says so.

        Raises:
            GateError: as `gate.quality.load_method`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a method is not, or not where, it should be."""

    cause: FallbackCause

    problem: str
    """In a sentence, for the log."""


class Rung:
    """One method, in play or benched.

    Args:
        name: name of the method.
        load: makes it.
        device: where it should run, such as `cpu` or `cuda:0`.
        clock: time of the cool-downs.
        cool_down_s: first wait of a benched method.
    """

    def __init__(self, name: str, load: Load, *, device: str, clock: Clock, cool_down_s: float = COOL_DOWN_S) -> None:
        self.name = name
        self.method: QualityMethod | None = None
        """The method in play; None when it is benched."""
        self.trouble: Trouble | None = None
        """Why it is benched, or on the CPU in place of its device; None when all is well."""
        self.crop_s = 0.0
        """Seconds for one crop when it was last measured."""
        self._load = load
        self._device = device
        self._clock = clock
        self._first_wait_s = cool_down_s
        self._wait_s = cool_down_s
        self._probe_s = 0.0
        self._well_since_s = clock.monotonic_s()
        self._bad_batches = 0

    def start(self) -> None:
        """Load and test; a method without sound weights, or that fails its self-test, is benched.

        Raises:
            ConfigError: the method has no calibration.
            GateError: an option or a device that cannot be.
        """
        try:
            self._take_or_move()
        except NotCalibratedError as error:
            raise ConfigError(f"quality: each method of a chain must be calibrated: {error}") from None
        except WeightsError as error:
            self.bench(Trouble(FallbackCause.WEIGHTS, str(error)))
        except SelfTestError as error:
            self.bench(Trouble(FallbackCause.SELF_TEST, str(error)))

    def probe(self) -> bool:
        """Test what is benched or away from its device, when its time has come; True when it is well again."""
        if self.trouble is None or self._clock.monotonic_s() < self._probe_s:
            return False
        try:
            self._take(self._device, fetch=False)
        except Exception:  # noqa: BLE001 - whatever it is, the method has not proved itself; its trouble was told
            self._wait()
            return False
        self.trouble = None
        self._well_since_s = self._clock.monotonic_s()
        return True

    def rate(self, crops: Crops, seeds: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Raw numbers and quality, (N,) float32 each; after a fault of the device once more on the CPU.

        Raises:
            Exception: whatever the method raises.
        """
        method = self._playing()
        try:
            return _numbers(method, crops, seeds)
        except Exception as error:
            if method.device == CPU:
                raise
            self._move(error)
        return _numbers(self._playing(), crops, seeds)

    def count(self, *, good: bool) -> bool:
        """Note how a batch went; True when there were too many bad ones in a row."""
        self._bad_batches = 0 if good else self._bad_batches + 1
        return self._bad_batches >= BAD_BATCHES

    def bench(self, trouble: Trouble) -> None:
        """Take the method out of play until it proves itself; its memory is given back."""
        self.method = None
        self._bad_batches = 0
        self._stumble(trouble)

    def _take_or_move(self) -> None:
        try:
            self._take(self._device, fetch=True)
        except DeviceError as error:
            # A GPU that others have filled is no reason to stay without the method.
            if self._device == CPU:
                raise
            self._move(error)
        except GateError:
            raise
        except Exception as error:
            if self._device == CPU:
                raise SelfTestError(f"{self.name} broke off in its self-test: {in_short(error)}") from error
            self._move(error)

    def _take(self, device: str, *, fetch: bool) -> None:
        """Play with a fresh method that has proved itself."""
        method = self._load(device, fetch=fetch)
        self.crop_s = self_test(method, self._clock)
        self.method = method

    def _move(self, error: Exception) -> None:
        """Go on on the CPU."""
        self._take(CPU, fetch=False)
        self._stumble(Trouble(FallbackCause.DEVICE, f"{self._device}: {in_short(error)}"))

    def _stumble(self, trouble: Trouble) -> None:
        # One that went well for longer than it would wait now starts with the first wait again.
        if self._clock.monotonic_s() - self._well_since_s > self._wait_s:
            self._wait_s = self._first_wait_s
        self.trouble = trouble
        self._wait()

    def _wait(self) -> None:
        self._probe_s = self._clock.monotonic_s() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_COOL_DOWN_S)

    def _playing(self) -> QualityMethod:
        if self.method is None:
            raise RuntimeError(f"{self.name} is benched")
        return self.method


def in_short(error: Exception) -> str:
    """Type and first line of an exception."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:_MOST_CHARACTERS] if lines else 'without words'}"


def _numbers(method: QualityMethod, crops: Crops, seeds: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    raw = np.asarray(method.raw(crops, seeds=seeds), dtype=np.float32)
    quality = np.asarray(method.quality_of(raw), dtype=np.float32)
    if raw.shape != (len(crops),) or quality.shape != raw.shape:
        raise ValueError(f"{len(crops)} crops gave {method.name} numbers of shape {raw.shape} and {quality.shape}")
    return raw, quality
