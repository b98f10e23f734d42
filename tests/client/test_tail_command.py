"""`gate tail` shows events, saves crops, and ends cleanly."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.client.received import Entry, ReceivedFace
from gate.commands import tail
from gate.errors import ConfigError, PublishError
from gate.publish.event import FaceEvent, VisitEndEvent
from gate.publish.jpeg import decode_crop

Make = Callable[..., FaceEvent]


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    tail.add_arguments(parser.add_subparsers())
    return parser.parse_args(["tail", *argv])


def run(*argv: str) -> int:
    args = parse(*argv)
    return int(args.run(args))


def test_faces_and_visit_ends_are_one_readable_line_each(
    server: Any,
    make_face: Make,
    make_visit_end: Callable[..., VisitEndEvent],
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.add(make_face(3, final=True, reasons=("yaw",)), make_visit_end(4))
    assert run("--redis", server.url, "--from-start", "--count", "2") == 0
    face, end = capsys.readouterr().out.splitlines()
    for part in ("door", "#3", "final", "quality  71.5", "grafiqs", "yaw", "eyes 48 px", " ms"):
        assert part in face
    for part in ("ended", "4.5 s", "9 faces, 0 accepted, 0 published", "too_small 7, yaw 2"):
        assert part in end


def test_latency_is_from_decode_to_storage(make_face: Make) -> None:
    entry = Entry("facegate:faces", f"{make_face(0).captured_ms + 180}-0", {})
    assert "180 ms" in tail.line(ReceivedFace(make_face(0), entry))


def test_json_is_one_object_a_line_without_pictures(
    server: Any, make_face: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add(make_face(3))
    assert run("--redis", server.url, "--from-start", "--count", "1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["quality"] == 71.5
    assert shown["signals"]["inter_eye_px"] == 48.4
    assert "crop" not in shown


def test_crops_are_saved_by_camera_visit_and_number(
    server: Any, make_face: Make, make_visit_end: Callable[..., VisitEndEvent], tmp_path: Path
) -> None:
    server.add(make_face(3), make_visit_end(4))
    assert run("--redis", server.url, "--from-start", "--count", "2", "--save", str(tmp_path / "crops")) == 0
    (saved,) = (tmp_path / "crops").rglob("*.*")
    assert saved == tmp_path / "crops" / "door" / f"{make_face().visit}-003.jpg"
    assert decode_crop(saved.read_bytes()).shape == (112, 112, 3)


@pytest.mark.parametrize("camera", ["../../etc", "a/b", "..", "", "x" * 300, "nul\0"])
def test_no_name_leads_out_of_the_folder(make_face: Make, tmp_path: Path, camera: str) -> None:
    received = ReceivedFace(make_face(0, camera=camera, visit="../v"), Entry("s", "1-0", {}))
    path = tail.save(received, tmp_path / "crops")
    assert path is not None
    assert path.resolve().parent.parent == (tmp_path / "crops").resolve()


def test_a_folder_that_cannot_be_written_is_told(make_face: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ConfigError, match="--save"):
        tail.save(ReceivedFace(make_face(0), Entry("s", "1-0", {})), tmp_path / "file")


def test_a_server_that_is_not_there_is_told_at_once(server: Any) -> None:
    server.stop()
    with pytest.raises(PublishError, match="nothing listens"):
        run("--redis", server.url)


def test_the_password_comes_from_a_file(
    server: Any, make_face: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add(make_face(0))
    server.command("CONFIG", "SET", "requirepass", "hunter2")
    (tmp_path / "password").write_text("hunter2\n", encoding="utf-8")
    options = ("--redis", server.url, "--from-start", "--count", "1")
    with pytest.raises(PublishError, match="password"):
        run(*options)
    assert run(*options, "--password-file", str(tmp_path / "password")) == 0
    assert "hunter2" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--password-file"):
        run(*options, "--password-file", str(tmp_path / "missing"))


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(SystemExit):
        parse("--count", count)


def test_ctrl_c_is_a_clean_end(server: Any, make_face: Make) -> None:
    server.add(make_face(0))
    # A shell that runs the suite in the background has its children ignore Ctrl-C; a terminal does not.
    code = (
        "import argparse, signal, sys\nfrom gate.commands import tail\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "parser = argparse.ArgumentParser()\ntail.add_arguments(parser.add_subparsers())\n"
        "args = parser.parse_args(sys.argv[1:])\nsys.exit(args.run(args))\n"
    )
    options = ["tail", "--redis", server.url, "--from-start"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert "door" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors == ""
