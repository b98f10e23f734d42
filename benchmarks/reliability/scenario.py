"""What a scenario is, what is seen of it, and the balance that every one of them must keep."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.reliability.proxy import Fault
from benchmarks.reliability.world import Failed, Gate, RedisServer, Witness, World, until

LONGEST_STALL_S = 2.0
"""No fault of Redis or of the disk may hold a camera longer, on a machine that is not busy otherwise."""

BUSY_S = 0.5
"""A machine that wakes a thread so late is too busy for its stalls to tell anything about the gate."""


class NotHere(Exception):  # noqa: N818 - nothing went wrong
    """This machine does not allow a scenario, or lacks what it needs."""


@dataclass
class Seen:
    """What came of a scenario."""

    notes: list[str] = field(default_factory=list)
    """What was seen, in words."""

    problems: list[str] = field(default_factory=list)
    """What should not have been seen."""

    events_in: int | None = None
    events_out: int | None = None
    copies: int | None = None
    """Copies that reached the stream and that the consumer kit dropped."""

    twice: int | None = None
    stall_s: float | None = None

    def expect(self, holds: object, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    family: str
    fault: str
    expected: str
    play: Callable[[World], Seen]


@dataclass(frozen=True)
class Damage:
    """One fault of a proxy and what it must lead to."""

    fault: Fault
    expected: str
    is_told: bool = True
    """Whether the gate must say that what is behind the proxy is away."""


@dataclass(frozen=True)
class Row:
    """A scenario and what was seen of it."""

    scenario: Scenario
    seen: Seen
    took_s: float

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return not self.seen.problems


def run(scenario: Scenario, world: World) -> Row:
    """Play a scenario; what it raises is a problem of its row."""
    began_s = time.monotonic()
    seen = Seen()
    with world.stack:
        try:
            seen = scenario.play(world)
        except NotHere as reason:
            seen.notes.append(f"not run: {reason}")
        except Failed as failure:
            seen.problems.append(str(failure))
        except Exception as error:  # noqa: BLE001 - one scenario that breaks must not hide the others
            seen.problems.append(f"the scenario broke: {type(error).__name__}: {error}")
    return Row(scenario, seen, time.monotonic() - began_s)


def away(gate: Gate) -> list[str]:
    """The causes for which the gate said that Redis is away."""
    return sorted({str(line["cause"]) for line in gate.log() if line.get("event") == "redis_away"})


def flowing(witness: Witness, *, events: int = 4) -> None:
    """Wait until so many more events have reached the consumer."""
    before = len(witness.given)
    until(lambda: len(witness.given) >= before + events, "events at the consumer")


def accepting(gate: Gate, *, events: int = 4) -> None:
    """Wait until so many more events have been accepted."""
    before = len(gate.journal.accepted)
    until(lambda: len(gate.journal.accepted) >= before + events, "accepted events", every_s=0.1)


def drained(gate: Gate) -> None:
    """Wait until Redis has confirmed everything that was accepted."""

    def nothing_waits() -> bool:
        redis = gate.redis
        return redis.get("state") == "connected" and redis.get("waiting_events") == 0

    until(nothing_waits, "an empty spool")


def told_of_disk(gate: Gate) -> str:
    """What `/readyz` says once it says that the disk keeps no events; for moments, as at a new attempt, it may not."""

    def told() -> str:
        ready = gate.page("/readyz")
        return ready if "in memory alone" in ready else ""

    return str(until(told, "word in `/readyz` that the disk keeps no events"))


def balance(
    gate: Gate,
    witness: Witness,
    server: RedisServer,
    *,
    stall_of: str | None = "lobby",
    owed: set[str] | None = None,
    damaged: int = 0,
) -> Seen:
    """Compare what was accepted with what the consumer was given, once the gate has ended.

    Args:
        gate: has ended.
        witness: consumes all the time.
        server: holds the stream.
        stall_of: the camera that nothing may hold; None where the gate was not there all the time.
        owed: what must arrive; None for everything that was accepted.
        damaged: how many requests had a byte changed on their way, each of which may have lost an event its id.
    """
    seen = Seen()
    accepted = gate.journal.accepted if owed is None else owed
    if accepted <= set(server.event_ids()):
        until(
            lambda: witness.failure or len(accepted - witness.seen) <= witness.written_off,
            "accepted events at the consumer",
            timeout_s=20,
        )
    else:
        # Some are lost, which is told below; the others get a moment to arrive.
        time.sleep(1)
    seen.events_in, seen.events_out = len(accepted), len(witness.seen)
    seen.twice, seen.copies = witness.twice, witness.dropped_copies
    lost = accepted - witness.seen
    strangers = witness.seen - gate.journal.offered
    seen.expect(len(lost) <= damaged, f"{len(lost)} accepted event(s) never reached the consumer")
    seen.expect(len(strangers) <= damaged, f"the consumer was given {len(strangers)} event(s) that nobody made")
    seen.expect(witness.written_off <= damaged, f"the consumer put {witness.written_off} event(s) aside")
    seen.expect(seen.twice == 0, f"{seen.twice} event(s) reached the consumer's body twice")
    seen.expect(witness.failure is None, f"the consumer ended: {witness.failure}")
    seen.expect(accepted, "nothing was accepted, so nothing was tested")
    if stall_of is not None:
        seen.stall_s = gate.journal.stall_s(stall_of)
        busy_s = gate.metronome.longest_s
        if seen.stall_s > LONGEST_STALL_S and busy_s > BUSY_S:
            seen.notes.append(f"stall not judged: this machine kept even a sleeping thread waiting for {busy_s:.1f} s")
        else:
            seen.expect(seen.stall_s <= LONGEST_STALL_S, f"a camera stood still for {seen.stall_s:.1f} s")
    return seen
