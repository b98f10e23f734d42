"""The systemd unit against the gate it starts."""

import shutil
import sys
from pathlib import Path

import pytest

from gate.cli import build_parser
from gate.config import load_config
from gate.daemon import DRAIN_TIMEOUT_S
from tests.docker.conftest import DOCKER, password_files, run_or_skip

UNIT = DOCKER / "systemd" / "gate.service"


def settings(file: Path) -> dict[str, list[str]]:
    lines = [line.partition("=") for line in file.read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[str]] = {}
    for key, sign, value in lines:
        if sign and not key.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


GIVEN = settings(UNIT)


def test_the_unit_is_told_when_the_gate_runs_and_watches_it() -> None:
    assert GIVEN["Type"] == ["notify"]
    assert GIVEN["WatchdogSec"] == ["60s"]
    assert GIVEN["ExecReload"] == ["kill -HUP $MAINPID"]
    program, *arguments = GIVEN["ExecStart"][0].split()
    assert Path(program).name == "gate"
    assert build_parser().parse_args(arguments).config == Path("/etc/gate/gate.yaml")


def test_a_stopping_gate_is_given_the_time_that_it_takes_to_deliver() -> None:
    assert GIVEN["KillMode"] == ["mixed"]
    (stop,) = GIVEN["TimeoutStopSec"]
    assert int(stop.removesuffix("s")) >= 2 * DRAIN_TIMEOUT_S


def test_every_password_file_is_a_credential_of_the_unit() -> None:
    names = [credential.partition(":")[0] for credential in GIVEN["LoadCredential"]]
    config = load_config(DOCKER / "systemd" / "gate.yaml")
    assert password_files(config) == {f"/run/credentials/{UNIT.name}/{name}" for name in names}


def test_weights_lie_in_a_folder_that_the_service_may_write() -> None:
    (environment,) = GIVEN["Environment"]
    variables = dict(pair.split("=", 1) for pair in environment.split())
    assert variables["GATE_WEIGHTS"].startswith(f"%S/{GIVEN['StateDirectory'][0]}/")
    assert variables["XDG_CACHE_HOME"] == f"%C/{GIVEN['CacheDirectory'][0]}"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine."""
    program = GIVEN["ExecStart"][0].split()[0]
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(program, sys.executable))
    return unit


@pytest.mark.parametrize("drop_in", [None, "gpu.conf", "webcam.conf"])
def test_systemd_understands_every_line(installed: Path, drop_in: str | None) -> None:
    if drop_in is not None:
        folder = installed.parent / f"{UNIT.name}.d"
        folder.mkdir()
        shutil.copy(UNIT.parent / drop_in, folder)
    done = run_or_skip(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", installed])
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_the_service_well_shut_in() -> None:
    # From 0 to 100: 14 with systemd 252. It reaches the network and uses CPU features of its own; the rest is shut.
    done = run_or_skip(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", UNIT])
    assert done.returncode == 0, done.stdout + done.stderr
