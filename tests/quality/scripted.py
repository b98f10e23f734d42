"""Methods, chains and reports that do and remember what a test says."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gate.errors import NotCalibratedError
from gate.quality.fallback import FallbackMethod
from gate.quality.method import Crops, QualityMethod, Seeds
from gate.quality.opinion import SecondOpinion
from gate.quality.rung import Load, Rung
from gate.reasons import FallbackCause, Shed
from gate.types import FloatArray, Image
from tests.conftest import FakeClock


@dataclass
class Told:
    """A report that remembers: causes, who scores now, and what was allowed."""

    switches: list[tuple[str, str, str]] = field(default_factory=list)
    returns: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unready: dict[str, str] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    left_out: Counter[Shed] = field(default_factory=Counter)
    allowed_s: float = 0.0

    def switched(self, cause: FallbackCause, *, method: str, instead_of: str, device: str, problem: str) -> None:
        self.switches.append((cause.value, f"{method} on {device}", instead_of))
        self.problems.append(problem)

    def returned(self, *, method: str, instead_of: str, device: str) -> None:
        self.returns.append((f"{method} on {device}", instead_of))

    def not_ready(self, method: str, problem: str) -> None:
        self.unready[method] = problem

    def fallback(self, cause: FallbackCause, problem: str) -> None:
        self.causes.append(cause.value)

    def shed(self, what: Shed, count: int) -> None:
        self.left_out[what] += count

    def allow(self, seconds: float) -> None:
        self.allowed_s = seconds


class Scripted:
    """A method whose number is the brightness of a crop's first pixel, until the test says otherwise."""

    def __init__(self, name: str, device: str = "cpu", model: str | None = None) -> None:
        self.name, self.device = name, device
        self.model = f"{name}@00000000" if model is None else model
        self.rule: Callable[[FloatArray], FloatArray] = lambda numbers: numbers
        self.calibrated = True
        self.batches: list[list[float]] = []
        self.seeds: list[int] = []

    def raw(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        numbers = np.asarray(crops, dtype=np.float32)[:, 0, 0, 0]
        self.batches.append(numbers.tolist())
        self.seeds = list(seeds) if isinstance(seeds, Sequence) else []
        return self.rule(numbers)

    def score(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        return self.score_of(self.raw(crops, seeds=seeds))

    def score_of(self, raw: FloatArray) -> FloatArray:
        return -raw

    def quality(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        return self.quality_of(self.raw(crops, seeds=seeds))

    def quality_of(self, raw: FloatArray) -> FloatArray:
        if not self.calibrated:
            raise NotCalibratedError(f"no map to 0..100 for {self.name}")
        return np.clip(raw, 0, 100)

    def is_plausible(self, raw: FloatArray) -> npt.NDArray[np.bool_]:
        return np.abs(raw) < 1000


@dataclass
class Stage:
    """A chain of scripted methods, with everything that was loaded and told."""

    clock: FakeClock
    device: str = "cpu"
    told: Told = field(default_factory=Told)
    loads: list[tuple[str, str, bool]] = field(default_factory=list)
    methods: dict[str, Scripted] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)

    def loader(self, name: str) -> Load:
        def load(device: str, *, fetch: bool) -> QualityMethod:
            self.loads.append((name, device, fetch))
            for key in (name, f"{name} on {device}"):
                if key in self.broken:
                    raise self.broken[key]
            known = self.methods.get(name) or Scripted(name)
            method = Scripted(name, device, known.model)
            method.rule, method.calibrated = known.rule, known.calibrated
            self.methods[name] = method
            return method

        return load

    def chain(self, *names: str, opinion: SecondOpinion | None = None) -> FallbackMethod:
        rungs = [Rung(name, self.loader(name), device=self.device, clock=self.clock) for name in names]
        method = FallbackMethod(rungs, clock=self.clock, report=self.told, second_opinion=opinion)
        method.start()
        return method


def crops_of(*numbers: int) -> Image:
    crops = np.zeros((len(numbers), 112, 112, 3), np.uint8)
    crops[:, 0, 0, 0] = numbers
    return crops


def not_a_number(*hopeless: int) -> Callable[[FloatArray], FloatArray]:
    return lambda numbers: np.where(np.isin(numbers, hopeless), np.nan, numbers).astype(np.float32)


def breaking(error: Exception) -> Callable[[FloatArray], FloatArray]:
    def rule(_numbers: FloatArray) -> FloatArray:
        raise error

    return rule


def methods_of(method: FallbackMethod, crops: Image) -> list[str]:
    return [rating.method for rating in method.rate(crops)]
