"""From what a camera gave to the bars that fit it, each with how sure it is.

The unit is the visit, never the face: faces of one visit are alike, so that a thousand of them may be one person.
Intervals are 2.5 % and 97.5 % quantiles over a thousand bootstrap samples of visits.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.baseline import Baseline, histogram_of, hour_of, rounded_down
from gate.config import DecideConfig
from gate.decide.bars import cheap_reasons
from gate.reasons import Reason
from gate.tuning.records import FaceRecord, Reasons, judge
from gate.types import Signals

DoubleArray = npt.NDArray[np.float64]

REPLICATES = 1000

_AT_ONCE = 100
"""Replicates drawn together, lest ten thousand visits fill the memory."""

FEW_VISITS = 30
"""Below this an interval says little."""

LEAST_LOST = 3
LEAST_LOST_SHARE = 0.05
"""A bar is in the way when it alone costs this many visits, and this share of them."""

_BACK = 0.9
"""Share of those visits that a proposed bar lets in; the last ones are as often mistakes of the detector."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What rules make of a recording."""

    visits: int
    accepted_visits: int
    """Those with at least one accepted face."""

    faces: int
    accepted_faces: int
    reasons: Mapping[str, int]
    """Decisive reason → faces."""

    low: float
    high: float
    """Interval of the share of visits accepted."""

    @property
    def visit_rate(self) -> float:
        """Share of visits accepted."""
        return self.accepted_visits / self.visits if self.visits else 0.0

    @property
    def face_rate(self) -> float:
        """Share of faces accepted."""
        return self.accepted_faces / self.faces if self.faces else 0.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """Another value for one key of `decide`."""

    key: str
    today: float
    value: float
    low: float
    high: float
    """Interval of the value."""

    why: str
    outcome: Outcome
    """What this key alone would have made of the recording."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """All that is known of one camera."""

    camera: str
    accept_rate: float
    """The share of visits that was asked for."""

    today: Outcome
    verdicts: tuple[Reasons, ...]
    """Under today's rules, in the order of the records."""

    proposals: tuple[Proposal, ...]
    together: Outcome
    """What all proposals together would have made of it."""

    baseline: Baseline
    """Under the proposed rules."""

    notes: tuple[str, ...]
    """What a reader must know."""


@dataclass(frozen=True, slots=True)
class _Relaxable:
    """A bar that may be proposed lower: those of size and pose.

    Learned qualities are known to pass small blurred frontal faces and to overlook over-exposure, so a good score is no
    reason to lower the bars of sharpness and light.
    """

    key: str
    reason: Reason
    signal: str
    is_least: bool
    step: float
    """The proposal is a multiple of it."""

    most: float = math.inf

    def needed(self, signals: Signals) -> float:
        """The strictest bar that the face would pass."""
        value = abs(float(getattr(signals, self.signal)))
        return -value if self.is_least else value

    def rounded(self, needed: float) -> float:
        if self.is_least:
            return math.floor(-needed / self.step) * self.step
        return min(self.most, math.ceil(needed / self.step) * self.step)


_RELAXABLE = (
    _Relaxable("min_inter_eye_px", Reason.TOO_SMALL, "inter_eye_px", is_least=True, step=1),
    _Relaxable("max_yaw_deg", Reason.YAW, "yaw_deg", is_least=False, step=1, most=90),
    _Relaxable("max_pitch_deg", Reason.PITCH, "pitch_deg", is_least=False, step=1, most=90),
    _Relaxable("max_roll_deg", Reason.ROLL, "roll_deg", is_least=False, step=1, most=180),
)


