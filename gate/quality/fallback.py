"""Several methods as one that goes on: what the first cannot score, the next does.

Each face's rating names the method that really scored it, and each method has its own calibration, so that a quality
means the same whichever it was.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gate.clock import Clock
from gate.errors import WeightsError
from gate.quality.method import Crops, QualityMethod, Seeds, checked_crops, seed_list
from gate.quality.opinion import Budget, SecondOpinion
from gate.quality.rung import Rung, Trouble, in_short
from gate.reasons import FallbackCause, Shed
from gate.types import FloatArray, Rating

PATIENCE = 3.0
"""How many times as long as in its self-test a method may take: by then cameras and detector want the cores too."""


class FallbackReport(Protocol):
    """Who is told."""

    def switched(self, cause: FallbackCause, *, method: str, instead_of: str, device: str, problem: str) -> None:
        """From now on `method` scores on `device` in place of `instead_of`, or of itself on a device that failed."""
        ...

    def returned(self, *, method: str, instead_of: str, device: str) -> None:
        """A better method, or a method's own device, has proved itself and scores again."""
        ...

    def not_ready(self, method: str, problem: str) -> None:
        """A method that is not needed yet could not be used if it were."""
        ...

    def fallback(self, cause: FallbackCause, problem: str) -> None:
        """Some faces of a batch were scored by another method than the rest."""
        ...

    def allow(self, seconds: float) -> None:
        """A batch may take so long from now on."""
        ...

    def shed(self, what: Shed, count: int) -> None:
        """So much was left out, because the engine cannot keep up."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one method said of one crop."""

    raw: float
    quality: float
    scorer: QualityMethod

    @property
    def finite(self) -> bool:
        return math.isfinite(self.raw) and math.isfinite(self.quality)


