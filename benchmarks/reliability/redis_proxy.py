"""Faults of the connection between the gate and Redis."""

import time
from functools import partial

from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import Damage, Scenario, Seen, accepting, away, balance, drained, flowing
from benchmarks.reliability.world import World, until

FAMILY = "gate to Redis"
FAULT_S = 2.5


DAMAGES = (
    Damage(Fault.CUT, "told in `/status`, tried again; what is accepted meanwhile waits on the disk"),
    Damage(Fault.RESET, "as cut"),
    Damage(Fault.STALL, "ends with `redis.timeout_s`; what arrives late all the same is dropped by the consumer"),
    Damage(Fault.DELAY, "slower, and nothing else", is_told=False),
    Damage(Fault.BLACK_HOLE, "ends with `redis.timeout_s`, tried again"),
    Damage(Fault.LOST_REPLY, "the stream is searched before anything is sent again: no copy"),
    Damage(
        Fault.CORRUPT_REPLIES,
        "ends the connection; copies that a damaged search misses stop at the consumer",
    ),
    Damage(Fault.SLOW_LORIS, "ends with `redis.timeout_s`, tried again"),
)


def scenarios() -> list[Scenario]:
    """One for each fault, and one without any."""
    rows = [Scenario(FAMILY, damage.fault.value, damage.expected, partial(play, damage)) for damage in DAMAGES]
    return [Scenario(FAMILY, "none", "events flow", undisturbed), *rows]


def undisturbed(world: World) -> Seen:
    """The measure of all others."""
    server = world.redis()
    witness, gate = world.witness(server.url), world.gate(server.url)
    gate.start()
    flowing(witness, events=12)
    status, took_s = gate.stop()
    seen = balance(gate, witness, server)
    seen.expect(status == 0, f"exit code {status}")
    seen.notes.append(f"ended in {took_s:.1f} s")
    return seen


def play(damage: Damage, world: World) -> Seen:
    """Events flow, the fault comes, faces are accepted meanwhile, the fault goes, all is delivered."""
    server = world.redis()
    proxy = world.stack.enter_context(Proxy(server.port))
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0")
    gate.start()
    flowing(witness)
    began_s = time.monotonic()
    proxy.fault = damage.fault
    accepting(gate)
    if damage.is_told:
        until(lambda: away(gate), "word that Redis is away")
    time.sleep(max(began_s + FAULT_S - time.monotonic(), 0))
    harmed = proxy.harmed
    proxy.fault = Fault.NONE
    flowing(witness)
    drained(gate)
    status, _ = gate.stop()
    seen = balance(gate, witness, server)
    seen.expect(status == 0, f"exit code {status}")
    seen.expect(harmed, "the proxy harmed nothing, so nothing was tested")
    if damage.is_told:
        seen.notes.append(f"told as {', '.join(away(gate))}")
    return seen
