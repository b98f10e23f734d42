import io

from rich.console import Console

from gate.clock import SystemClock
from gate.commands.demo_table import plain_line, table
from gate.observe.observer import Observer
from gate.reasons import Reason


def watched() -> Observer:
    observer = Observer(SystemClock())
    observer.add_camera("door")
    observer.capture.up("door")
    observer.pipeline.face("door", accepted=True, reason="", quality=61.2, method="regressor")
    observer.pipeline.face("door", accepted=False, reason=Reason.YAW, quality=None, method="")
    for _ in range(37):
        observer.pipeline.unscored("door")
    return observer


def test_the_demo_counts_faces_that_nobody_scored_beside_the_others() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table(watched().status()))
    row = next(line for line in console.export_text().splitlines() if "door (up)" in line)
    cells = [cell.strip() for cell in row.split("│")]
    assert cells[4:8] == ["1", "1: yaw 1", "37", "61"]


def test_a_log_of_the_demo_says_the_same_in_a_line() -> None:
    assert "accepted 1, rejected 1: yaw 1, not scored 37, best 61" in plain_line(watched().status())
