"""What a run says on standard error while it works: phases, a bar with rate and time left, lines in between."""

from typing import TextIO

from gate.clock import Clock
from gate.scoring.progress import Progress, open_progress


class Telling:
    """One phase after the other; counts are of images."""

    def __init__(self, stream: TextIO, clock: Clock | None = None) -> None:
        self._stream = stream
        self._clock = clock
        self._bar: Progress | None = None
        self._before = self._done = 0

    def begin(self, what: str, done: int = 0) -> None:
        """A phase begins, `done` of whose images an earlier run has finished."""
        self.say(what)
        self._before = self._done = done

    def update(self, done: int, total: int) -> None:
        """So many images are done."""
        if self._bar is None:
            self._bar = open_progress(self._stream, self._clock)
        self._done = done
        self._bar.update(done, self._before, 0, total)

    def say(self, text: str) -> None:
        """One line; a bar makes way for it."""
        self.close()
        self._stream.write(f"gate: {text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Clear the bar away; the next one tells the rate from here on."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._before = self._done
