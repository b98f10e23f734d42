"""The gate itself is killed, asked to end, and left without a disk."""

import random
import resource
import time
from functools import partial

from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import Scenario, Seen, accepting, balance, drained, flowing, told_of_disk
from benchmarks.reliability.world import Failed, Gate, Witness, World, until

FAMILY = "the gate"
DRAIN_S = 10.0
"""`gate.daemon.DRAIN_TIMEOUT_S`: how long a stopping gate waits for Redis."""

ALLOWANCE_S = 10.0
"""For closing visits, threads and files, on a machine that is busy otherwise."""

DISK_BYTES = 120_000
"""Some ten faces."""

SHORTEST_LIFE_S, LONGEST_LIFE_S = 0.05, 2.5


def scenarios(kills: int) -> list[Scenario]:
    """SIGKILL so often, and the rest."""
    return [
        Scenario(
            FAMILY,
            f"SIGKILL at {kills} random moments",
            "nothing that was accepted is lost, nothing reaches the consumer twice",
            partial(killed, kills),
        ),
        Scenario(FAMILY, "SIGTERM, Redis there", f"drained and ended within {DRAIN_S:g} s", partial(ended, away=False)),
        Scenario(
            FAMILY,
            "SIGTERM, Redis away",
            f"ended after {DRAIN_S:g} s of waiting; what is left is on the disk and sent at the next start",
            partial(ended, away=True),
        ),
        Scenario(
            FAMILY,
            "the spool's files cannot grow",
            "told in `/readyz`; faces go on to Redis, none is lost",
            without_room,
        ),
    ]


def killed(kills: int, world: World) -> Seen:
    """One spool, one stream, many lives; Redis is well, slow, away or loses its replies meanwhile."""
    dice = random.Random(world.seed)
    server = world.redis()
    proxy = world.stack.enter_context(Proxy(server.port, delay_s=0.05))
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0")
    mid_flight = lives_with_events = 0
    weather = (Fault.NONE, Fault.NONE, Fault.DELAY, Fault.LOST_REPLY, Fault.CUT, Fault.STALL)
    before = 0
    for _ in range(kills):
        proxy.fault = dice.choice(weather)
        gate.start()
        time.sleep(dice.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S))
        gate.kill()
        accepted = gate.journal.accepted
        mid_flight += bool(accepted - set(server.event_ids()))
        lives_with_events += len(accepted) > before
        before = len(accepted)
    proxy.fault = Fault.NONE
    gate.start()
    drained(gate)
    flowing(witness)
    gate.stop()
    note = (
        f"{kills} kills, {lives_with_events} after events had been accepted, {mid_flight} while some were not in Redis"
    )
    return _after_kills(gate, witness, server.event_ids(), note)


def _after_kills(gate: Gate, witness: Witness, stored: list[str], note: str) -> Seen:
    journal, seen = gate.journal, Seen()
    accepted, on_disk = journal.accepted, journal.on_disk
    until(lambda: witness.failure or set(stored) <= witness.seen, "the whole stream at the consumer")
    lost, lost_from_memory = on_disk - witness.seen, (accepted - on_disk) - witness.seen
    seen.events_in, seen.events_out = len(accepted), len(witness.seen)
    seen.twice, seen.copies = witness.twice, witness.dropped_copies
    seen.expect(not lost, f"{len(lost)} event(s) that were on the disk never reached the consumer")
    seen.expect(not witness.seen - journal.offered, "the consumer was given events that nobody made")
    seen.expect(seen.twice == 0, f"{seen.twice} event(s) reached the consumer's body twice")
    seen.expect(witness.failure is None, f"the consumer ended: {witness.failure}")
    seen.expect(accepted, "nothing was accepted, so nothing was tested")
    seen.notes.append(note)
    unfinished = len(witness.seen - accepted)
    if unfinished:
        seen.notes.append(f"{unfinished} more arrived that were killed while being accepted")
    slow = len(accepted - on_disk)
    if slow:
        seen.notes.append(
            f"{slow} accepted while the disk did not answer in 20 ms, {len(lost_from_memory)} of them lost"
        )
    return seen


def ended(world: World, *, away: bool) -> Seen:
    """SIGTERM; with Redis away, another life delivers the rest."""
    server = world.redis()
    proxy = world.stack.enter_context(Proxy(server.port))
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0")
    gate.start()
    flowing(witness)
    proxy.fault = Fault.CUT if away else Fault.NONE
    accepting(gate)
    status, took_s = gate.stop(DRAIN_S + ALLOWANCE_S)
    problems = [] if status == 0 else [f"exit code {status}"]
    notes = [f"ended after {took_s:.1f} s, exit code {status}"]
    if away:
        left = len(gate.journal.accepted - set(server.event_ids()))
        notes.append(f"{left} event(s) left on the disk")
        problems += [] if left else ["nothing was left behind, so nothing was tested"]
        proxy.fault = Fault.NONE
        gate.start()
        flowing(witness)
        drained(gate)
        gate.stop()
    elif took_s > DRAIN_S:
        problems.append(f"it took {took_s:.1f} s")
    seen = balance(gate, witness, server, stall_of=None if away else "lobby")
    seen.problems += problems
    seen.notes += notes
    return seen


def without_room(world: World) -> Seen:
    """The kernel refuses to let the spool's files grow, as a full disk does; then there is room again."""
    server = world.redis()
    proxy = world.stack.enter_context(Proxy(server.port))
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0")
    gate.start()
    flowing(witness)
    proxy.fault = Fault.CUT
    # Redis is away, so the spool grows beyond this; log and journal of a scenario stay below.
    _limit(gate, DISK_BYTES)
    until(lambda: gate.events_logged()["spool_away"], "word that the disk is full")
    accepting(gate, events=12)
    ready = told_of_disk(gate)
    proxy.fault = Fault.NONE
    flowing(witness, events=12)
    _limit(gate, resource.RLIM_INFINITY)
    drained(gate)
    status, _ = gate.stop()
    seen = balance(gate, witness, server)
    seen.expect(status == 0, f"exit code {status}")
    seen.notes.append(f"`/readyz`: {' '.join(ready.split())}")
    return seen


def _limit(gate: Gate, most_bytes: int) -> None:
    try:
        resource.prlimit(gate.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    except PermissionError as error:
        raise Failed(f"this system does not let us limit a process's files: {error}") from None
