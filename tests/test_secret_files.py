"""Secrets that systemd or Docker hand over are found by their names."""

from pathlib import Path

import pytest

from gate.capture.address import read_password
from gate.config import CameraConfig
from gate.errors import CaptureError
from gate.secret_files import read_secret, secret_path, version_of


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_bare_name_is_a_systemd_credential_then_a_docker_secret_then_a_file_here(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker, name = tmp_path / "secrets", Path("door")
    docker.mkdir()
    monkeypatch.chdir(tmp_path)

    assert secret_path(name, docker=docker) == name
    (docker / name).write_text("from docker")
    assert secret_path(name, docker=docker) == docker / name
    (credentials / name).write_text("from systemd")
    assert secret_path(name, docker=docker) == credentials / name
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert secret_path(name, docker=docker) == docker / name


@pytest.mark.parametrize("path", ["secrets/door", "/run/secrets/door"])
def test_a_path_is_taken_as_it_stands(credentials: Path, path: str) -> None:
    (credentials / "door").write_text("another")

    assert secret_path(Path(path)) == Path(path)


def test_a_cameras_password_comes_from_its_credential(credentials: Path) -> None:
    (credentials / "door").write_text("p@ss:w/o%rd?#ü\n")
    config = CameraConfig.model_validate({"name": "door", "host": "door.lan", "password_file": "door"})

    assert read_password(config) == read_secret(Path("door")) == "p@ss:w/o%rd?#ü"
    with pytest.raises(CaptureError, match="password file another"):
        read_password(config.model_copy(update={"password_file": Path("another")}))


def test_a_configured_password_needs_no_file() -> None:
    config = CameraConfig.model_validate({"name": "door", "host": "door.lan", "password": "a b@c"})

    assert read_password(config) == "a b@c"


def test_a_rewritten_secret_has_another_version(credentials: Path) -> None:
    assert version_of(Path("door")) is None
    (credentials / "door").write_text("old")
    old = version_of(Path("door"))
    (credentials / "door").write_text("newer")

    assert old is not None
    assert version_of(Path("door")) != old
