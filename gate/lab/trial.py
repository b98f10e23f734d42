"""One recognizer on one set of pairs: thresholds, errors, and every curve that a method's scores then give."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gate.lab.bootstrap import Bootstrap, PairSet, identity_weights, interval
from gate.lab.bootstrap_crfiqa import CrfiqaBootstrap
from gate.lab.curves import (
    Area,
    DoubleArray,
    StepCurve,
    dense_ranks,
    linear_area,
    pair_ranks,
    step_area,
    step_curve,
    thinned,
    threshold_at,
)
from gate.lab.det import det_curve
from gate.lab.kept import KeptCurve, kept_by_rank
from gate.lab.modes import CRFIQA_LIMIT, ImpostorOrder, arccos_distance, beyond_edc_curve, crfiqa_curve
from gate.lab.pairs import Comparisons
from gate.lab.results import FEW_ERRORS, Curve, DetCurve, ErrorKind, IndexArray, Mode, Pauc
from gate.types import FloatArray

MODES: tuple[Mode, ...] = ("iso", "crfiqa", "beyond-edc")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked of an evaluation."""

    fmr_targets: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    limits: tuple[float, ...] = (0.1, 0.2, 0.3)
    modes: tuple[Mode, ...] = MODES
    bootstrap: int = 1000
    """Replicates; 0 for no intervals and no tests."""

    seed: int = 0
    det_discards: tuple[float, ...] = (0.0, 0.1, 0.2)
    """Shares of images discarded before each DET curve."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """Pairs of one kind and the recognizer's opinion of them."""

    pairs: Comparisons
    similarity: FloatArray

    def people(self, identities: IndexArray, similarity: FloatArray) -> PairSet:
        return PairSet(identities[self.pairs.first], identities[self.pairs.second], similarity)


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """Cosines of the joined embeddings, for mode `crfiqa`."""

    genuine: FloatArray
    impostor: FloatArray
    order: ImpostorOrder


@dataclass(frozen=True, slots=True, eq=False)
class MethodCurves:
    """What one method's scores give."""

    curves: tuple[Curve, ...]
    det: tuple[DetCurve, ...]
    iso_areas: DoubleArray | None
    """Normalised pAUC of the ISO FNMR curves in each replicate, (F, L, B); None without a bootstrap."""

    kept: tuple[KeptCurve, ...] = ()


