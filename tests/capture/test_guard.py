"""A resource is released once, and never while somebody is inside it."""

import contextlib
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gate.capture.file import FileSource
from gate.capture.guard import Guard
from gate.capture.stream import StreamSource
from gate.clock import SystemClock
from gate.errors import CaptureError
from tests.capture.rtsp_camera import Conduct, Ending, encode, grey_steps, serving

THREADS_OF_THIS_PROCESS = Path("/proc/self/task")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nobody holds any more is freed; circles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_closing_an_idle_resource_releases_it_once() -> None:
    released: list[int] = []
    guard = Guard(lambda: released.append(1))

    guard.close()
    guard.close()

    assert released == [1]
    with guard.use() as usable:
        assert not usable


def test_a_resource_in_use_is_released_by_its_user() -> None:
    released: list[str] = []
    guard = Guard(lambda: released.append(threading.current_thread().name))
    closer = threading.Thread(target=guard.close, name="closer")

    with guard.use() as usable:
        closer.start()
        closer.join(10)
        assert usable
        assert not closer.is_alive()
        assert released == []

    assert released == [threading.current_thread().name]


def test_a_user_that_fails_releases_too() -> None:
    released: list[int] = []
    guard = Guard(lambda: released.append(1))

    def use() -> None:
        with guard.use():
            guard.close()
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 -- an error without a text
        use()

    assert released == [1]


def test_closers_and_users_in_a_race_release_exactly_once() -> None:
    for _ in range(30):
        state = {"inside": 0, "released": 0, "overlaps": 0}

        def release(state: dict[str, int] = state) -> None:
            state["released"] += 1
            state["overlaps"] += state["inside"]

        guard = Guard(release)

        def use(guard: Guard = guard, state: dict[str, int] = state) -> None:
            usable = True
            while usable:
                with guard.use() as usable:
                    state["inside"] = 1
                    state["inside"] = 0

        threads = [threading.Thread(target=use), threading.Thread(target=guard.close)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert state == {"inside": 0, "released": 1, "overlaps": 0}


def test_an_owner_that_was_closed_is_freed_at_once(no_collector: None) -> None:
    class Owner:
        def __init__(self) -> None:
            self.guard = Guard(self.free)

        def free(self) -> None:
            pass

    owner = Owner()
    watch = weakref.ref(owner)
    owner.guard.close()
    assert watch() is not None
    del owner
    assert watch() is None


@pytest.mark.skipif(not THREADS_OF_THIS_PROCESS.is_dir(), reason="threads of FFmpeg are counted through /proc")
@pytest.mark.parametrize("ending", [Ending.SILENCE, Ending.CLOSE])
def test_a_stream_that_is_lost_again_and_again_leaves_no_decoder_thread_behind(
    ending: Ending, no_collector: None
) -> None:
    def lose(port: int) -> None:
        source = StreamSource(f"rtsp://127.0.0.1:{port}/live", clock=SystemClock(), read_timeout_s=0.2)
        with closing(source), contextlib.suppress(CaptureError):
            source.open()
            while True:
                source.read()

    def threads_after(rounds: int, port: int) -> int:
        for _ in range(rounds):
            lose(port)
        return len(list(THREADS_OF_THIS_PROCESS.iterdir()))

    with serving(Conduct(encode(grey_steps(3), fps=50), pictures=15, ending=ending)) as camera:
        after_one = threads_after(1, camera.port)
        assert threads_after(8, camera.port) < after_one + 8


@pytest.mark.skipif(not THREADS_OF_THIS_PROCESS.is_dir(), reason="threads of FFmpeg are counted through /proc")
def test_a_file_that_is_opened_again_and_again_leaves_no_decoder_thread_behind(clip: Path, no_collector: None) -> None:
    def threads_after(rounds: int) -> int:
        for _ in range(rounds):
            source = FileSource(clip, clock=SystemClock(), stop=threading.Event())
            source.open()
            assert source.read() is not None
            source.close()
            del source
        return len(list(THREADS_OF_THIS_PROCESS.iterdir()))

    after_one = threads_after(1)
    # A source has three; the last one's may still be on their way out.
    assert threads_after(10) < after_one + 10
