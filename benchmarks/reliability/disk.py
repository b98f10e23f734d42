"""A disk without room, for real: a file system of a few megabytes that something else has filled."""

import contextlib
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import NotHere, Scenario, Seen, accepting, balance, drained, flowing, told_of_disk
from benchmarks.reliability.world import World, until

FAMILY = "the gate"
DISK_MB = 24
"""The spool's log may take 16 MB of it."""

ROOM_BYTES = 150_000
"""What is left when the fault begins: some ten faces."""


def scenarios() -> list[Scenario]:
    """The one."""
    return [
        Scenario(
            FAMILY,
            "the disk is full",
            "told in `/readyz`; faces wait in memory and are written when there is room, so that a SIGKILL then "
            "loses none; the file is whole",
            full,
        )
    ]


def full(world: World) -> Seen:
    """Redis goes, the disk fills up, there is room again, the gate is killed, Redis comes back."""
    disk = mounted(world)
    server = world.redis()
    proxy = world.stack.enter_context(Proxy(server.port))
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{proxy.port}/0", spool={"dir": str(disk / "spool")})
    gate.start()
    flowing(witness)
    proxy.fault = Fault.CUT
    accepting(gate)
    ballast = fill(disk)
    until(lambda: gate.events_logged()["spool_away"], "word that the disk is full")
    accepting(gate, events=12)
    ready, stall_s = told_of_disk(gate), gate.journal.stall_s("lobby")
    gate.signal(signal.SIGSTOP)
    on_full_disk = events_in(disk / "spool", world.folder / "copy-full")
    gate.signal(signal.SIGCONT)
    owed = gate.journal.accepted
    ballast.unlink()
    until(lambda: gate.events_logged()["spool_on_disk"] > 1, "word that everything is on the disk")
    gate.kill()
    left = events_in(disk / "spool", world.folder / "copy-room")
    proxy.fault = Fault.NONE
    gate.start()
    flowing(witness)
    drained(gate)
    gate.stop()
    seen = balance(gate, witness, server, stall_of=None, owed=owed | gate.journal.on_disk)
    seen.stall_s = stall_s
    seen.expect("in memory alone: full" in ready, f"/readyz does not tell: {ready!r}")
    seen.expect(left > on_full_disk, f"{on_full_disk} event(s) on the full disk, {left} with room: nothing was tested")
    causes = sorted({str(line["cause"]) for line in gate.log() if line.get("event") == "spool_away"})
    seen.notes.append(
        f"told as {', '.join(causes)}; {on_full_disk} events on the full disk, {left} on it at the SIGKILL; "
        "SQLite finds the file whole both times"
    )
    return seen


def mounted(world: World) -> Path:
    """A file system of its own in memory, which goes with the scenario. Raises `NotHere` where none may be mounted."""
    folder = world.folder / "disk"
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        raise NotHere("nothing may be mounted here, which takes root")
    # The lazy way: a gate that hangs must not keep the others from being tried.
    world.stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    return folder


def fill(disk: Path) -> Path:
    """Leave `ROOM_BYTES` of the disk at most; gives the file that takes the rest."""
    ballast = disk / "ballast"
    wanted_bytes = max(shutil.disk_usage(disk).free - ROOM_BYTES, 0)
    # The gate writes meanwhile, and may be the first to take what was to be left.
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        file.write(bytes(wanted_bytes))
    return ballast


def events_in(spool: Path, copy: Path) -> int:
    """How many events a crash at this moment would leave, by a copy of the file and its log.

    Raises:
        sqlite3.Error: it is not a database any more, or one that its own check does not find whole.
    """
    shutil.copytree(spool, copy)
    database = sqlite3.connect(copy / "events.sqlite")
    try:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        (events,) = database.execute("SELECT count(*) FROM events").fetchone()
        return int(events)
    finally:
        database.close()
