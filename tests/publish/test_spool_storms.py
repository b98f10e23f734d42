"""The spool under random histories, SIGKILL and disks that are truly full."""

import contextlib
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.clock import SystemClock
from gate.errors import SpoolError
from gate.publish.event import FaceEvent, encode
from gate.publish.spool import SpooledBacklog, SpoolLimits
from gate.publish.spool_file import SpoolFile
from gate.publish.waiting import Waiting

Make = Callable[..., FaceEvent]
CAMERAS = ("door", "lobby", "gate")


class Quiet:
    """Counts what was lost."""

    def __init__(self) -> None:
        self.lost = 0
        self.disk: list[str] = []

    def dropped(self, reason: str, n: int) -> None:
        self.lost += n

    def spool_failed(self, cause: str, message: str) -> None:
        self.disk.append(cause)

    def spool_kept(self) -> None:
        self.disk.append("kept")


class World:
    """A gate that pushes, a Redis that takes, a disk that fails, and processes that die."""

    def __init__(self, folder: Path, make_face: Make) -> None:
        self._folder = folder
        self._make_face = make_face
        self.observer = Quiet()
        self.pushed: list[tuple[str, int]] = []
        self.arrived: list[tuple[str, int]] = []
        self._taken: list[Waiting] = []
        self._failing = False
        self.backlog = self._open()

    def _open(self) -> SpooledBacklog:
        limits = SpoolLimits(max_bytes=10**9)
        return SpooledBacklog(self._folder, limits=limits, clock=SystemClock(), observer=self.observer)

    def push(self, camera: int) -> None:
        event = self._make_face(len(self.pushed), camera=CAMERAS[camera])
        with self.backlog.changed:
            self.backlog.push(Waiting(event, sum(map(len, encode(event).values()))))
        self.pushed.append((event.camera, event.seq))

    def take(self, most: int) -> None:
        with self.backlog.changed:
            self._taken += self.backlog.take(most, 10**9)

    def deliver(self, most: int) -> None:
        done, self._taken = self._taken[:most], self._taken[most:]
        self.arrived += [(w.event.camera, w.event.seq) for w in done if isinstance(w.event, FaceEvent)]
        with self.backlog.changed:
            self.backlog.confirm(done, {})

    def turn(self) -> None:
        if self._failing:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(SpoolFile, "write", _fail)
                self.backlog.turn()
        else:
            self.backlog.turn()

    def toggle_disk(self) -> None:
        self._failing = not self._failing

    def crash(self) -> None:
        """Die at a moment at which everything accepted is on the disk, as `push` waits for."""
        self._failing = False
        self.settle()
        self.close()
        self._taken = []
        self.backlog = self._open()

    def settle(self) -> None:
        while self.backlog._books.unwritten or self.backlog._fault is not None:
            self.backlog.turn()
        self.backlog.turn()

    def finish(self) -> None:
        self._failing = False
        self.settle()
        while len(self.backlog) or self._taken:
            self.backlog.turn()
            self.take(64)
            self.deliver(64)

    def close(self) -> None:
        if self.backlog._file is not None:
            self.backlog._file.close()


def _fail(*_args: Any) -> None:
    raise SpoolError("spool x: the disk is full", cause="full")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 2)),
        st.tuples(st.just("take"), st.integers(1, 5)),
        st.tuples(st.just("deliver"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["turn", "toggle_disk", "crash"])),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, ready=st.integers(4, 9))
