"""The example recognizer names who comes: a real gate on the virtual camera, a real Redis, a network of the zoo."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from gate.capture.scene_people import PEOPLE
from gate.client.lag import LagProbe
from gate.faces.align import align
from gate.publish.connect import open_client
from gate.publish.event import as_json, decode
from gate.weights.zoo import Zoo
from tests.client.conftest import wait_until
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

EXAMPLE = REPOSITORY / "examples" / "recognizer.py"


def enrol(folder: Path, portraits: dict[str, Any], *names: str) -> None:
    """The crops of known people, as they would be saved from an enrolment desk."""
    folder.mkdir()
    for person in PEOPLE:
        if person.person_id in names:
            crop = align(portraits[person.person_id], np.array([person.landmarks], np.float32))[0]
            Image.fromarray(crop).save(folder / f"{person.person_id}.jpg", quality=95)


def caught_up(url: str) -> bool:
    probe = LagProbe(open_client(url), url, streams=["facegate:faces"], group="recognizers")
    (lag,) = probe.measure()
    probe.close()
    return lag.waiting == 0 and lag.pending == 0


def test_the_recognizer_names_whom_it_knows_and_numbers_the_others(
    server: Any, portraits: dict[str, Any], tmp_path: Path
) -> None:
    for weights in ("facexzoo-mobilefacenet", "yunet"):
        Zoo().ensure(weights)
    enrol(tmp_path / "known", portraits, "astronaut", "grace_hopper")
    command = [sys.executable, str(EXAMPLE), server.url, str(tmp_path / "known")]
    with (tmp_path / "said").open("w+") as said, subprocess.Popen(command, stdout=said, text=True) as recognizer:
        try:
            wait_until(lambda: server.command("EXISTS", "facegate:faces") == 1)
            camera = ["--source", "virtual:?seconds=24&fps=4", "--fast", "--until-eof", "--port", "0"]
            gate = [sys.executable, "-m", "gate", "run", *camera, "--redis", server.url]
            subprocess.run(gate, check=True, timeout=300, capture_output=True)
            wait_until(lambda: caught_up(server.url))
        finally:
            recognizer.terminate()
        said.seek(0)
        lines = [line.split() for line in said]

    schema = json.loads((REPOSITORY / "docs" / "event.schema.json").read_text(encoding="utf-8"))
    for _, fields in server.command("XRANGE", "facegate:faces", "-", "+"):
        jsonschema.validate(as_json(decode(fields)), schema)
    names_by_visit = defaultdict(set)
    for camera_name, visit, name, _ in lines:
        assert camera_name == "cam1"
        names_by_visit[visit].add(name)
    assert len(names_by_visit) >= 3
    assert all(len(names) == 1 for names in names_by_visit.values())
    seen = set().union(*names_by_visit.values())
    assert {"astronaut", "grace_hopper"} & seen
    assert "visitor-3" in seen
