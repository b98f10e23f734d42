"""Every fault once, with real servers; see docs/reliability.md for the long run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability.scenario import Row, Scenario, Seen
from benchmarks.reliability.table import markdown
from tests.conftest import REPOSITORY


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed; see scripts/servers.sh"
)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="what a process needs is read from /proc")
def test_no_fault_loses_an_event_doubles_one_or_holds_a_camera() -> None:
    command = [sys.executable, "-m", "benchmarks.reliability", "--quick"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_a_row_with_a_problem_shows_it_and_is_not_as_expected() -> None:
    seen = Seen(events_in=3, events_out=2)
    seen.expect(False, "1 accepted event(s) never reached the consumer")
    row = Row(Scenario("redis", "cut", "nothing is lost", lambda _: seen), seen, 1.0)
    assert not row.ok
    assert "| FAILED: **1 accepted event(s) never reached the consumer** | 3 | 2 |" in markdown([row])
