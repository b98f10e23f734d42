"""Damaged inputs of every kind for some seconds; see docs/reliability.md for the millions."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

KINDS = 7


@pytest.mark.slow
def test_no_damaged_input_of_any_kind_crashes_hangs_or_runs_code(tmp_path: Path) -> None:
    failure = tmp_path / "failure"
    command = [sys.executable, "scripts/fuzz.py", "--seconds", "14", "--failure", str(failure)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert not failure.exists()
    counts = [int(number.replace(",", "")) for number in re.findall(r": ([\d,]+) inputs", done.stdout)]
    assert len(counts) == KINDS
    assert min(counts) > 0


def test_a_kind_that_is_not_there_is_told() -> None:
    command = [sys.executable, "scripts/fuzz.py", "--only", "nothing like it"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 2
    assert "no kind has 'nothing like it'" in done.stderr