class FallbackMethod:
    """A chain of methods as one `QualityMethod`; `name`, `model` and `device` are those of the one in use.

    Args:
        rungs: the methods, the wanted one first, each loaded by `start`.
        clock: time.
        report: is told of every switch.
        second_opinion: which faces the next method is asked about too; None asks about none.
        max_batch: most crops handed over at once.
    """

    def __init__(
        self,
        rungs: Sequence[Rung],
        *,
        clock: Clock,
        report: FallbackReport,
        second_opinion: SecondOpinion | None = None,
        max_batch: int = 32,
    ) -> None:
        self.rungs = tuple(rungs)
        self.name, self.model, self.device = self.rungs[0].name, "", ""
        self._active = self.rungs[0]
        self._clock = clock
        self._report = report
        self._opinion = second_opinion
        self._paused = False
        self._budget = None if second_opinion is None else Budget(second_opinion.budget_ms_per_s, clock)
        self._max_batch = max_batch

    def start(self) -> None:
        """Load and test every method.

        Raises:
            ConfigError: a method has no calibration.
            WeightsError: no method can be used; the message says why for each.
            GateError: an option or a device that cannot be.
        """
        for rung in self.rungs:
            rung.start()
        ready = [rung for rung in self.rungs if rung.method is not None]
        if not ready:
            troubles = [rung.trouble.problem for rung in self.rungs if rung.trouble is not None]
            raise WeightsError("no quality method can be used: " + "; ".join(troubles))
        self._use(ready[0])
        for rung in self.rungs:
            self._tell_start(rung)

    def rate(self, crops: Crops, *, seeds: Seeds = None) -> list[Rating]:
        """One rating a crop, with the method that made it.

        Args:
            crops: (N, 112, 112, 3) uint8 RGB.
            seeds: as in `QualityMethod.raw`.

        Returns:
            N ratings; not-a-number where no method had one.

        Raises:
            QualityError: crops of another shape or type.
            Exception: every method broke off; what the first one raised.
        """
        return [Rating(a.raw, a.quality, a.scorer.name, a.scorer.model) for a in self._answers(crops, seeds)]

    def raw(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """See `QualityMethod.raw`; each number is that of the method which `rate` would name."""
        return np.array([answer.raw for answer in self._answers(crops, seeds)], dtype=np.float32)

    def score(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """See `QualityMethod.score`, and `raw`."""
        answers = self._answers(crops, seeds)
        scores = [answer.scorer.score_of(np.array([answer.raw], dtype=np.float32))[0] for answer in answers]
        return np.array(scores, dtype=np.float32)

    def quality(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """See `QualityMethod.quality`; comparable whichever method scored."""
        return np.array([answer.quality for answer in self._answers(crops, seeds)], dtype=np.float32)

    def score_of(self, raw: FloatArray) -> FloatArray:
        """See `QualityMethod.score_of`; for numbers of the method in use."""
        return self._in_use().score_of(raw)

    def quality_of(self, raw: FloatArray) -> FloatArray:
        """See `QualityMethod.quality_of`; for numbers of the method in use."""
        return self._in_use().quality_of(raw)

    def decide_at(self, bars: Sequence[float]) -> None:
        """Other bars (0..100) decide from now on; faces close to them get the second opinion."""
        if self._opinion is not None:
            self._opinion = replace(self._opinion, bars=tuple(bars))

    @property
    def asks_again(self) -> bool:
        """Whether a second method is asked about faces close to a bar."""
        return self._opinion is not None

    def pause_opinions(self, paused: bool) -> None:  # noqa: FBT001 - a switch
        """Ask for no second opinion until told otherwise; what is left out is told."""
        self._paused = paused

    def is_plausible(self, raw: FloatArray) -> npt.NDArray[np.bool_]:
        """See `QualityMethod.is_plausible`; for numbers of the method in use."""
        return self._in_use().is_plausible(raw)

    def _answers(self, crops: Crops, seeds: Seeds) -> list[_Answer]:
        images = checked_crops(crops, self.name)
        all_seeds = seed_list(seeds, len(images), self.name)
        for rung in self.rungs:
            if rung.probe() and rung is self._active:
                self._use(rung)
                self._report.returned(method=rung.name, instead_of=rung.name, device=self.device)
        self._settle()
        answers = self._climb(images, all_seeds)
        if self._opinion is not None and self._budget is not None:
            self._ask_again(answers, images, all_seeds, self._opinion, self._budget)
        self._settle()
        return answers

    def _climb(self, images: Crops, seeds: list[int]) -> list[_Answer]:
        """The first finite answer for each crop, from rung to rung."""
        found: dict[int, _Answer] = {}
        left = list(range(len(images)))
        missed: Trouble | None = None
        broken: list[Exception] = []
        playing = [rung for rung in self.rungs if rung.method is not None]
        nobody = _Answer(math.nan, math.nan, self._in_use())
        for rung in playing:
            if not left:
                break
            answers = self._ask(rung, images[left], [seeds[i] for i in left])
            if isinstance(answers, Exception):
                broken.append(answers)
                missed = missed or Trouble(FallbackCause.FAILED, f"{rung.name}: {in_short(answers)}")
                continue
            new = {i: answer for i, answer in zip(left, answers, strict=True) if answer.finite}
            if new and missed is not None:
                self._report.fallback(missed.cause, missed.problem)
            found |= new
            left = [i for i in left if i not in found]
            words = f"{rung.name} gave no number for {len(left)} of {len(answers)} faces"
            missed = missed or Trouble(FallbackCause.NOT_FINITE, words)
        if len(broken) == len(playing):
            raise broken[0]
        return [found.get(i, nobody) for i in range(len(images))]

    def _ask(self, rung: Rung, images: Crops, seeds: list[int]) -> list[_Answer] | Exception:
        """One rung's answers, or what it raised; a rung that fails too often is benched."""
        before, problem = rung.trouble, ""
        result: list[_Answer] | Exception
        try:
            raw, quality = rung.rate(images, seeds)
        except Exception as error:  # noqa: BLE001 - the next method takes over; without one it is raised again
            result, problem = error, in_short(error)
        else:
            scorer = rung.method or self._in_use()
            result = [_Answer(*numbers, scorer) for numbers in zip(raw.tolist(), quality.tolist(), strict=True)]
            missing = sum(not answer.finite for answer in result)
            problem = f"no number for {missing} of {len(result)} faces" if missing else ""
        if rung.trouble is not None and rung.trouble is not before:
            self._tell_move(rung, rung.trouble)
        others = any(other.method is not None for other in self.rungs if other is not rung)
        if rung.count(good=not problem) and others:
            rung.bench(Trouble(FallbackCause.KEEPS_FAILING, f"{rung.name}: {problem}"))
        return result

    def _ask_again(
        self, answers: list[_Answer], images: Crops, seeds: list[int], opinion: SecondOpinion, budget: Budget
    ) -> None:
        """Replace answers near the bar by those of the next method with a network, nearest to the bar first."""
        scorer = self._active.method
        adviser = next((rung for rung in self._below_active() if rung.method is not None and rung.method.model), None)
        if scorer is None or adviser is None:
            return
        far = [opinion.distance(answer.quality) for answer in answers]
        near = [i for i, answer in enumerate(answers) if answer.scorer is scorer and far[i] <= opinion.within]
        if self._paused:
            if near:
                self._report.shed(Shed.SECOND_OPINIONS, len(near))
            return
        near.sort(key=far.__getitem__)
        asked = near[: budget.crops(len(near), adviser.crop_s)]
        if not asked:
            return
        start_s = self._clock.monotonic_s()
        second = self._ask(adviser, images[asked], [seeds[i] for i in asked])
        took_s = self._clock.monotonic_s() - start_s
        budget.spend(took_s)
        if isinstance(second, Exception):
            # How long it took to fail is not the price of a crop.
            return
        adviser.crop_s = took_s / len(asked)
        for i, answer in zip(asked, second, strict=True):
            if answer.finite:
                answers[i] = answer
        self._report.fallback(FallbackCause.BORDERLINE, f"{adviser.name} was asked about {len(asked)} faces")

    def _below_active(self) -> tuple[Rung, ...]:
        return self.rungs[self.rungs.index(self._active) + 1 :]

    def _settle(self) -> None:
        """Use the best rung that is in play, and tell when that is another one."""
        best = next(rung for rung in self.rungs if rung.method is not None)
        before = self._active
        if best is before:
            return
        self._use(best)
        if before.method is None and before.trouble is not None:
            self._tell_switch(before, before.trouble)
        else:
            self._report.returned(method=best.name, instead_of=before.name, device=self.device)

    def _use(self, rung: Rung) -> None:
        self._active = rung
        method = self._in_use()
        self.name, self.model, self.device = method.name, method.model, method.device
        self._report.allow(PATIENCE * self._max_batch * rung.crop_s)

    def _tell_start(self, rung: Rung) -> None:
        if rung.trouble is None:
            return
        if rung.method is not None:
            self._tell_move(rung, rung.trouble)
        elif self.rungs.index(rung) < self.rungs.index(self._active):
            self._tell_switch(rung, rung.trouble)
        else:
            self._report.not_ready(rung.name, rung.trouble.problem)

    def _tell_switch(self, benched: Rung, trouble: Trouble) -> None:
        self._report.switched(
            trouble.cause,
            method=self.name,
            instead_of=benched.name,
            device=self.device,
            problem=trouble.problem,
        )

    def _tell_move(self, rung: Rung, trouble: Trouble) -> None:
        if rung is self._active:
            self._use(rung)
        device = "" if rung.method is None else rung.method.device
        self._report.switched(
            trouble.cause, method=rung.name, instead_of=rung.name, device=device, problem=trouble.problem
        )

    def _in_use(self) -> QualityMethod:
        if self._active.method is None:
            raise RuntimeError("a chain of methods scores after `start`")
        return self._active.method
