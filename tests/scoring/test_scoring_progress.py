"""How far a run is: a bar for a person, a line now and then for a log."""

import io
from dataclasses import dataclass

from gate.scoring.progress import open_progress, told


@dataclass
class HandClock:
    now_s: float = 5.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        return 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_ten_seconds_and_no_more() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = open_progress(stream, clock)
    for second in range(26):
        clock.now_s = 5.0 + second
        progress.update(second * 100, 0, 0, 5000)
    progress.close()
    assert stream.getvalue().splitlines() == [
        "gate: 1,000 of 5,000 images, 100/s, 0:40 left",
        "gate: 2,000 of 5,000 images, 100/s, 0:30 left",
    ]


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    stream, clock = Terminal(), HandClock()
    progress = open_progress(stream, clock)
    clock.now_s += 4
    progress.update(400, 0, 2, 1000)
    progress.close()
    assert "400 of 1,000 images, 2 failed, 100/s, 0:06 left" in stream.getvalue()


def test_what_an_earlier_run_did_is_not_this_runs_rate() -> None:
    assert told(1000, 900, 0, 2000, 10.0) == "1,000 of 2,000 images, 10/s, 1:40 left"


def test_hours_are_told_and_an_estimate_is_never_below_what_is_done() -> None:
    assert told(10, 0, 0, 100_000, 10.0).endswith("27:46:30 left")
    assert told(10, 0, 0, 8, 1.0) == "10 of 10 images, 10/s, 0:00 left"


def test_nothing_done_yet_has_no_time_left() -> None:
    assert told(0, 0, 0, 10, 0.0) == "0 of 10 images, 0.0/s"
