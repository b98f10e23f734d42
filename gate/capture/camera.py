"""One thread a camera: open, read, stamp, hand over, and come back when it is lost."""

import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gate.capture.backoff import Backoff
from gate.capture.board import SlotBoard
from gate.capture.causes import Cause
from gate.capture.changes import ChangeSpotter
from gate.capture.pacing import Decimator
from gate.capture.source import CorruptPictureError, FrameSource, Picture
from gate.clock import Clock
from gate.config import CameraConfig
from gate.errors import CaptureError, GateError
from gate.redact import safe_address
from gate.secret_files import version_of
from gate.types import Frame

PASSWORD_POLL_S = 5.0
"""How often a camera that waits after a wrong password looks whether its file has another one."""


class CaptureObserver(Protocol):
    """Who counts. Called from the cameras' threads; must be quick, thread-safe, and must not raise.

    Per camera, calls of `frame` = frames taken from the board + `dropped` + the one that may wait on the board.
    """

    def up(self, camera: str) -> None:
        """The first picture after opening came."""
        ...

    def lost(self, camera: str, cause: str, message: str) -> None:
        """The camera is away, for a cause of `gate.capture.causes.Cause`; the message holds no secret."""
        ...

    def frame(self, camera: str, captured_ms: int) -> None:
        """A picture was decoded at this Unix time."""
        ...

    def dropped(self, camera: str, n: int) -> None:
        """This many decoded frames will never reach the engine."""
        ...

    def corrupt(self, camera: str) -> None:
        """A picture could not be decoded; it is not a frame."""
        ...

    def changed(self, camera: str, change: str, detail: str) -> None:
        """Something is different in the stream, a `gate.capture.changes.Change`; the detail holds no secret."""
        ...

    def ended(self, camera: str) -> None:
        """The file is over; its thread ends."""
        ...


class CameraThread:
    """Keeps one camera's newest frame on the board until it is stopped or its file ends.

    Nothing ends it but `stop` and the end of a file: every failure, expected or not, is told to the observer and
    followed by a new attempt after the backoff's delay.

    Args:
        config: name, `max_fps`, `pace` and `password_file` of the camera.
        open_source: makes a new source for every attempt; it is used once.
        board: where frames go. They displace older ones, except those of a file at `pace: fast`, which wait.
        clock: stamps frames.
        observer: is told everything.
        backoff: says when to try again.
        stop: ends the thread and every wait in it; give the one that `open_source` passes to its sources.
    """

    def __init__(
        self,
        config: CameraConfig,
        open_source: Callable[[], FrameSource],
        board: SlotBoard,
        *,
        clock: Clock,
        observer: CaptureObserver,
        backoff: Backoff,
        stop: threading.Event | None = None,
    ) -> None:
        self._config = config
        self._name = config.name
        self._open_source = open_source
        self._board = board
        self._clock = clock
        self._observer = observer
        self._backoff = backoff
        self._stop = stop or threading.Event()
        self._ended = False
        self._seq = 0
        self._decimator = Decimator(config.max_fps)
        self._changes = ChangeSpotter()
        self._tried: tuple[int, int, int] | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera-{config.name}", daemon=True)

    @property
    def camera(self) -> str:
        """The camera's name."""
        return self._name

    @property
    def ended(self) -> bool:
        """True once a file was read to its end."""
        return self._ended

    @property
    def is_alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. A read that hangs in the network ends with its time-out."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; True when it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._ended = self._attempt()
            except CaptureError as error:
                self._retreat(Cause.named(error.cause), str(error))
            except GateError as error:
                self._retreat(Cause.OTHER, str(error))
            except Exception as error:  # noqa: BLE001 -- a bug in one source must not take the camera away for good
                self._retreat(Cause.OTHER, _whereabouts(self._config, error))
            if self._ended:
                self._observer.ended(self._name)
                return

    def _attempt(self) -> bool:
        """Read one source until it ends (True) or the thread is stopped (False)."""
        # Before it is read: one that is replaced during the attempt is new.
        self._tried = None if self._config.password_file is None else version_of(self._config.password_file)
        source = self._open_source()
        try:
            source.open()
            self._changes.reopened()
            up = False
            while not self._stop.is_set():
                try:
                    picture = source.read()
                except CorruptPictureError:
                    self._observer.corrupt(self._name)
                    continue
                if picture is None:
                    return True
                self._backoff.running()
                if not up:
                    up = True
                    self._observer.up(self._name)
                for change, detail in self._changes.see(picture):
                    self._observer.changed(self._name, change.value, detail)
                try:
                    self._hand_over(picture, live=source.live)
                except CorruptPictureError:
                    self._observer.corrupt(self._name)
            return False
        finally:
            source.close()

    def _hand_over(self, picture: Picture, *, live: bool) -> None:
        captured_s, captured_ms = self._clock.monotonic_s(), self._clock.unix_ms()
        # A file's own time, for at pace: fast the clock says nothing about how far apart its pictures are.
        time_s = captured_s if live or picture.pts_ms is None else picture.pts_ms / 1000
        # Only what is looked at becomes RGB: of 9.6 ms a 1080p picture decoding is 7.3, and a camera sends 25 a second.
        image = picture.image if self._decimator.keeps(time_s) else None
        seq, self._seq = self._seq, self._seq + 1
        self._observer.frame(self._name, captured_ms)
        if image is None:
            kept = False
        else:
            frame = Frame(self._name, seq, image, captured_s, captured_ms, picture.pts_ms)
            if self._config.pace == "fast":
                kept = self._board.put_wait(frame, self._stop)
            else:
                kept = not self._board.put(frame, self._stop)
        if not kept:
            self._observer.dropped(self._name, 1)

    def _retreat(self, cause: Cause, message: str) -> None:
        if self._stop.is_set():
            return  # What fails because we leave is not a lost camera.
        self._observer.lost(self._name, cause.value, message)
        delay_s = self._backoff.next_delay_s(cause)
        if cause is Cause.AUTH and self._config.password_file is not None:
            self._wait_for_password(self._config.password_file, delay_s)
        else:
            self._stop.wait(delay_s)

    def _wait_for_password(self, file: Path, longest_s: float) -> None:
        """Half an hour is long at a door whose new password has just been written down."""
        until_s, seen = self._clock.monotonic_s() + longest_s, self._tried
        while (left_s := until_s - self._clock.monotonic_s()) > 0:
            if self._stop.wait(min(left_s, PASSWORD_POLL_S)):
                return
            before, seen = seen, version_of(file)
            # Twice the same: who writes it may be in the middle, and half a password is a wrong one.
            if seen == before != self._tried:
                return


def _whereabouts(config: CameraConfig, error: Exception) -> str:
    """Class and place of an unexpected exception; its text may quote the URL."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{safe_address(config.address)}: unexpected {type(error).__name__} at {place}. Please report it."
