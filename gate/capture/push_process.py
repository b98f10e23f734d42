"""Keeps a virtual camera running beside the gate: starts its process, starts it again, ends it."""

import os
import subprocess
import sys
import threading
from types import TracebackType

from gate.clock import Clock, SystemClock

_POLITE_S = 3.0
_SHORT_LIFE_S = 10.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0


class VirtualCameraProcess:
    """`python -m gate.capture.push` as a child that is replaced when it dies.

    A camera whose listener goes away ends; the next one knocks until somebody listens again, so that a gate that
    reconnects finds it. The child also ends by itself when this process is killed.

    Args:
        url: `rtsp://host:port/path` where the gate listens.
        seed: decides who comes and what they do.
        fps: frames a second.
        width: columns of a frame, even.
        height: rows of a frame, even.
        clock: tells children that died at once from those that served a while.
    """

    def __init__(
        self,
        url: str,
        *,
        seed: int = 0,
        fps: float = 15.0,
        width: int = 1280,
        height: int = 720,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._command = [
            *(sys.executable, "-m", "gate.capture.push", url, "--parent", str(os.getpid())),
            *("--seed", str(seed), "--fps", str(fps), "--width", str(width), "--height", str(height)),
        ]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self.starts = 0
        """How many children there have been."""
        self.last_words = ""
        """What the last child that ended by itself said about it."""

    @property
    def pid(self) -> int | None:
        """Process id of the living child; None when there is none at this moment."""
        with self._lock:
            child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Start the child. It may be started once."""
        if self._keeper is not None:
            raise RuntimeError("VirtualCameraProcess was started before")
        self._keeper = threading.Thread(target=self._keep, name="virtual-camera", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """End the child: politely, after three seconds by force. Safe to call twice and without `start`."""
        self._stop.set()
        with self._lock:
            child = self._child
        if child is not None:
            child.terminate()
            try:
                child.wait(_POLITE_S)
            except subprocess.TimeoutExpired:
                # It may sit in a call of FFmpeg that waits for a listener which no longer reads.
                child.kill()
        if self._keeper is not None:
            self._keeper.join()

    def __enter__(self) -> "VirtualCameraProcess":  # noqa: PYI034 - typing.Self is not in Python 3.10
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _keep(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while (child := self._spawn()) is not None:
            born_s = self._clock.monotonic_s()
            _, words = child.communicate()
            short = self._clock.monotonic_s() - born_s < _SHORT_LIFE_S
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) if short else _FIRST_PAUSE_S
            if words:
                self.last_words = words.decode(errors="replace").strip().splitlines()[-1]
            if self._stop.wait(pause_s):
                return

    def _spawn(self) -> "subprocess.Popen[bytes] | None":
        """A new child, or None when stopped; both under the lock, so that `stop` misses no child."""
        with self._lock:
            if self._stop.is_set():
                return None
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # Ctrl-C reaches every process of the terminal's group; the gate must leave before its camera does.
                start_new_session=True,
            )
            self.starts += 1
            return self._child
