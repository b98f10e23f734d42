"""Faults of the connection between the gate and Redis."""

import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import Damage, NotHere, Scenario, Seen, accepting, away, balance, drained, flowing
from benchmarks.reliability.world import Failed, RedisServer, World, free_port, until

FAMILY = "gate to Redis"
FAULT_S = 2.5
DAMAGED_EVENTS = 60
"""Accepted while every request is damaged: most bytes of one are those of a crop, few its name or its length."""


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
    return [
        Scenario(FAMILY, "none", "events flow", undisturbed),
        *rows,
        Scenario(
            FAMILY,
            f"{Fault.CORRUPT_REQUESTS.value}, plain",
            "what is stored holds the changed byte, and the consumer puts aside what it cannot read; the rest arrives",
            corrupt_requests,
        ),
        Scenario(
            FAMILY,
            f"{Fault.CORRUPT_REQUESTS.value}, TLS",
            "ends the connection before the server reads a changed byte; tried again, none is lost",
            partial(play, Damage(Fault.CORRUPT_REQUESTS, ""), tls=True),
        ),
    ]


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


def play(damage: Damage, world: World, *, tls: bool = False) -> Seen:
    """Events flow, the fault comes, faces are accepted meanwhile, the fault goes, all is delivered."""
    if tls:
        server, port, certificate = secure_server(world)
        proxy = world.stack.enter_context(Proxy(port))
        gate = world.gate(f"rediss://127.0.0.1:{proxy.port}/0", redis={"ca_file": str(certificate)})
    else:
        server = world.redis()
        proxy = world.stack.enter_context(Proxy(server.port))
        gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0")
    witness = world.witness(server.url)
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


def corrupt_requests(world: World) -> Seen:
    """Plain TCP to Redis has no checksum of its own that a proxy would break: the server stores what reaches it."""
    server = world.redis()
    proxy = world.stack.enter_context(Proxy(server.port))
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0")
    gate.start()
    flowing(witness)
    proxy.fault = Fault.CORRUPT_REQUESTS
    accepting(gate, events=DAMAGED_EVENTS)
    harmed = proxy.harmed
    proxy.fault = Fault.NONE
    flowing(witness)
    drained(gate)
    status, _ = gate.stop()
    seen = balance(gate, witness, server, damaged=harmed)
    seen.expect(status == 0, f"exit code {status}")
    seen.expect(harmed, "the proxy harmed nothing, so nothing was tested")
    lost = len(gate.journal.accepted - witness.seen)
    told = f"told as {', '.join(away(gate))}; " if away(gate) else ""
    seen.notes.append(
        f"{told}{harmed} requests damaged, {lost} event(s) not given: the consumer kit put {witness.written_off} aside"
    )
    return seen


def secure_server(world: World) -> tuple[RedisServer, int, Path]:
    """A redis-server that also speaks TLS: itself, that port, and its certificate, which is its own authority."""
    certificate, key = world.folder / "redis.pem", world.folder / "redis.key"
    world.folder.mkdir(parents=True, exist_ok=True)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-days", "2"]
    names = ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)]
    if shutil.which("openssl") is None:
        raise NotHere("openssl is not installed")
    subprocess.run(["openssl", "req", "-x509", *new, *names], check=True, capture_output=True, timeout=60)
    port = free_port()
    files = (f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {certificate}")
    try:
        server = world.redis(f"tls-port {port}", *files, "tls-auth-clients no")
    except Failed:
        raise NotHere("this redis-server was built without TLS") from None
    return server, port, certificate
