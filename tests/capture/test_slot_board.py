"""The newest frame wins, every loss is told, nobody starves, nobody waits for ever."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.capture.board import SlotBoard
from gate.types import Frame

IMAGE = np.zeros((1, 1, 3), np.uint8)


def frame(camera: str, seq: int) -> Frame:
    return Frame(camera, seq, IMAGE, 0.0, 0)


def names(frames: list[Frame]) -> list[tuple[str, int]]:
    return [(f.camera, f.seq) for f in frames]


def test_a_full_slot_loses_its_older_frame() -> None:
    board = SlotBoard()

    assert [board.put(frame("a", seq)) for seq in range(3)] == [False, True, True]
    assert (board.pending(), board.waiting(), board.displaced) == (1, frozenset("a"), 2)
    assert names(board.take(0)) == [("a", 2)]
    assert (board.pending(), board.waiting(), board.displaced) == (0, frozenset(), 2)


def test_each_camera_has_its_own_slot() -> None:
    board = SlotBoard()
    for camera in "abc":
        assert not board.put(frame(camera, 7))

    assert sorted(names(board.take(0))) == [("a", 7), ("b", 7), ("c", 7)]


def test_an_empty_board_gives_nothing_when_the_time_is_over() -> None:
    assert SlotBoard().take(0.0) == []
    assert SlotBoard().take(0.01) == []


def test_with_a_limit_the_cameras_take_turns() -> None:
    board = SlotBoard()
    served: list[str] = []
    for seq in range(9):
        for camera in "abcde":
            board.put(frame(camera, seq))
        served += [f.camera for f in board.take(0, limit=2)]

    assert served == list("abcde" * 4)[:18]


def test_a_fast_camera_does_not_push_a_slow_one_back() -> None:
    board = SlotBoard()
    board.put(frame("slow", 0))
    for seq in range(5):
        board.put(frame("fast", seq))

    assert names(board.take(0, limit=1)) == [("slow", 0)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abcd")),
            st.tuples(st.just("take"), st.integers(1, 5)),
            st.tuples(st.just("remove"), st.sampled_from("abcd")),
        ),
        max_size=80,
    )
)
def test_frames_put_are_taken_lost_or_pending(steps: list[tuple[str, str | int]]) -> None:
    board, put, taken, lost, newest = SlotBoard(), 0, 0, 0, {}
    for step, value in steps:
        if step == "put":
            lost += board.put(frame(str(value), put))
            newest[str(value)] = put
            put += 1
        elif step == "take":
            frames = board.take(0, limit=int(value))
            assert len(frames) <= int(value)
            assert all(newest[f.camera] == f.seq for f in frames)
            taken += len(frames)
        else:
            lost += board.remove(str(value))
        assert put == taken + lost + board.pending()


def test_closing_keeps_what_is_pending_and_takes_nothing_new() -> None:
    board = SlotBoard()
    board.put(frame("a", 0))
    board.close()

    assert board.put(frame("a", 1))
    assert board.put(frame("b", 0))
    assert not board.put_wait(frame("c", 0), threading.Event())
    assert names(board.take(60)) == [("a", 0)]
    assert board.take(60) == []


def test_nothing_of_a_stopped_camera_arrives_behind_its_removal() -> None:
    board, stop = SlotBoard(), threading.Event()
    assert not board.put(frame("a", 0), stop)
    stop.set()
    assert board.remove("a")

    assert board.put(frame("a", 1), stop)
    assert not board.put_wait(frame("a", 2), stop)
    assert not board.put(frame("a", 0), threading.Event())
    assert names(board.take(0)) == [("a", 0)]


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("end", ["put", "close"])
def test_a_waiting_engine_wakes(end: str) -> None:
    board = SlotBoard()
    got: list[list[Frame]] = []
    engine = in_thread(lambda: got.append(board.take(60)))

    if end == "put":
        board.put(frame("a", 1))
    else:
        board.close()
    engine.join(10)

    assert [names(frames) for frames in got] == [[("a", 1)] if end == "put" else []]


@pytest.mark.parametrize("end", ["take", "stop", "close", "remove"])
def test_a_waiting_file_goes_on_when_its_slot_is_free_or_it_must_leave(end: str) -> None:
    board, stop = SlotBoard(), threading.Event()
    board.put(frame("a", 0))
    results: list[bool] = []
    writer = in_thread(lambda: results.append(board.put_wait(frame("a", 1), stop)))

    ends: dict[str, Callable[[], object]] = {
        "take": lambda: board.take(0),
        "stop": stop.set,
        "close": board.close,
        "remove": lambda: board.remove("a"),
    }
    ends[end]()
    writer.join(10)

    assert results == [end in {"take", "remove"}]
    assert names(board.take(0)) == [("a", 1 if results[0] else 0)]


def test_files_that_wait_lose_nothing_and_keep_their_order() -> None:
    board, stop, per_camera = SlotBoard(), threading.Event(), 200
    results: list[bool] = []

    def write(camera: str) -> None:
        results.extend(board.put_wait(frame(camera, seq), stop) for seq in range(per_camera))

    writers = [in_thread(lambda camera=camera: write(camera)) for camera in "abcd"]  # type: ignore[misc]
    seen: dict[str, list[int]] = {camera: [] for camera in "abcd"}
    while sum(map(len, seen.values())) < 4 * per_camera:
        frames = board.take(10, limit=3)
        assert frames, "no frame came for ten seconds"
        for taken in frames:
            seen[taken.camera].append(taken.seq)
    for writer in writers:
        writer.join(10)

    assert all(results)
    assert seen == {camera: list(range(per_camera)) for camera in "abcd"}


def test_counts_are_exact_under_many_threads() -> None:
    board, per_camera, cameras = SlotBoard(), 500, [f"cam{n}" for n in range(8)]
    lost = dict.fromkeys(cameras, 0)

    def write(camera: str) -> None:
        for seq in range(per_camera):
            lost[camera] += board.put(frame(camera, seq))

    taken: list[Frame] = []
    done = threading.Event()

    def engine() -> None:
        while not (done.is_set() and board.pending() == 0):
            taken.extend(board.take(0.01, limit=3))

    engines = [in_thread(engine), in_thread(engine)]
    writers = [in_thread(lambda camera=camera: write(camera)) for camera in cameras]  # type: ignore[misc]
    for writer in writers:
        writer.join(20)
    done.set()
    for thread in engines:
        thread.join(20)

    assert not any(thread.is_alive() for thread in (*writers, *engines))
    for camera in cameras:
        seqs = [f.seq for f in taken if f.camera == camera]
        assert len(seqs) == len(set(seqs))
        assert max(seqs) == per_camera - 1
        assert len(seqs) + lost[camera] == per_camera
