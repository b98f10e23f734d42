"""Many cameras that keep failing leave no thread, descriptor or memory behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="what a process needs is read from /proc")
def test_sixty_four_troubled_cameras_need_no_more_at_the_end_than_in_the_middle() -> None:
    script = REPOSITORY / "scripts" / "camera_soak.py"
    command = [sys.executable, str(script), "--cameras", "64", "--seconds", "24", "--trouble", "1.5"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    # Troubled it was: silent, hung up, reset and refused.
    assert all(f"lost: {cause} " in done.stdout for cause in ("end_of_stream", "stalled", "not_found"))
