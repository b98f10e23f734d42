import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import av
import numpy as np
import pytest

from gate.capture import push
from gate.capture.push_process import VirtualCameraProcess
from gate.capture.scene import Scene
from gate.types import Image

SIZE = (640, 360)
SEED = 4
LISTEN = {"rtsp_flags": "listen", "rtsp_transport": "tcp", "listen_timeout": "30", "fpsprobesize": "0"}


@pytest.fixture
def url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"rtsp://127.0.0.1:{port}/door"


def listen(url: str, frames: int) -> list[Image]:
    """Wait for a sender, take that many pictures, hang up."""
    with av.open(url, options=LISTEN, timeout=(30.0, 10.0)) as container:
        pictures: Iterator[av.VideoFrame] = container.decode(video=0)
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame, _ in zip(pictures, range(frames), strict=False)
        ]


def alike(a: Image, b: Image) -> float:
    return float(np.corrcoef(a.ravel().astype(np.float64), b.ravel().astype(np.float64))[0, 1])


def child(url: str, *more: str) -> "subprocess.Popen[bytes]":
    width, height = SIZE
    command = [sys.executable, "-m", "gate.capture.push", url, "--seed", str(SEED), "--fps", "10"]
    command += ["--width", str(width), "--height", str(height), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_what_is_rendered_arrives_over_rtsp_and_the_sender_ends_by_itself(url: str) -> None:
    sender = child(url, "--seconds", "5")
    pictures = listen(url, 1000)
    _, words = sender.communicate(timeout=20)
    assert (sender.returncode, words) == (push.EXIT_OK, b"")
    assert len(pictures) >= 20
    scene = Scene(SEED, *SIZE, 10.0)
    expected = [scene.frame(index)[0] for index in range(50)]
    # The sender may have left frames out, so the last picture is looked for among the last ones rendered.
    likeness = [alike(pictures[-1], image) for image in expected]
    assert max(likeness) > 0.98
    assert int(np.argmax(likeness)) >= 40
    assert alike(pictures[0], expected[0]) > 0.98


@pytest.mark.slow
def test_the_camera_comes_back_to_a_listener_that_hung_up(url: str) -> None:
    width, height = SIZE
    with VirtualCameraProcess(url, seed=SEED, fps=10, width=width, height=height) as camera:
        assert len(listen(url, 5)) == 5
        assert len(listen(url, 5)) == 5
        assert camera.starts >= 2
        assert "went away" in camera.last_words
        pid = camera.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert camera.pid is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_sender_cleanly_while_it_sends(url: str, number: signal.Signals) -> None:
    sender = child(url)
    with av.open(url, options=LISTEN, timeout=(30.0, 10.0)) as container:
        pictures = container.decode(video=0)
        next(pictures)
        sender.send_signal(number)
        rest = sum(1 for _ in pictures)
    _, words = sender.communicate(timeout=20)
    assert (sender.returncode, words) == (push.EXIT_OK, b"")
    assert rest < 100


@pytest.mark.slow
def test_nobody_listening_is_said_without_the_password_and_fails(url: str) -> None:
    secret = url.replace("rtsp://", "rtsp://user:s3cret@")
    sender = child(secret, "--connect-timeout-s", "0.5")
    _, words = sender.communicate(timeout=30)
    assert sender.returncode == push.EXIT_NOBODY_LISTENS
    assert b"nobody listened at rtsp://127.0.0.1:" in words
    assert b"s3cret" not in words


@pytest.mark.slow
def test_a_sender_whose_parent_is_another_process_ends(url: str) -> None:
    sender = child(url, "--parent", "999999999")
    _, words = sender.communicate(timeout=30)
    assert (sender.returncode, words) == (push.EXIT_OK, b"")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["http://127.0.0.1/door"],
        ["rtsp://h/d", "--fps", "0"],
        ["rtsp://h/d", "--seed", "-1"],
        ["rtsp://h/d", "--width", "641"],
        ["rtsp://h/d", "--height", "8000"],
    ],
)
def test_wrong_usage_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        push.main(argv)
    assert caught.value.code == push.EXIT_USAGE
    assert "error:" in capsys.readouterr().err


class SteppingStop(threading.Event):
    """Waiting passes time on the fake clock and takes none."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def wait(self, timeout: float | None = None) -> bool:
        self._advance(timeout or 0.0)
        return self.is_set()


class MovableClock:
    """As `fake_clock`, with the type a checker sees."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        return 0

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def test_frames_come_in_their_own_time_and_end_after_the_seconds() -> None:
    clock = MovableClock()
    times = [(index, clock.now_s) for index in push.due_frames(10, 1.0, clock, SteppingStop(clock.advance))]
    assert [index for index, _ in times] == list(range(10))
    assert [time_s for _, time_s in times] == pytest.approx([50 + 0.1 * i for i in range(10)])


def test_frames_that_are_late_are_left_out() -> None:
    clock = MovableClock()
    indices = []
    for index in push.due_frames(10, 1.0, clock, SteppingStop(clock.advance)):
        indices.append(index)
        clock.advance(0.26)
    assert indices == [0, 2, 5, 7]


def test_knocking_ends_after_the_time_out_and_when_stopped() -> None:
    clock = MovableClock()
    stop = SteppingStop(clock.advance)

    class Refused(push.Sender):
        knocks = 0

        def connect(self) -> None:
            self.knocks += 1
            raise av.error.ConnectionRefusedError(111, "refused")

    sender = Refused("rtsp://h/d", width=64, height=64, fps=10)
    assert not push.connect(sender, stop, clock, 1.0)
    assert sender.knocks == 6
    assert clock.now_s == pytest.approx(51.0, abs=0.21)
    stop.set()
    assert not push.connect(sender, stop, clock, 1.0)
    assert sender.knocks == 6


def test_ctrl_c_in_the_terminal_does_not_reach_the_camera_before_the_gate_has_left() -> None:
    with VirtualCameraProcess("rtsp://127.0.0.1:9/door") as camera:
        while (pid := camera.pid) is None:
            threading.Event().wait(0.001)
        assert os.getpgid(pid) == os.getsid(pid) == pid


def test_a_camera_process_may_be_stopped_without_ever_being_started() -> None:
    camera = VirtualCameraProcess("rtsp://127.0.0.1:9/door")
    camera.stop()
    assert camera.starts == 0
    assert camera.pid is None
