"""Closing what another thread may be inside of."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Guard:
    """Releases a resource once, from whichever thread may: the closer, or the user when it comes out.

    Freeing a container under FFmpeg's feet, or a device under OpenCV's, crashes the process; waiting for the reader
    would make the closer as slow as the slowest camera.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._using = threading.Lock()
        self._closing = False
        self._released = False

    @contextmanager
    def use(self) -> Iterator[bool]:
        """Hold the resource for the block; gives False when it is closed and must not be touched."""
        try:
            with self._using:
                yield not self._closing
        finally:
            # The closer that came meanwhile found the lock taken and left the work to us.
            if self._closing:
                self._release_unless_used()

    def close(self) -> None:
        """Release now, or as soon as its user comes out. Safe to call twice and from any thread."""
        self._closing = True
        self._release_unless_used()

    def _release_unless_used(self) -> None:
        if not self._using.acquire(blocking=False):
            return
        try:
            if not self._released:
                self._released = True
                # Let go of the owner: it holds this guard, and a circle with a decoder in it keeps the decoder's
                # threads until the collector comes by (8 → 38 threads in a minute of a looped file).
                release, self._release = self._release, _nothing
                release()
        finally:
            self._using.release()


def _nothing() -> None:
    """What is left to release after the release."""