def test_no_history_loses_doubles_or_reorders_anything(
    make_face: Make, steps: list[tuple[Any, ...]], ready: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("gate.publish.spool_books.READY_EVENTS", ready)
        patch.setattr("gate.publish.spool.READY_EVENTS", ready)
        world = World(Path(folder), make_face)
        try:
            healthy = True
            for name, *args in steps:
                if name == "toggle_disk":
                    healthy = False
                getattr(world, name)(*args)
            world.finish()
        finally:
            world.close()
        assert sorted(world.arrived) == sorted(world.pushed)
        assert world.observer.lost == 0
        if healthy:
            for camera in CAMERAS:
                of_camera = [pair for pair in world.arrived if pair[0] == camera]
                assert of_camera == [pair for pair in world.pushed if pair[0] == camera]


WRITER = """
import sys
from pathlib import Path
from gate.clock import SystemClock
from gate.publish.event import decode, encode
from gate.publish.spool import SpooledBacklog, SpoolLimits
from gate.publish.waiting import Waiting

class Quiet:
    def dropped(self, reason, n): sys.exit(f"lost {n}: {reason}")
    def spool_failed(self, cause, message): print("failed", cause, flush=True)
    def spool_kept(self): pass

entry = {name: bytes.fromhex(value) for name, value in (part.split("=") for part in sys.argv[3].split(","))}
first = int(sys.argv[2])
limits = SpoolLimits(max_bytes=10**9)
backlog = SpooledBacklog(Path(sys.argv[1]), limits=limits, clock=SystemClock(), observer=Quiet())
backlog.start()
for number in range(first, first + 100_000):
    event = decode({**entry, "seq": str(number).encode()})
    with backlog.changed:
        backlog.push(Waiting(event, sum(map(len, encode(event).values()))))
        durable = backlog._last_ticket not in backlog._books.unwritten and backlog._fault is None
    # Accepted means: on the disk. A push that gave up waiting for a busy machine has accepted in memory.
    if durable:
        print("accepted", number, flush=True)
    if number % 3 == 0:
        with backlog.changed:
            arrived = backlog.take(2, 10**9)
            print("arriving", *(waiting.event.seq for waiting in arrived), flush=True)
            backlog.confirm(arrived, {})
"""


def entry_argument(event: FaceEvent) -> str:
    return ",".join(f"{name}={value.hex()}" for name, value in encode(event).items())


def emptied(backlog: SpooledBacklog) -> list[int]:
    """Take and confirm everything, close it, and give the numbers of the faces in the order they came."""
    left: list[int] = []
    while len(backlog):
        backlog.turn()
        with backlog.changed:
            batch = backlog.take(64, 10**9)
            left += [waiting.event.seq for waiting in batch if isinstance(waiting.event, FaceEvent)]
            backlog.confirm(batch, {})
    backlog.close(1)
    return left


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_loses_nothing_that_it_had_accepted(tmp_path: Path, make_face: Make) -> None:
    rng = random.Random(11)
    argument = entry_argument(make_face(0))
    accepted: set[int] = set()
    arriving: set[int] = set()
    for turn in range(12):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "spool"), str(turn * 100_000), argument]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline()]
            time.sleep(rng.uniform(0.0, 0.12))
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        for line in lines:
            word, *numbers = line.split() if line.endswith("\n") else ["cut"]
            assert word in {"accepted", "arriving", "cut"}, line
            (accepted if word == "accepted" else arriving).update(map(int, numbers))
    assert len(accepted) > 100
    backlog = SpooledBacklog(
        tmp_path / "spool", limits=SpoolLimits(max_bytes=10**9), clock=SystemClock(), observer=Quiet()
    )
    left = emptied(backlog)
    assert accepted - arriving <= set(left)
    assert left == sorted(set(left)), "in order, nothing twice"


def test_a_disk_without_room_is_told_costs_nothing_and_is_used_when_there_is_room(
    tmp_path: Path, make_face: Make
) -> None:
    """The kernel refuses what lies beyond a file size, as a full disk does."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    observer = Quiet()
    backlog = SpooledBacklog(
        tmp_path / "spool", limits=SpoolLimits(max_bytes=10**9), clock=SystemClock(), observer=observer
    )
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
        for number in range(400):
            event = make_face(number)
            with backlog.changed:
                backlog.push(Waiting(event, sum(map(len, encode(event).values()))))
            if number % 20 == 0:
                backlog.turn()
        assert observer.disk[-1] in {"full", "failing"}
        assert backlog.kept([]) < len(backlog) == 400
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    for _ in range(5):
        backlog.turn()
    assert observer.disk[-1] == "kept"
    assert backlog.kept([]) == len(backlog) == 400
    assert observer.lost == 0
    backlog.close(1)
    again = SpooledBacklog(
        tmp_path / "spool", limits=SpoolLimits(max_bytes=10**9), clock=SystemClock(), observer=observer
    )
    assert len(again) == 400
    again.close(1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here, which takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path) -> Path:
    """Take every block that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.slow
@pytest.mark.parametrize("full_at_start", [True, False])
def test_a_disk_that_is_truly_full_takes_everything_once_there_is_room(
    small_disk: Path, make_face: Make, *, full_at_start: bool
) -> None:
    observer = Quiet()
    ballast = fill(small_disk) if full_at_start else small_disk / "nothing"
    limits = SpoolLimits(max_bytes=10**9)
    backlog = SpooledBacklog(small_disk / "spool", limits=limits, clock=SystemClock(), observer=observer)
    if not full_at_start:
        ballast = fill(small_disk)
    for number in range(200):
        event = make_face(number)
        with backlog.changed:
            backlog.push(Waiting(event, sum(map(len, encode(event).values()))))
        if number % 20 == 0:
            backlog.turn()
    assert observer.disk[-1] == "full"
    assert backlog.kept([]) < len(backlog) == 200

    ballast.unlink()
    for _ in range(3):
        backlog.turn()

    assert observer.disk[-1] == "kept"
    assert backlog.kept([]) == 200
    # As SIGKILL leaves it: nothing is closed, another process opens what lies there.
    copy = small_disk.parent / "copy"
    shutil.copytree(small_disk / "spool", copy)
    backlog.close(1)
    with contextlib.closing(sqlite3.connect(copy / "events.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    after = SpooledBacklog(copy, limits=limits, clock=SystemClock(), observer=observer)
    left = emptied(after)
    assert left == list(range(200))
    assert observer.lost == 0
