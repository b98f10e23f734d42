"""Faults of the connection between a camera and the gate."""

import time
from functools import partial

from benchmarks.reliability.clip import FPS, pictures
from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import Damage, Scenario, Seen, balance, flowing
from benchmarks.reliability.world import Gate, World, until
from tests.capture.rtsp_camera import Conduct, encode, serving

FAMILY = "camera to gate"
FAULT_S = 2.5
READ_TIMEOUT_S = 1.0


DAMAGES = (
    Damage(Fault.CUT, "lost, dialled again with growing pauses, back by itself"),
    Damage(Fault.RESET, "as cut"),
    Damage(Fault.STALL, "lost as `stalled` after `read_timeout_s` without a picture; back by itself"),
    Damage(Fault.DELAY, "pictures come later; the camera is not lost", is_told=False),
    Damage(Fault.BLACK_HOLE, "lost as `stalled` or `timeout`; back by itself"),
    Damage(Fault.LOST_REPLY, "the camera's answer to PLAY never comes: lost, back by itself"),
    Damage(Fault.CORRUPT_REPLIES, "pictures that cannot be decoded are counted, or the camera is lost", is_told=False),
    Damage(Fault.SLOW_LORIS, "lost as `stalled` although bytes come; back by itself"),
)


def scenarios() -> list[Scenario]:
    """One for each fault."""
    return [
        Scenario(
            FAMILY, damage.fault.value, f"{damage.expected}; the other camera is not slowed", partial(play, damage)
        )
        for damage in DAMAGES
    ]


def play(damage: Damage, world: World) -> Seen:
    """Two cameras; one of them is behind the proxy. The other one must not notice."""
    server = world.redis()
    camera = world.stack.enter_context(serving(Conduct(encode(pictures(), fps=FPS))))
    proxy = world.stack.enter_context(Proxy(camera.port, marker=b"PLAY"))
    cameras = [
        {
            "name": "door",
            "url": f"rtsp://127.0.0.1:{proxy.port}/door",
            "read_timeout_s": READ_TIMEOUT_S,
            "open_timeout_s": 2.0,
        },
        {"name": "lobby", "url": str(world.clip), "loop": True},
    ]
    witness, gate = world.witness(server.url), world.gate(server.url, cameras=cameras)
    gate.start()
    frames(gate, "door")
    flowing(witness)
    if damage.fault is Fault.LOST_REPLY:
        # PLAY is sent once a connection: the one that is there has to go first.
        proxy.fault = Fault.CUT
        until(lambda: lost(gate), "word that the camera is lost")
        before = proxy.connections
    proxy.fault = damage.fault
    if damage.fault is Fault.LOST_REPLY:
        until(lambda: proxy.connections > before, "a camera that is dialled again")
    if damage.is_told:
        until(lambda: lost(gate), "word that the camera is lost")
    time.sleep(FAULT_S)
    harmed, others = proxy.harmed, len(gate.journal.frames_s("lobby"))
    proxy.fault = Fault.NONE
    frames(gate, "door")
    status = gate.status.get("cameras", {})
    flowing(witness)
    gate.stop()
    seen = balance(gate, witness, server)
    seen.expect(harmed, "the proxy harmed nothing, so nothing was tested")
    seen.expect(status.get("door", {}).get("state") == "up", "the camera is not up again")
    seen.expect(others, "the other camera delivered nothing")
    seen.notes.append(_notes(gate, status))
    return seen


def frames(gate: Gate, camera: str, *, count: int = 5) -> None:
    """Wait for so many more frames of a camera."""
    before = len(gate.journal.frames_s(camera))
    until(lambda: len(gate.journal.frames_s(camera)) >= before + count, f"frames of {camera}", every_s=0.1)


def lost(gate: Gate) -> list[str]:
    """The causes for which the gate said that the camera is lost."""
    return sorted({str(line["cause"]) for line in gate.log() if line.get("event") == "camera_lost"})


def _notes(gate: Gate, status: dict[str, dict[str, dict[str, int]]]) -> str:
    causes = lost(gate)
    corrupt = status.get("door", {}).get("frames", {}).get("corrupt", 0)
    told = f"lost as {', '.join(causes)}" if causes else "never lost"
    return f"{told}; {corrupt} corrupt picture(s) counted" if corrupt else told
