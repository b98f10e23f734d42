"""What was accepted is on the disk until it has arrived, and a disk that fails costs nothing but that."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError, SpoolError
from gate.publish import spool
from gate.publish.event import FaceEvent, VisitEndEvent, encode
from gate.publish.sealing import AesGcmSeal
from gate.publish.spool import SpooledBacklog, SpoolLimits
from gate.publish.spool_books import READY_EVENTS
from gate.publish.spool_file import DAMAGED_NAME, NAME, SpoolFile
from gate.publish.waiting import Waiting

Make = Callable[..., FaceEvent]
Open = Callable[..., SpooledBacklog]
MB = 1_000_000


class Told:
    """What the observer has heard."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self.disk: list[str] = []

    def dropped(self, reason: str, n: int) -> None:
        self.lost[reason] += n

    def spool_failed(self, cause: str, message: str) -> None:
        assert message.startswith("spool ")
        self.disk.append(cause)

    def spool_kept(self) -> None:
        self.disk.append("kept")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def open_spool(tmp_path: Path, told: Told, fake_clock: Any) -> Iterator[Open]:
    opened: list[SpooledBacklog] = []

    def make(
        folder: Path = tmp_path / "spool", *, max_bytes: int = 100 * MB, seal: Any = None, **limits: Any
    ) -> SpooledBacklog:
        wanted = SpoolLimits(max_bytes=max_bytes, **limits)
        opened.append(SpooledBacklog(folder, limits=wanted, clock=fake_clock, observer=told, seal=seal))
        return opened[-1]

    yield make
    for backlog in opened:
        crash(backlog)


def crash(backlog: SpooledBacklog) -> None:
    """As SIGKILL leaves it: nothing more is written, and the lock is free."""
    if backlog._file is not None:
        backlog._file._db.close()
        backlog._file = None
    backlog._fault = SpoolError("the process is gone", cause="gone")


def put(backlog: SpooledBacklog, *events: Any, since_s: float = float("nan")) -> None:
    for event in events:
        size_bytes = sum(map(len, encode(event).values()))
        with backlog.changed:
            for reason, count in backlog.push(Waiting(event, size_bytes, since_s)).items():
                backlog._observer.dropped(reason.value, count)


def take(backlog: SpooledBacklog, most: int = 64) -> list[Waiting]:
    with backlog.changed:
        return backlog.take(most, 16 * MB)


def arrive(backlog: SpooledBacklog, arrived: list[Waiting], **positions: bytes) -> None:
    with backlog.changed:
        backlog.confirm(arrived, positions)


def drain(backlog: SpooledBacklog) -> list[int]:
    """Deliver everything there is."""
    delivered: list[int] = []
    while len(backlog):
        batch = take(backlog)
        delivered += [waiting.event.seq for waiting in batch if isinstance(waiting.event, FaceEvent)]
        arrive(backlog, batch)
        backlog.turn()
    return delivered


def test_what_was_committed_outlives_the_process_in_order(open_spool: Open, make_face: Make) -> None:
    backlog = open_spool()
    put(backlog, *(make_face(number) for number in range(10)))
    backlog.turn()
    crash(backlog)
    after = open_spool()
    after.turn()
    replayed = take(after)
    assert [waiting.event for waiting in replayed] == [make_face(number) for number in range(10)]
    assert all(waiting.replayed for waiting in replayed)
    put(after, make_face(10))
    assert [waiting.replayed for waiting in take(after)] == [False]


def test_what_arrived_does_not_come_again(open_spool: Open, make_face: Make) -> None:
    backlog = open_spool()
    put(backlog, *(make_face(number) for number in range(10)))
    backlog.turn()
    arrive(backlog, take(backlog, 4), faces=b"17-0")
    backlog.turn()
    crash(backlog)
    after = open_spool()
    assert after.positions == {"faces": b"17-0"}
    after.turn()
    assert drain(after) == [4, 5, 6, 7, 8, 9]
    assert len(after) == after.size_bytes == 0


def test_what_arrived_before_it_was_written_is_never_written(open_spool: Open, make_face: Make) -> None:
    backlog = open_spool()
    put(backlog, make_face(0), make_face(1))
    arrive(backlog, take(backlog, 1))
    backlog.turn()
    assert backlog._file is not None
    assert backlog._file.rows == 1


