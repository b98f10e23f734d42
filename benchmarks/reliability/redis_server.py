"""Redis itself fails: killed, paused, full, failed over, without its commands."""

import time

from benchmarks.reliability.scenario import Scenario, Seen, accepting, away, balance, drained, flowing
from benchmarks.reliability.world import RedisServer, World, free_port, until

FAMILY = "Redis"
AWAY_S = 2.0


def scenarios() -> list[Scenario]:
    """One for each way."""
    return [
        Scenario(FAMILY, "killed, started again", "with `appendfsync always`: all that was confirmed is there", killed),
        Scenario(FAMILY, "paused (SIGSTOP)", "ends with `redis.timeout_s`; no copy at the consumer", paused),
        Scenario(FAMILY, "full (maxmemory, noeviction)", "told as `full`; what is accepted waits on the disk", full),
        Scenario(FAMILY, "failover by Sentinels", "the new master is found; nothing confirmed is lost", failover),
        Scenario(FAMILY, "XADD renamed away", "told in words; nothing is lost until it is back", renamed),
    ]


def killed(world: World) -> Seen:
    """Kill -9, and its start two seconds later."""
    server = world.redis("appendonly yes", "appendfsync always")
    witness, gate = world.witness(server.url), world.gate(server.url)
    gate.start()
    flowing(witness)
    server.kill()
    accepting(gate)
    time.sleep(AWAY_S)
    server.start()
    flowing(witness)
    drained(gate)
    gate.stop()
    return _told(gate_causes=away(gate), seen=balance(gate, witness, server))


def paused(world: World) -> Seen:
    """SIGSTOP and SIGCONT: what was sent to it lies in its socket and is carried out later."""
    server = world.redis()
    witness, gate = world.witness(server.url), world.gate(server.url)
    gate.start()
    flowing(witness)
    server.freeze()
    accepting(gate)
    until(lambda: away(gate), "word that Redis is away")
    time.sleep(AWAY_S)
    server.thaw()
    flowing(witness)
    drained(gate)
    gate.stop()
    return _told(gate_causes=away(gate), seen=balance(gate, witness, server))


def full(world: World) -> Seen:
    """No room for another entry; then there is."""
    server = world.redis("maxmemory-policy noeviction")
    witness, gate = world.witness(server.url), world.gate(server.url)
    gate.start()
    flowing(witness)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    accepting(gate)
    until(lambda: away(gate), "word that Redis is full")
    time.sleep(AWAY_S)
    server.ask("CONFIG", "SET", "maxmemory", "0")
    flowing(witness)
    drained(gate)
    gate.stop()
    return _told(gate_causes=away(gate), seen=balance(gate, witness, server))


def failover(world: World) -> Seen:
    """The master dies after its replica has all; two of three Sentinels agree on the replica."""
    master = world.redis(name="master")
    replica = world.redis(f"replicaof 127.0.0.1 {master.port}", name="replica")
    watch = (
        f"sentinel monitor doors 127.0.0.1 {master.port} 2",
        "sentinel down-after-milliseconds doors 500",
        "sentinel failover-timeout doors 2000",
    )
    sentinels = [world.redis(*watch, name=f"sentinel{number}") for number in range(3)]
    until(
        lambda: _knows(sentinels, b"num-slaves", b"1") and _knows(sentinels, b"num-other-sentinels", b"2"), "a quorum"
    )
    url = f"redis+sentinel://{','.join(f'127.0.0.1:{sentinel.port}' for sentinel in sentinels)}/doors/0"
    # A master whose replica is behind takes nothing: what it confirms is on both.
    witness, gate = world.witness(url), world.gate(url)
    gate.start()
    flowing(witness)
    _until_replica_has_all(master, replica)
    master.kill()
    accepting(gate)
    flowing(witness, events=8)
    drained(gate)
    gate.stop()
    return _told(gate_causes=away(gate), seen=balance(gate, witness, replica))


def renamed(world: World) -> Seen:
    """A server whose XADD has another name takes the place of one that knows it, and leaves again."""
    port = free_port()
    persistent = ("appendonly yes", "appendfsync always")
    good = RedisServer(world.folder / "redis", *persistent, port=port)
    world.stack.callback(good.kill)
    witness, gate = world.witness(good.url), world.gate(good.url)
    gate.start()
    flowing(witness)
    good.kill()
    renaming = RedisServer(world.folder / "renaming", 'rename-command XADD ""', port=port)
    world.stack.callback(renaming.kill)
    accepting(gate)
    until(lambda: set(away(gate)) - {"refused", "disconnected", "unreachable", "timeout"}, "word that XADD is refused")
    renaming.kill()
    good.start()
    flowing(witness)
    drained(gate)
    gate.stop()
    return _told(gate_causes=away(gate), seen=balance(gate, witness, good))


def _told(*, gate_causes: list[str], seen: Seen) -> Seen:
    seen.notes.append(f"told as {', '.join(gate_causes) or 'nothing'}")
    return seen


def _knows(sentinels: list[RedisServer], what: bytes, number: bytes) -> bool:
    for sentinel in sentinels:
        masters = sentinel.ask("SENTINEL", "MASTERS")
        if not masters:
            return False
        state = masters[0] if isinstance(masters, list) else masters
        pairs = dict(zip(state[::2], state[1::2], strict=False)) if isinstance(state, list) else state
        if pairs.get(what, pairs.get(what.decode())) not in {number, number.decode(), int(number)}:
            return False
    return True


def _until_replica_has_all(master: RedisServer, replica: RedisServer) -> None:
    """Wait for a moment at which the replica knows every entry; events go on, so some moments pass."""
    until(lambda: master.event_ids() == replica.event_ids(), "a replica that has everything", every_s=0.02)
