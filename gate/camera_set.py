"""The cameras of a running gate: their threads, what they report, and how one joins or leaves while others go on."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gate.assembly import build_camera_thread
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread
from gate.clock import Clock
from gate.config import CameraConfig
from gate.observe.reports import CaptureReport

JOIN_TIMEOUT_S = 2.0
"""How long a stopping gate waits for its camera threads together; one that hangs in the network is left behind."""


class CameraSet:
    """Starts, stops and watches camera threads. Used by one thread at a time: the starting one, then the engine's.

    Args:
        board: Where the cameras leave their frames.
        clock: Time.
        report: Is told what the cameras that belong to the set report.
    """

    def __init__(self, board: SlotBoard, clock: Clock, report: CaptureReport) -> None:
        self._board = board
        self._clock = clock
        self._report = report
        self._lines: dict[str, Line] = {}
        self._leaving: list[Line] = []

    def start(self, cameras: Iterable[CameraConfig]) -> "list[Line]":
        """Start a thread for each camera, which does nothing until it is admitted. Raises when one cannot start."""
        started: list[Line] = []
        try:
            for camera in cameras:
                line = self._line_of(camera)
                line.thread.start()
                started.append(line)
        except BaseException:
            for line in started:
                line.stop()
            self._leaving += started
            raise
        return started

    def admit(self, started: "Iterable[Line]") -> None:
        """Let cameras that were started deliver."""
        for line in started:
            self._lines[line.name] = line
            line.may_begin.set()

    def remove(self, name: str) -> None:
        """Stop a camera; from now on no frame and no report of it arrives. Its thread ends when its read does."""
        line = self._lines.pop(name)
        line.stop()
        # Behind `stop`: the board takes nothing of a stopped camera, so the slot stays free for one of the same name.
        if self._board.remove(name):
            self._report.dropped(name, 1)
        self._leaving = [*(other for other in self._leaving if other.thread.is_alive), line]

    def over(self, *, unreadable_too: bool) -> list[str]:
        """Files that have ended, and if asked those that cannot be read, each only once, by name."""
        found = [
            line
            for line in self._lines.values()
            if not line.over and (line.thread.ended or (unreadable_too and line.reports.unreadable))
        ]
        for line in found:
            line.over = True
        return sorted(line.name for line in found)

    def all_over(self) -> bool:
        """Whether `over` has named every camera."""
        return all(line.over for line in self._lines.values())

    def not_read(self) -> list[str]:
        """Cameras that gave no picture, or could not be opened, by name."""
        lines = self._lines.values()
        return sorted(line.name for line in lines if line.reports.unreadable or not line.reports.seen)

    def leave(self) -> None:
        """Stop every camera, wait a little for their threads, and count what they leave on the board."""
        lines = [*self._leaving, *self._lines.values()]
        for line in lines:
            line.thread.stop()
            line.may_begin.set()
        deadline_s = self._clock.monotonic_s() + JOIN_TIMEOUT_S
        for line in lines:
            line.thread.join(max(0.0, deadline_s - self._clock.monotonic_s()))
        # Closed first: a camera that outlives the join must not leave a frame that nobody counts.
        self._board.close()
        for frame in self._board.take(0.0):
            self._report.dropped(frame.camera, 1)

    def _line_of(self, camera: CameraConfig) -> "Line":
        # Of one name, a camera that leaves may still hold the device or port that the next one wants.
        former = [line for line in self._former() if line.name == camera.name]
        may_begin, stop, reports = threading.Event(), threading.Event(), _Reports(self._report)

        def wait() -> None:
            may_begin.wait()
            _join(former)
            # Once: a camera that is changed again and again must not keep all its predecessors in memory.
            former.clear()

        thread = build_camera_thread(camera, self._board, self._clock, reports, stop, before_open=wait)
        return Line(camera.name, thread, reports, may_begin)

    def _former(self) -> "list[Line]":
        return [*self._leaving, *self._lines.values()]


@dataclass(slots=True, eq=False)
class Line:
    """One camera of the set."""

    name: str
    thread: CameraThread
    reports: "_Reports"
    may_begin: threading.Event
    over: bool = field(default=False)

    def stop(self) -> None:
        """Ask the thread to end, and pass on nothing more that it says."""
        self.reports.close()
        self.thread.stop()
        self.may_begin.set()


class _Reports:
    """Passes a camera's reports on until it is closed, and notes whether it gave pictures and could be opened.

    A thread that hangs in a read outlives its camera; what it says then would be taken for the word of the next
    camera of this name. Only a frame it throws away is still counted, so that the sums stay whole.
    """

    def __init__(self, report: CaptureReport) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._closed = False
        self.seen = False
        self.unreadable = False

    def close(self) -> None:
        """Pass on nothing more; no call is under way when this returns."""
        with self._lock:
            self._closed = True

    def up(self, camera: str) -> None:
        """The first picture came."""
        with self._lock:
            if not self._closed:
                self._report.up(camera)

    def lost(self, camera: str, cause: str, message: str) -> None:
        """It is away: a run to the end does not wait for it."""
        with self._lock:
            if not self._closed:
                self._report.lost(camera, cause, message)
                self.unreadable = True

    def frame(self, camera: str, captured_ms: int) -> None:
        """There is at least one picture in it."""
        with self._lock:
            if not self._closed:
                self.seen = True
                self._report.frame(camera, captured_ms)

    def dropped(self, camera: str, n: int) -> None:
        """Decoded frames that will never be looked at."""
        self._report.dropped(camera, n)

    def corrupt(self, camera: str) -> None:
        """A picture could not be decoded."""
        with self._lock:
            if not self._closed:
                self._report.corrupt(camera)

    def changed(self, camera: str, change: str, detail: str) -> None:
        """Something is different in its stream."""
        with self._lock:
            if not self._closed:
                self._report.changed(camera, change, detail)

    def ended(self, camera: str) -> None:
        """The file is over."""
        with self._lock:
            if not self._closed:
                self._report.ended(camera)


def _join(lines: Sequence[Line]) -> None:
    for line in lines:
        line.thread.join(JOIN_TIMEOUT_S / len(lines))