def tune(
    camera: str,
    records: Sequence[FaceRecord],
    rules: DecideConfig,
    accept_rate: float,
    date: str,
    *,
    by_hour: bool = False,
) -> Tuned:
    """Propose bars for one camera.

    Args:
        camera: Its name.
        records: Its faces, in the order they were seen.
        rules: Today's rules.
        accept_rate: Share of visits that should have an accepted face.
        date: Day of the recording, for the baseline.
        by_hour: Whether faces were seen as they happened, so that the baseline may know the hours of the day.
    """
    visits = visits_that_count(records, rules)
    verdicts = judge(records, rules)
    today = _outcome(records, verdicts, visits)
    notes = _notes(records, visits)
    proposals = [found for bar in _RELAXABLE if (found := _relaxed(bar, records, rules, visits)) is not None]
    opened = rules.model_copy(update={proposal.key: proposal.value for proposal in proposals})
    baseline = baseline_of(records, opened, visits, date, by_hour=by_hour)
    quality = _quality_bar(records, rules, opened, visits, accept_rate=accept_rate, baseline=baseline)
    if quality is None:
        notes.append(
            f"{accept_rate:g} of visits is out of reach: {baseline.reachable_rate:.0%} have a face that passes the "
            "other bars. min_quality stays as it is; the reasons below say what is in the way."
        )
    else:
        proposals.append(quality)
    final = opened if quality is None else with_quality(opened, quality.value)
    return Tuned(
        camera=camera,
        accept_rate=accept_rate,
        today=today,
        verdicts=tuple(verdicts),
        proposals=tuple(proposals),
        together=_outcome(records, judge(records, final), visits),
        baseline=baseline,
        notes=tuple(notes),
    )


def visits_that_count(records: Sequence[FaceRecord], rules: DecideConfig) -> list[str]:
    """The visits with a face that is not `outside_zone`, in the order of their first such face."""
    inside = {
        record.visit: None
        for record in records
        if Reason.OUTSIDE_ZONE not in cheap_reasons(rules, record.face, record.signals, record.at)
    }
    return list(inside)


def baseline_of(
    records: Sequence[FaceRecord], rules: DecideConfig, visits: Sequence[str], date: str, *, by_hour: bool
) -> Baseline:
    """What a gate with these rules would score, by the method that scored most of it."""
    scored = [(record, record.quality) for record in _worth_scoring(records, rules) if record.quality is not None]
    method, model = _most_used([record for record, _ in scored] or records)
    best = _best_by_visit(records, rules)
    counted = [(hour_of(record.time_ms), quality) for record, quality in scored if record.method == method]
    hours = sorted({hour for hour, _ in counted}) if by_hour else []
    return Baseline(
        method=method,
        model=model,
        date=date,
        histogram=histogram_of([quality for _, quality in counted]),
        hours={hour: histogram_of([quality for at, quality in counted if at == hour]) for hour in hours},
        visits=len(visits),
        best_quality=tuple(sorted(rounded_down(best[visit]) for visit in visits if visit in best)),
    )


def _most_used(records: Sequence[FaceRecord]) -> tuple[str, str]:
    pairings = Counter((record.method, record.model) for record in records if record.method)
    return pairings.most_common(1)[0][0] if pairings else ("", "")


def _worth_scoring(records: Sequence[FaceRecord], rules: DecideConfig) -> list[FaceRecord]:
    return [record for record in records if not cheap_reasons(rules, record.face, record.signals, record.at)]


def _best_by_visit(records: Sequence[FaceRecord], rules: DecideConfig) -> dict[str, float]:
    best: dict[str, float] = {}
    for record in _worth_scoring(records, rules):
        if record.quality is not None:
            best[record.visit] = max(record.quality, best.get(record.visit, 0.0))
    return best


def _quality_bar(
    records: Sequence[FaceRecord],
    rules: DecideConfig,
    opened: DecideConfig,
    visits: Sequence[str],
    *,
    accept_rate: float,
    baseline: Baseline,
) -> Proposal | None:
    bar = baseline.bar_at(accept_rate)
    if bar is None:
        return None
    # A visit without a usable face is accepted by no bar: it counts as worse than any.
    missing = [-math.inf] * (len(visits) - len(baseline.best_quality))
    best = np.array([*missing, *baseline.best_quality], dtype=np.float64)
    wanted = max(1, math.ceil(accept_rate * len(best) - 1e-9))
    bars = np.concatenate([np.sort(sample, axis=1)[:, -wanted] for sample in _samples(best)])
    low, high = np.quantile(np.maximum(bars, 0.0), [0.025, 0.975])
    alone = with_quality(rules, bar)
    return Proposal(
        key="min_quality",
        today=rules.quality_bar,
        value=bar,
        low=float(low),
        high=float(high),
        why=f"accepts {accept_rate:.0%} of visits" + (" with the bars above" if opened != rules else ""),
        outcome=_outcome(records, judge(records, alone), visits),
    )