class Trial:
    """Built once, asked once for each method."""

    def __init__(
        self,
        pairs: Comparisons,
        similarity: FloatArray,
        joined_similarity: FloatArray | None,
        identities: IndexArray,
        settings: Settings,
    ) -> None:
        """Fix the thresholds and draw the bootstrap.

        Args:
            pairs: P comparisons with at least one of each kind.
            similarity: (P,) cosines.
            joined_similarity: (P,) cosines of the joined embeddings, None when mode `crfiqa` is not wanted.
            identities: (N,) int32 identity of each image.
            settings: what is asked.

        Raises:
            GateError: there are no impostor pairs.
        """
        self._settings = settings
        self._identities = identities
        genuine, impostor = np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)
        self._genuine = _Kind(pairs.taken(genuine), similarity[genuine])
        self._impostor = _Kind(pairs.taken(impostor), similarity[impostor])
        self._order = ImpostorOrder.of(self._impostor.similarity)
        self.thresholds = tuple(threshold_at(self._impostor.similarity, target) for target in settings.fmr_targets)
        self._joined: _Joined | None = None
        if joined_similarity is not None:
            others = joined_similarity[impostor]
            self._joined = _Joined(joined_similarity[genuine], others, ImpostorOrder.of(others))
        self._bootstrap: Bootstrap | None = None
        self._crfiqa_bootstrap: CrfiqaBootstrap | None = None
        if settings.bootstrap:
            self._draw()

    def _draw(self) -> None:
        settings, who = self._settings, self._identities
        weights = identity_weights(int(who.max()) + 1, settings.bootstrap, settings.seed)
        genuine = self._genuine.people(who, self._genuine.similarity)
        impostor = self._impostor.people(who, self._impostor.similarity)
        self._bootstrap = Bootstrap(genuine, impostor, weights, settings.fmr_targets, settings.limits)
        if self._joined is not None:
            genuine = self._genuine.people(who, self._joined.genuine)
            impostor = self._impostor.people(who, self._joined.impostor)
            limits = (*settings.limits, CRFIQA_LIMIT)
            self._crfiqa_bootstrap = CrfiqaBootstrap(genuine, impostor, weights, settings.fmr_targets, limits)

    def judge(self, scores: FloatArray) -> MethodCurves:
        """Every curve of a method with these (N,) scores."""
        ranks, n_ranks = dense_ranks(scores)
        genuine = pair_ranks(ranks, self._genuine.pairs.first, self._genuine.pairs.second)
        impostor = pair_ranks(ranks, self._impostor.pairs.first, self._impostor.pairs.second)
        iso_areas = self._bootstrap.fnmr_areas(genuine, n_ranks) if self._bootstrap else None
        curves: list[Curve] = []
        if "iso" in self._settings.modes:
            curves += self._iso(genuine, impostor, n_ranks, iso_areas)
        if "crfiqa" in self._settings.modes and self._joined is not None:
            curves += self._crfiqa(self._joined, genuine, impostor)
        if "beyond-edc" in self._settings.modes:
            curves += self._beyond(ranks, genuine, n_ranks)
        det = tuple(
            det_curve(share, ranks, (genuine, self._genuine.similarity), impostor, self._order)
            for share in self._settings.det_discards
        )
        return MethodCurves(tuple(curves), det, iso_areas, tuple(self._kept(scores, genuine, n_ranks)))

    def _kept(self, scores: FloatArray, genuine: IndexArray, n_ranks: int) -> Iterator[KeptCurve]:
        values = np.unique(scores)
        for place, target in enumerate(self._settings.fmr_targets):
            ranks, fnmr, pairs = kept_by_rank(genuine, self._missed(place), n_ranks)
            yield KeptCurve(target, tuple(values[ranks].tolist()), tuple(fnmr.tolist()), tuple(pairs.tolist()))

    def _iso(self, genuine: IndexArray, impostor: IndexArray, n_ranks: int, areas: DoubleArray | None) -> list[Curve]:
        fmr_areas = self._bootstrap.fmr_areas(impostor, n_ranks) if self._bootstrap else None
        curves = []
        for place in range(len(self.thresholds)):
            missed = step_curve(genuine, self._missed(place), n_ranks)
            curves.append(self._stepped("iso", "fnmr", place, missed, areas))
        for place in range(len(self.thresholds)):
            matched = step_curve(impostor, self._matched(place), n_ranks)
            curves.append(self._stepped("iso", "fmr", place, matched, fmr_areas))
        return curves

    def _beyond(self, ranks: IndexArray, genuine: IndexArray, n_ranks: int) -> list[Curve]:
        images = (ranks, self._identities)
        areas = self._bootstrap.fnmr_areas(genuine, n_ranks, images) if self._bootstrap else None
        return [
            self._stepped(
                "beyond-edc", "fnmr", place, beyond_edc_curve(ranks, genuine, self._missed(place), n_ranks), areas
            )
            for place in range(len(self.thresholds))
        ]

    def _missed(self, place: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return np.asarray(self._genuine.similarity <= np.float32(self.thresholds[place]))

    def _matched(self, place: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return np.asarray(self._impostor.similarity > np.float32(self.thresholds[place]))

    def _stepped(self, mode: Mode, error: ErrorKind, place: int, curve: StepCurve, areas: DoubleArray | None) -> Curve:
        drawn = thinned(curve)
        false_matches, missed = int(self._matched(place).sum()), int(self._missed(place).sum())
        limits = self._settings.limits
        return Curve(
            mode=mode,
            error=error,
            fmr_target=self._settings.fmr_targets[place],
            threshold=self.thresholds[place],
            fmr0=false_matches / len(self._impostor.similarity),
            fnmr0=missed / len(self._genuine.similarity),
            false_matches=false_matches,
            false_non_matches=missed,
            x=tuple(drawn.x.tolist()),
            y=tuple(drawn.y.tolist()),
            interpolation="step",
            paucs=_paucs(limits, [step_area(curve, limit) for limit in limits], _at(areas, place)),
            warning=warning_of(error, false_matches, missed),
        )

    def _crfiqa(self, joined: _Joined, genuine: IndexArray, impostor: IndexArray) -> list[Curve]:
        areas = self._crfiqa_bootstrap.areas(genuine, impostor) if self._crfiqa_bootstrap else None
        limits = (*self._settings.limits, CRFIQA_LIMIT)
        curves = []
        for place, target in enumerate(self._settings.fmr_targets):
            x, y = crfiqa_curve(genuine, joined.genuine, impostor, joined.order, target)
            threshold = threshold_at(joined.impostor, target)
            false_matches = int((joined.impostor > np.float32(threshold)).sum())
            missed = int((joined.genuine <= np.float32(threshold)).sum())
            curves.append(
                Curve(
                    mode="crfiqa",
                    error="fnmr",
                    fmr_target=target,
                    threshold=arccos_distance(threshold),
                    fmr0=false_matches / len(joined.impostor),
                    fnmr0=missed / len(joined.genuine),
                    false_matches=false_matches,
                    false_non_matches=missed,
                    x=tuple(x.tolist()),
                    y=tuple(y.tolist()),
                    interpolation="linear",
                    paucs=_paucs(limits, [linear_area(x, y, limit) for limit in limits], _at(areas, place)),
                    warning=warning_of("fnmr", false_matches, missed),
                )
            )
        return curves


def _at(areas: DoubleArray | None, place: int) -> DoubleArray | None:
    return None if areas is None else areas[place]


def _paucs(limits: tuple[float, ...], areas: list[Area], replicates: DoubleArray | None) -> tuple[Pauc, ...]:
    paucs = []
    for place, (limit, area) in enumerate(zip(limits, areas, strict=True)):
        low, high = (np.nan, np.nan) if replicates is None else interval(replicates[place])
        paucs.append(Pauc(limit, area.raw, area.normalised, area.share_of_ideal, low, high))
    return tuple(paucs)


def warning_of(error: ErrorKind, false_matches: int, false_non_matches: int) -> str:
    """What a reader must know of an operating point; empty when it rests on enough errors.

    >>> warning_of("fnmr", 3, 17)
    'rests on 3 false matches (which set the threshold) and 17 false non-matches; fewer than 30 of each tell little'
    >>> warning_of("fmr", 300, 17)
    ''
    """
    few = [f"{false_matches} false matches (which set the threshold)"] if false_matches < FEW_ERRORS else []
    if error == "fnmr" and false_non_matches < FEW_ERRORS:
        few.append(f"{false_non_matches} false non-matches")
    return f"rests on {' and '.join(few)}; fewer than {FEW_ERRORS} of each tell little" if few else ""
