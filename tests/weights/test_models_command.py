"""`gate models`: what it prints, and the exit codes that scripts rely on."""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gate.commands import models
from gate.weights.zoo import Zoo


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="gate")
    models.add_arguments(parser.add_subparsers(required=True))
    args = parser.parse_args(["models", *arguments])
    code = args.run(args)
    assert isinstance(code, int)
    return code


@pytest.fixture
def folder(tmp_path: Path, shared_data: Path) -> Path:
    (tmp_path / "yunet_2023mar.onnx").write_bytes((shared_data / "weights" / "yunet_2023mar.onnx").read_bytes())
    return tmp_path


def test_list_says_what_is_here_and_marks_non_commercial_licences(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--folder", str(folder)) == 0
    rows = {line.split("\t")[0]: line.split("\t") for line in capsys.readouterr().out.splitlines()}
    assert list(rows) == [entry.name for entry in Zoo(folder).entries()]
    assert rows["yunet"][1:5] == ["detector", "yes", "0.2 MB", "MIT"]
    assert rows["facexzoo-mobilefacenet"][2:5] == ["no", "4.9 MB", "Apache-2.0"]
    assert rows["ediffiqa-l"][2] == "your file"
    for name in ("scrfd-500m", "w600k-mbf", "buffalo_l", "crfiqa-l"):
        assert "non-commercial" in rows[name][4], name
    assert "\x1b" not in "".join(rows["yunet"])


def test_list_as_json_is_one_document_with_paths_and_checksums(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--json", "--folder", str(folder)) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in document["models"]}
    assert document["folder"] == str(folder)
    assert rows["yunet"]["state"] == "here"
    assert rows["yunet"]["sha256"] == hashlib.sha256(Path(rows["yunet"]["path"]).read_bytes()).hexdigest()
    assert rows["scrfd-500m"]["commercial"] is False


def test_verify_tells_good_from_damaged_and_fails_for_the_latter(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", "--folder", str(folder)) == 0
    assert capsys.readouterr().out.startswith("yunet: ok")
    path = folder / "yunet_2023mar.onnx"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert run("verify", "--folder", str(folder)) == 1
    assert "damaged or another file" in capsys.readouterr().err


def test_verify_fails_for_a_named_file_that_is_missing_but_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", "w600k-mbf", "yunet", "--folder", str(folder)) == 1
    printed = capsys.readouterr()
    assert "w600k-mbf is not here" in printed.err
    assert "yunet: ok" in printed.out


def test_verify_of_an_empty_folder_checks_what_ships(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--folder", str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ok ")[0] for line in lines] == ["facegate-t", "facegate-t-onnx"]


def test_pull_prints_the_path_and_reports_each_name_that_failed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pull", "yunet", "--folder", str(folder)) == 0
    assert capsys.readouterr().out == f"yunet: {folder / 'yunet_2023mar.onnx'}\n"
    assert run("pull", "yunte", "diffiqa", "yunet", "--folder", str(folder)) == 1
    printed = capsys.readouterr()
    assert "did you mean 'yunet'" in printed.err
    assert "give its path" in printed.err
    assert printed.out.startswith("yunet: ")


def test_a_person_at_a_terminal_gets_a_table(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    assert run("list", "--folder", str(folder)) == 0
    out = capsys.readouterr().out
    assert "weights licence" in out
    assert "facexzoo-mobilefacenet" in out
    assert f"kept in {folder}" in out


def test_the_parser_is_built_without_heavy_imports() -> None:
    code = (
        "import argparse, sys; from gate.commands import models; "
        "models.add_arguments(argparse.ArgumentParser().add_subparsers()); "
        "print([m for m in ('torch', 'numpy', 'rich', 'cv2', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