def with_quality(rules: DecideConfig, bar: float) -> DecideConfig:
    """Rules with this bar, and no `keep_quality` above it."""
    keep = None if rules.keep_quality is None else min(rules.keep_quality, bar)
    return rules.model_copy(update={"min_quality": bar, "keep_quality": keep})


def _relaxed(
    bar: _Relaxable, records: Sequence[FaceRecord], rules: DecideConfig, visits: Sequence[str]
) -> Proposal | None:
    """A lower bar where this one alone costs visits whose faces are good enough."""
    today = getattr(rules, bar.key)
    if today is None or (bar.key == "min_inter_eye_px" and rules.min_face_px is not None):
        return None
    needed = _lost_to(bar, records, rules, set(visits))
    if len(needed) < max(LEAST_LOST, LEAST_LOST_SHARE * len(visits)):
        return None
    values = np.array(needed, dtype=np.float64)
    value = bar.rounded(float(np.quantile(values, _BACK)))
    drawn = np.concatenate([np.quantile(sample, _BACK, axis=1) for sample in _samples(values)])
    ends = [bar.rounded(float(end)) for end in np.quantile(drawn, [0.025, 0.975])]
    return Proposal(
        key=bar.key,
        today=today,
        value=value,
        low=min(ends),
        high=max(ends),
        why=f"{len(needed)} of {len(visits)} visits are lost to `{bar.reason.value}` alone",
        outcome=_outcome(records, judge(records, rules.model_copy(update={bar.key: value})), visits),
    )


def _lost_to(bar: _Relaxable, records: Sequence[FaceRecord], rules: DecideConfig, visits: set[str]) -> list[float]:
    """For each visit that only this bar keeps out, the bar that would have let it in."""
    accepted = {record.visit for record, reasons in zip(records, judge(records, rules), strict=True) if not reasons}
    needed: dict[str, float] = {}
    for record in records:
        if record.visit in accepted or record.visit not in visits or (record.quality or 0.0) < rules.quality_bar:
            continue
        if cheap_reasons(rules, record.face, record.signals, record.at) == [bar.reason]:
            wanted = bar.needed(record.signals)
            needed[record.visit] = min(wanted, needed.get(record.visit, math.inf))
    return [value for value in needed.values() if math.isfinite(value)]


def _outcome(records: Sequence[FaceRecord], verdicts: Sequence[Reasons], visits: Sequence[str]) -> Outcome:
    accepted = {record.visit for record, reasons in zip(records, verdicts, strict=True) if not reasons}
    hits = np.array([visit in accepted for visit in visits], dtype=np.float64)
    low = high = math.nan
    if len(hits):
        rates = np.concatenate([sample.mean(axis=1) for sample in _samples(hits)])
        low, high = (float(end) for end in np.quantile(rates, [0.025, 0.975]))
    reasons = Counter(reasons[0].value for reasons in verdicts if reasons)
    return Outcome(
        visits=len(visits),
        accepted_visits=int(hits.sum()),
        faces=len(records),
        accepted_faces=len(records) - reasons.total(),
        reasons=dict(reasons.most_common()),
        low=low,
        high=high,
    )


def _samples(values: DoubleArray) -> list[DoubleArray]:
    """A thousand draws of as many values with replacement, in pieces (100, N)."""
    rng = np.random.Generator(np.random.PCG64(0))
    return [values[rng.integers(len(values), size=(_AT_ONCE, len(values)))] for _ in range(REPLICATES // _AT_ONCE)]


def _notes(records: Sequence[FaceRecord], visits: Sequence[str]) -> list[str]:
    notes = []
    if len(visits) < FEW_VISITS:
        notes.append(f"Only {len(visits)} visits: record for longer before you trust these numbers.")
    pairings = {(record.method, record.model) for record in records if record.method}
    if len(pairings) > 1:
        names = ", ".join(sorted(" with ".join(filter(None, pairing)) for pairing in pairings))
        notes.append(f"More than one method scored ({names}); the baseline counts the one that scored most.")
    unscored = sum(record.quality is None for record in records)
    if unscored:
        notes.append(f"{unscored} faces have no quality: they could not be measured, or scoring failed.")
    return notes
