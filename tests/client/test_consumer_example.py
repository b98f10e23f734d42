"""The example does what the documentation says."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gate.publish.event import FaceEvent

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "consumer.py"


def test_the_example_prints_every_face_that_comes(server: Any, make_face: Callable[..., FaceEvent]) -> None:
    process = subprocess.Popen([sys.executable, str(EXAMPLE), server.url], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            deadline_s = time.monotonic() + 10
            while server.command("EXISTS", "facegate:faces") == 0 and time.monotonic() < deadline_s:
                time.sleep(0.02)
            server.add(make_face(1), make_face(2))
            assert process.stdout is not None
            lines = [process.stdout.readline().split() for _ in range(2)]
        finally:
            process.terminate()
    assert [line[1] for line in lines] == [make_face(1).event_id, make_face(2).event_id]
    assert all(line[0] == "door" and line[-3:] == ["(112,", "112,", "3)"] for line in lines)
