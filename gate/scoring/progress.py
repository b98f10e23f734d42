"""How far a run is, on standard error: a bar for a person, a line now and then for a log."""

from collections.abc import Callable
from typing import Protocol, TextIO

from gate.clock import Clock, SystemClock

_LOG_EVERY_S = 10.0
_BAR_EVERY_S = 0.2


class Progress(Protocol):
    """Shows how far a run is."""

    def update(self, done: int, skipped: int, failed: int, expected: int | None) -> None:
        """Tell the state; cheap enough to call for every image.

        Args:
            done: images that are finished with, skipped and failed ones included.
            skipped: those of them that an earlier run had scored.
            failed: those of them without a score.
            expected: how many there are in all, as well as is known.
        """
        ...

    def close(self) -> None:
        """Clear the bar away."""
        ...


class LogProgress:
    """A line every ten seconds."""

    def __init__(self, write: Callable[[str], object], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._began_s = self._told_s = clock.monotonic_s()

    def update(self, done: int, skipped: int, failed: int, expected: int | None) -> None:
        """See `Progress.update`."""
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= _LOG_EVERY_S:
            self._told_s = now_s
            self._write(f"gate: {told(done, skipped, failed, expected, now_s - self._began_s)}\n")

    def close(self) -> None:
        """Nothing to clear."""


class BarProgress:
    """A bar that redraws itself."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._clock = clock
        self._began_s = self._told_s = clock.monotonic_s()
        columns = (BarColumn(), TextColumn("{task.description}"))
        self._bars = Progress(*columns, console=Console(file=stream), transient=True, auto_refresh=False)
        self._task = self._bars.add_task("starting", total=None)
        self._bars.start()

    def update(self, done: int, skipped: int, failed: int, expected: int | None) -> None:
        """See `Progress.update`."""
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= _BAR_EVERY_S:
            self._told_s = now_s
            text = told(done, skipped, failed, expected, now_s - self._began_s)
            self._bars.update(self._task, completed=done, total=expected, description=text)
            self._bars.refresh()

    def close(self) -> None:
        """See `Progress.close`."""
        self._bars.stop()


def open_progress(stream: TextIO, clock: Clock | None = None) -> Progress:
    """A bar where `stream` is a terminal, else lines."""
    clock = clock or SystemClock()
    if stream.isatty():
        return BarProgress(stream, clock)
    return LogProgress(stream.write, clock)


def told(done: int, skipped: int, failed: int, expected: int | None, elapsed_s: float) -> str:
    """The state in words; rate and time left count what this run has done itself.

    >>> told(3200, 0, 0, 12000, 10.0)
    '3,200 of 12,000 images, 320/s, 0:28 left'
    >>> told(5, 4, 1, None, 2.0)
    '5 images, 1 failed, 0.5/s'
    """
    rate = (done - skipped) / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{done:,} images" if expected is None else f"{done:,} of {max(done, expected):,} images"]
    if failed:
        parts.append(f"{failed:,} failed")
    parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
    if expected is not None and rate > 0:
        minutes, seconds = divmod(round(max(0, expected - done) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02d}:{seconds:02d} left" if hours else f"{minutes}:{seconds:02d} left")
    return ", ".join(parts)
