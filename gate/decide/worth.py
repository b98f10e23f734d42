"""Which faces of a camera are scored: those that could change what is published, as far as the camera's budget goes.

Scoring every face of every frame costs more than detecting it, and most of it changes nothing: once a visit's face is
out, only a better one matters. Each visit puts one face forward at a time, the most promising of those that wait. It
is scored when the budget has room, those of visits first that have nothing accepted yet and have waited longest, and
at the latest when the visit ends. What is neither scored nor kept is left out, and told.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gate.decide.promise import expected_gain
from gate.decide.shots import shows_another_side
from gate.decide.visits import Standing
from gate.types import ScoredFace

REST_S = 0.5
"""A visit whose face is accepted is looked at again after this long whatever its signals say: they do not see
everything that a network sees. On filmed scenes the best shot of the worst visit lost 5 points of quality so, and 9
with a second."""

SAMPLE_S = 1.0
"""One face in so long of each visit stands for what the camera sees."""


@dataclass(slots=True)
class Choice:
    """What becomes of faces that wait."""

    score: list[ScoredFace] = field(default_factory=list)
    leave_out: list[ScoredFace] = field(default_factory=list)

    @classmethod
    def of(cls, choices: "Iterable[Choice]") -> "Choice":
        """Several as one."""
        whole = cls()
        for choice in choices:
            whole.score += choice.score
            whole.leave_out += choice.leave_out
        return whole


@dataclass(slots=True)
class _Track:
    sampled_s: float
    scored_s: float = -math.inf
    known: ScoredFace | None = None
    """The face that was scored last."""

    held: ScoredFace | None = None
    """The most promising one since."""

    def may_matter(self, face: ScoredFace, standing: Standing, at_s: float) -> bool:
        """Whether a score of this face could change what is published."""
        if math.isinf(standing.to_beat) or self.known is None or self.known.quality is None:
            return standing.to_beat < math.inf
        if at_s - self.scored_s >= REST_S or (
            standing.wants_views and shows_another_side(face.signals, self.known.signals)
        ):
            return True
        return self.known.quality + expected_gain(self.known, face) > standing.to_beat


class Budget:
    """Scores that are earned steadily and spent one by one; what is not spent is saved up to one second's worth.

    Args:
        per_s: Scores a second; None is without end.
    """

    def __init__(self, per_s: float | None) -> None:
        self.per_s = per_s
        self._saved = self._most
        self._seen_s: float | None = None

    @property
    def _most(self) -> float:
        return math.inf if self.per_s is None else max(1.0, self.per_s)

    def change(self, per_s: float | None) -> None:
        """From now on earn so much."""
        self.per_s = per_s
        self._saved = min(self._saved, self._most)

    def earn(self, at_s: float) -> None:
        """Time has passed; a clock that goes back earns nothing."""
        passed_s = 0.0 if self._seen_s is None else max(0.0, at_s - self._seen_s)
        self._seen_s = at_s
        self._saved = math.inf if self.per_s is None else min(self._most, self._saved + passed_s * self.per_s)

    def spend(self, *, must: bool = False) -> bool:
        """Pay for one score; what must be is a debt of up to one second's worth that later scores wait for."""
        if not must and self._saved < 1.0 - 1e-9:
            return False
        self._saved = max(self._saved - 1.0, -self._most)
        return True


class ScoreBook:
    """The faces of one camera that passed every cheap bar and wait for a score.

    Times are seconds of the camera: monotonic ones, or the file's own where it is played fast.

    Args:
        max_scores_per_s: The budget. None scores every face at once.
    """

    def __init__(self, max_scores_per_s: float | None) -> None:
        self._budget = Budget(max_scores_per_s)
        self._tracks: dict[int, _Track] = {}

    def change_budget(self, max_scores_per_s: float | None) -> None:
        """From now on score so many faces a second."""
        self._budget.change(max_scores_per_s)

    def offer(self, face: ScoredFace, standing: Standing, at_s: float) -> list[ScoredFace]:
        """A face came; returns which is left out: this one, the one that waited, or none.

        Args:
            face: Not scored yet.
            standing: What its visit waits for.
            at_s: Now.
        """
        track = self._tracks.setdefault(face.tracked.track, _Track(sampled_s=at_s - SAMPLE_S / 2))
        if not self._is_worth(track, face, standing, at_s):
            return [face]
        if track.held is None:
            track.held = face
            return []
        if expected_gain(track.held, face) < 0:
            return [face]
        left, track.held = track.held, face
        return [left]

    def choose(self, standing_of: Callable[[int], Standing], at_s: float, due: Iterable[int] = ()) -> Choice:
        """What is scored now.

        Args:
            standing_of: Track to what its visit waits for.
            at_s: Now.
            due: Tracks whose visit publishes its best face now: their face is scored whatever the budget says.
        """
        self._budget.earn(at_s)
        choice, first = Choice(), set(due)
        queue: list[tuple[bool, bool, float, int, ScoredFace]] = []
        for number, track in self._tracks.items():
            if track.held is None:
                continue
            standing = standing_of(number)
            if self._is_worth(track, track.held, standing, at_s):
                accepted = standing.to_beat > -math.inf
                queue.append((number not in first, accepted, track.scored_s, number, track.held))
            else:
                choice.leave_out.append(track.held)
                track.held = None
        for can_wait, _, _, number, face in sorted(queue, key=lambda place: place[:4]):
            if self._budget.spend(must=not can_wait):
                choice.score.append(face)
                self._tracks[number].held = None
        return choice

    def _is_worth(self, track: _Track, face: ScoredFace, standing: Standing, at_s: float) -> bool:
        return self._budget.per_s is None or track.may_matter(face, standing, at_s)

    def settle(self, track: int, standing: Standing, at_s: float) -> Choice:
        """A track has ended: its face that waits is scored where it matters, whatever the budget says."""
        known = self._tracks.pop(track, None)
        if known is None or known.held is None:
            return Choice()
        if not self._is_worth(known, known.held, standing, at_s):
            return Choice(leave_out=[known.held])
        self._budget.spend(must=True)
        return Choice(score=[known.held])

    def tracks(self) -> list[int]:
        """The tracks that are known."""
        return list(self._tracks)

    def scored(self, face: ScoredFace, at_s: float) -> bool:
        """A face has its score; returns whether it stands for its second.

        The faces that are scored are no fair sample of those that are seen: of a visit that is out only the promising
        ones are. One a second of each visit is.
        """
        if self._budget.per_s is None:
            return True
        track = self._tracks.get(face.tracked.track)
        if track is None:
            return False
        track.known, track.scored_s = face, at_s
        if at_s - track.sampled_s < SAMPLE_S:
            return False
        track.sampled_s = at_s
        return True
