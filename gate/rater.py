"""From crops to ratings: in parts that show signs of life, and with an answer for every face whatever fails."""

import math
from collections.abc import Iterator, Sequence

import structlog

from gate.pipeline_parts import PipelineReport, Scorer
from gate.types import Image, Rating

log = structlog.get_logger(__name__)


class Rater:
    """Asks the scorer.

    Args:
        scorer: Turns crops into numbers.
        report: Is told whether it works, and between the parts that it goes on.
        crops_at_once: Most crops handed over before the next sign of life.
    """

    def __init__(self, scorer: Scorer, report: PipelineReport, crops_at_once: int) -> None:
        self._scorer = scorer
        self._report = report
        self._crops_at_once = crops_at_once
        self.failures_in_a_row = 0
        """How often scoring has failed since it last worked."""

    def rate(self, crops: Image) -> list[Rating]:
        """One a crop; not-a-number for all when scoring fails, so that every face is still counted."""
        try:
            ratings = [rating for part in self._parts(crops) for rating in self._rate(part)]
        except Exception:
            self.failures_in_a_row += 1
            log.exception("scoring_failed", method=self._scorer.name, failures_in_a_row=self.failures_in_a_row)
            self._report.scored(ok=False)
            return [Rating(math.nan, math.nan, self._scorer.name, self._scorer.model)] * len(crops)
        self.failures_in_a_row = 0
        self._report.scored(ok=True)
        return ratings

    def _rate(self, crops: Image) -> Sequence[Rating]:
        ratings = self._scorer.rate(crops)
        if len(ratings) != len(crops):
            raise ValueError(f"{len(crops)} crops gave {len(ratings)} ratings")
        self._report.alive()
        return ratings

    def _parts(self, crops: Image) -> Iterator[Image]:
        for start in range(0, len(crops), self._crops_at_once):
            yield crops[start : start + self._crops_at_once]
