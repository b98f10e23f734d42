"""What docs/consuming.md tells the readers of other languages is true."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gate.cli import main
from gate.publish.embedded import redis_binary
from gate.publish.event import FaceEvent, VisitEndEvent, as_json, decode, encode
from gate.publish.jpeg import decode_crop
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "consuming.md").read_text(encoding="utf-8")
SCHEMA = json.loads((REPOSITORY / "docs" / "event.schema.json").read_text(encoding="utf-8"))
EVENTS = jsonschema.Draft202012Validator(SCHEMA)


def test_the_command_prints_the_schema_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_events_are_what_the_schema_says(
    make_face: Callable[..., FaceEvent], make_visit_end: Callable[..., VisitEndEvent]
) -> None:
    for event in (
        make_face(0, supersedes=make_face(1).event_id, frame_pts_ms=1.5, reasons=("yaw",), context=make_face().crop),
        make_face(1),
        make_visit_end(2, best_quality=3.0),
        make_visit_end(3, reasons_counts={}),
    ):
        EVENTS.validate(as_json(decode(encode(event))))
        EVENTS.validate(as_json(event, images=False))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "2"},
        {"type": "ghost"},
        {"quality": 101},
        {"box": [1, 2, 3]},
        {"camera": "../x"},
        {"final": 1},
        {"signals": {"Yaw": 1}},
        {"signals": {"yaw": "1"}},
        {"event_id": "x"},
        {"seq": -1},
    ],
    ids=str,
)
def test_what_is_no_event_is_not_what_the_schema_says(
    make_face: Callable[..., FaceEvent], change: dict[str, Any]
) -> None:
    assert not EVENTS.is_valid({**as_json(make_face(0)), **change})


def redis_cli() -> str:
    beside = Path(redis_binary()).with_name("redis-cli")
    found = str(beside) if beside.is_file() else shutil.which("redis-cli")
    if found is None:
        pytest.skip("redis-cli is not installed; scripts/servers.sh installs it where apt is")
    return found


def test_the_commands_of_the_page_do_what_it_says(
    server: Any, make_face: Callable[..., FaceEvent], tmp_path: Path
) -> None:
    server.add(make_face(200), make_face(7))
    folder = server.url.removeprefix("unix://")
    tools = tmp_path / "redis-cli"
    tools.write_text(f'#!/bin/sh\nexec "{redis_cli()}" -s "{folder}" "$@"\n', encoding="utf-8")
    tools.chmod(0o700)
    answers = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            shell = ["bash", "-c", f'PATH="{tmp_path}:$PATH"\n{line}']
            done = subprocess.run(shell, cwd=tmp_path, capture_output=True, check=True, timeout=30)
            assert not done.stdout.startswith((b"ERR", b"(error)", b"NOGROUP", b"WRONGTYPE")), line
            answers.append(done.stdout)
    newest, crop, created, read, pending, acknowledged, claimed, groups, _dead = answers
    assert make_face(7).event_id.encode() in newest
    assert crop == b""
    assert decode_crop((tmp_path / "face.jpg").read_bytes().rstrip(b"\n")).shape == (112, 112, 3)
    assert created == b"OK\n"
    assert make_face(200).event_id.encode() in read
    assert b"me" in pending
    assert acknowledged == b"1\n"
    assert claimed.startswith(b"0-0")
    assert b"shell" in groups
    assert server.pending("shell") == 0


def test_the_rights_of_the_page_are_enough_for_everything(
    server: Any, open_at: Callable[..., Any], make_face: Callable[..., FaceEvent]
) -> None:
    (rules,) = re.findall(r"ACL SETUSER recognizer on >PASSWORD (.*\n.*)\n", PAGE)
    server.command("ACL", "SETUSER", "recognizer", "on", ">secret", *rules.split())
    server.add_entry({"hello": b"world"})
    server.add(make_face(0))
    url = server.url.replace("unix://", "unix://recognizer:secret@")
    killed = open_at(url, consumer="killed", remember_s=60)
    killed.check()
    assert next(iter(killed)).event == make_face(0)
    assert killed.counts["dead"] == 1
    heir = open_at(url, remember_s=60, claim_idle_s=0.05)
    faces = iter(heir)
    assert next(faces).event == make_face(0)
    heir.stop()
    assert list(faces) == []
    assert heir.lag()[0].pending == 0


def test_the_reader_in_javascript_is_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    subprocess.run([node, "--check", str(REPOSITORY / "examples" / "reader.mjs")], check=True, timeout=60)