def test_what_arrives_while_it_is_being_written_is_removed_again(
    open_spool: Open, make_face: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = open_spool()
    backlog.turn()
    put(backlog, make_face(0))
    write = SpoolFile.write

    def slowly(self: SpoolFile, added: Any, *rest: Any) -> None:
        if added:
            arrive(backlog, take(backlog))
        write(self, added, *rest)

    monkeypatch.setattr(SpoolFile, "write", slowly)
    backlog.turn()
    assert backlog._file is not None
    assert backlog._file.rows == 1
    backlog.turn()
    assert backlog._file.rows == 0


def test_a_long_backlog_waits_on_the_disk_alone_and_keeps_its_order(open_spool: Open, make_face: Make) -> None:
    backlog = open_spool()
    many = 3 * READY_EVENTS
    for number in range(many):
        put(backlog, make_face(number))
        if number % 50 == 0:
            backlog.turn()
    while backlog._books.unwritten:
        backlog.turn()
    assert len(backlog._books.ready) == len(backlog._books.in_memory) == READY_EVENTS
    assert len(backlog) == many
    assert backlog.size_bytes == sum(sum(map(len, encode(make_face(number)).values())) for number in range(many))
    assert drain(backlog) == list(range(many))
    assert backlog.size_bytes == 0


def test_latency_counts_from_the_frame_though_the_gate_was_restarted(
    open_spool: Open, make_face: Make, fake_clock: Any
) -> None:
    backlog = open_spool()
    put(backlog, make_face(0), since_s=fake_clock.monotonic_s() - 2)
    put(backlog, make_face(1))
    backlog.turn()
    crash(backlog)
    fake_clock.advance(60)
    after = open_spool()
    after.turn()
    first, second = take(after)
    assert fake_clock.monotonic_s() - first.since_s == pytest.approx(62)
    assert second.since_s != second.since_s


def test_best_shots_and_visit_ends_outlive_faces_that_may_be_replaced(
    open_spool: Open, told: Told, make_face: Make, make_visit_end: Callable[..., VisitEndEvent]
) -> None:
    size_bytes = sum(map(len, encode(make_face(0)).values()))
    backlog = open_spool(max_bytes=6 * size_bytes + 100)
    put(backlog, make_face(0, final=True), *(make_face(number) for number in range(1, 5)), make_visit_end(5))
    backlog.turn()
    assert not told.lost
    put(backlog, *(make_face(number, final=True) for number in range(6, 9)))
    backlog.turn()
    assert told.lost == {"overflow": 3}
    put(backlog, *(make_face(number, final=True) for number in range(9, 13)))
    backlog.turn()
    assert told.lost == {"overflow": 4, "overflow_final": 3}
    assert backlog._file is not None
    assert backlog._file.size_bytes == backlog.size_bytes <= 6 * size_bytes + 100
    assert drain(backlog) == [7, 8, 9, 10, 11, 12]


def test_what_is_being_sent_is_not_given_up(open_spool: Open, told: Told, make_face: Make) -> None:
    size_bytes = sum(map(len, encode(make_face(0)).values()))
    backlog = open_spool(max_bytes=3 * size_bytes + 100)
    put(backlog, make_face(0), make_face(1))
    backlog.turn()
    sent = take(backlog)
    put(backlog, *(make_face(number) for number in range(2, 6)))
    backlog.turn()
    arrive(backlog, sent)
    assert told.lost == {"overflow": 3}
    assert drain(backlog) == [5]


def test_what_is_too_old_is_dropped_on_the_disk_and_in_memory(
    open_spool: Open, told: Told, make_face: Make, fake_clock: Any
) -> None:
    backlog = open_spool(max_age_s=3600)
    put(backlog, *(make_face(number) for number in range(READY_EVENTS + 10)))
    while backlog._books.unwritten:
        backlog.turn()
    fake_clock.advance(3000)
    put(backlog, make_face(999))
    backlog.turn()
    fake_clock.advance(1000)
    assert take(backlog, 10) == []
    backlog.turn()
    assert told.lost == {"expired": READY_EVENTS + 10}
    assert drain(backlog) == [999]
    assert backlog.size_bytes == 0


def test_a_power_cut_may_take_a_second_at_most(
    open_spool: Open, make_face: Make, fake_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[float] = []
    monkeypatch.setattr(SpoolFile, "sync", lambda _self: synced.append(fake_clock.now_s))
    backlog = open_spool()
    put(backlog, make_face(0))
    backlog.turn()
    fake_clock.advance(0.5)
    backlog.turn()
    assert synced == []
    assert backlog._pause_s() == pytest.approx(0.5)
    fake_clock.advance(0.5)
    backlog.turn()
    backlog.turn()
    assert len(synced) == 1
    arrive(backlog, take(backlog))
    backlog.turn()
    fake_clock.advance(5)
    backlog.turn()
    assert len(synced) == 1, "nothing waits, so there is nothing to make safe"


def test_a_folder_that_cannot_be_made_leaves_memory_and_is_used_when_it_can(
    open_spool: Open, told: Told, make_face: Make, tmp_path: Path, fake_clock: Any
) -> None:
    # Root may write anywhere, but not below a file.
    blocker = tmp_path / "state"
    blocker.write_text("in the way")
    backlog = open_spool(blocker / "spool", memory_events=3)
    assert told.disk == ["read_only"]
    put(backlog, *(make_face(number) for number in range(5)))
    assert told.lost == {"overflow": 2}
    backlog.turn()
    assert backlog.kept([]) == 0
    blocker.unlink()
    backlog.turn()
    assert told.disk == ["read_only", "read_only", "kept"]
    assert backlog.kept([]) == 3
    crash(backlog)
    after = open_spool(blocker / "spool")
    after.turn()
    assert drain(after) == [2, 3, 4]


def test_a_disk_that_fails_in_between_loses_and_doubles_nothing(
    open_spool: Open, told: Told, make_face: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = open_spool()
    put(backlog, *(make_face(number) for number in range(READY_EVENTS + 20)))
    while backlog._books.unwritten:
        backlog.turn()
    sent = take(backlog, 2)
    fail = pytest.MonkeyPatch()
    fail.setattr(SpoolFile, "write", lambda *_args: (_ for _ in ()).throw(SpoolError("spool x: full", cause="full")))
    put(backlog, *(make_face(number) for number in range(1000, 1005)))
    backlog.turn()
    assert told.disk == ["kept", "full"]
    arrive(backlog, sent)
    backlog.turn()
    fail.undo()
    backlog.turn()
    assert told.disk[-1] == "kept"
    backlog.turn()
    expected = [*range(2, READY_EVENTS + 20), *range(1000, 1005)]
    assert drain(backlog) == expected
    assert not told.lost
    assert backlog._file is not None
    assert backlog._file.rows == 0


def test_a_disk_that_hangs_is_not_waited_for(
    open_spool: Open, told: Told, make_face: Make, fake_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = open_spool()
    put(backlog, *(make_face(number) for number in range(READY_EVENTS + 5)))
    write = SpoolFile.write

    def hang(self: SpoolFile, added: Any, *rest: Any) -> None:
        fake_clock.advance(spool.STALL_S + 1)
        put(backlog, make_face(1000))
        assert told.disk[-1] == "slow"
        assert len(backlog._books.ready) == READY_EVENTS + 6, "all of it can be delivered from memory"
        monkeypatch.setattr(SpoolFile, "write", write)
        write(self, added, *rest)

    monkeypatch.setattr(SpoolFile, "write", hang)
    for _ in range(3):
        backlog.turn()
    assert told.disk == ["kept", "slow", "kept"]
    assert drain(backlog) == [*range(READY_EVENTS + 5), 1000]


def test_a_damaged_file_is_put_aside_and_what_memory_holds_is_kept(
    open_spool: Open, told: Told, make_face: Make, tmp_path: Path
) -> None:
    backlog = open_spool()
    put(backlog, *(make_face(number) for number in range(READY_EVENTS + 20)))
    while backlog._books.unwritten:
        backlog.turn()
    assert backlog._file is not None
    backlog._file.tidy()
    (tmp_path / "spool" / NAME).write_bytes(b"\x00garbage" * 100_000)
    backlog._file._db.execute("PRAGMA shrink_memory")
    put(backlog, make_face(2000))
    for _ in range(4):
        backlog.turn()
    assert "damaged" in told.disk
    assert told.disk[-1] == "kept"
    assert (tmp_path / "spool" / DAMAGED_NAME).exists()
    delivered = drain(backlog)
    assert delivered[:READY_EVENTS] == list(range(READY_EVENTS))
    assert delivered[-1] == 2000
    assert told.lost["unreadable"] == READY_EVENTS + 21 - len(delivered)


def test_garbage_in_place_of_the_file_does_not_keep_the_gate_from_starting(
    open_spool: Open, told: Told, make_face: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / NAME).write_bytes(b"this is no database, " * 1000)
    backlog = open_spool()
    put(backlog, make_face(0))
    backlog.turn()
    assert told.disk == ["kept"]
    assert (folder / DAMAGED_NAME).read_bytes().startswith(b"this is no database")
    assert drain(backlog) == [0]


def test_a_file_that_somebody_removes_is_made_anew_with_what_memory_holds(
    open_spool: Open, told: Told, make_face: Make, tmp_path: Path, fake_clock: Any
) -> None:
    backlog = open_spool()
    put(backlog, make_face(0), make_face(1))
    backlog.turn()
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    fake_clock.advance(spool.HOUSEKEEPING_S + 1)
    backlog.turn()
    backlog.turn()
    assert told.disk == ["kept", "failing", "kept"]
    crash(backlog)
    after = open_spool()
    after.turn()
    assert drain(after) == [0, 1]


def test_two_gates_cannot_share_a_spool(open_spool: Open, tmp_path: Path) -> None:
    open_spool()
    other = sqlite3.connect(tmp_path / "spool" / NAME, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM events")
    other.close()
    with pytest.raises(ConfigError, match=r"another gate uses it; give each its own spool\.dir"):
        open_spool()


def test_nobody_else_may_read_the_file(open_spool: Open, tmp_path: Path) -> None:
    open_spool()
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "spool" / NAME).stat().st_mode & 0o777 == 0o600


def test_no_picture_stays_in_the_file_when_it_has_arrived(
    open_spool: Open, make_face: Make, tmp_path: Path, fake_clock: Any
) -> None:
    backlog = open_spool()
    put(backlog, *(make_face(number) for number in range(500)))
    while backlog._books.unwritten:
        backlog.turn()
    folder = tmp_path / "spool"
    picture = make_face(0).crop[100:300]
    assert any(picture in path.read_bytes() for path in folder.iterdir())
    drain(backlog)
    fake_clock.advance(spool.HOUSEKEEPING_S + 1)
    backlog.turn()
    assert not any(picture in path.read_bytes() for path in folder.iterdir())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000


def test_an_encrypted_spool_shows_nothing_and_opens_with_its_key_alone(
    open_spool: Open, make_face: Make, tmp_path: Path
) -> None:
    key, other = AesGcmSeal(bytes(32)), AesGcmSeal(bytes([1]) * 32)
    backlog = open_spool(seal=key)
    put(backlog, make_face(0))
    backlog.turn()
    crash(backlog)
    folder = tmp_path / "spool"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for content in before.values():
        assert b"\xff\xd8\xff" not in content
        assert make_face(0).event_id.encode() not in content
        assert b"door" not in content
    for wrong in (None, other):
        with pytest.raises(ConfigError, match=r"were encrypted and .*Give their key as spool\.key_file"):
            open_spool(seal=wrong)
    after = open_spool(seal=AesGcmSeal(bytes(32)))
    after.turn()
    assert [waiting.event for waiting in take(after)] == [make_face(0)]


def test_a_new_key_is_taken_when_nothing_lies_under_the_old_one(open_spool: Open, make_face: Make) -> None:
    backlog = open_spool(seal=AesGcmSeal(bytes(32)))
    put(backlog, make_face(0))
    backlog.turn()
    drain(backlog)
    crash(backlog)
    second = open_spool(seal=AesGcmSeal(bytes([1]) * 32))
    put(second, make_face(1))
    second.turn()
    crash(second)
    third = open_spool(seal=AesGcmSeal(bytes([1]) * 32))
    third.turn()
    assert drain(third) == [1]


def test_what_was_written_before_there_was_a_key_is_still_read(open_spool: Open, make_face: Make) -> None:
    backlog = open_spool()
    put(backlog, make_face(0))
    backlog.turn()
    crash(backlog)
    after = open_spool(seal=AesGcmSeal(bytes(32)))
    put(after, make_face(1))
    after.turn()
    assert drain(after) == [0, 1]


def test_a_row_that_was_changed_is_counted_and_the_others_arrive(
    open_spool: Open, told: Told, make_face: Make, tmp_path: Path
) -> None:
    backlog = open_spool(seal=AesGcmSeal(bytes(32)))
    put(backlog, *(make_face(number) for number in range(3)))
    backlog.turn()
    crash(backlog)
    with sqlite3.connect(tmp_path / "spool" / NAME) as db:
        (second,) = db.execute("SELECT ticket FROM events ORDER BY ticket LIMIT 1 OFFSET 1").fetchone()
        db.execute("UPDATE events SET body = zeroblob(length(body)) WHERE ticket = ?", (second,))
    db.close()
    after = open_spool(seal=AesGcmSeal(bytes(32)))
    after.turn()
    assert drain(after) == [0, 2]
    assert told.lost == {"unreadable": 1}
