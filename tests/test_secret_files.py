"""Secrets that systemd or Docker hand over are found by their names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.capture.address import read_password
from gate.cli import main
from gate.clock import SystemClock
from gate.config import CameraConfig, GateConfig, build_config
from gate.delivery import build_backlog, build_sink, read_redis_password
from gate.errors import CaptureError, ConfigError, GateError
from gate.observe.access import Access
from gate.observe.request import Request
from gate.publish.connect import open_client
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import VisitEndEvent
from gate.secret_files import read_secret, secret_path, version_of


class Silent:
    """Nobody who is told how a backlog does."""

    def dropped(self, reason: str, n: int) -> None:
        """See `BacklogObserver`."""

    def spool_failed(self, cause: str, message: str) -> None:
        """See `BacklogObserver`."""

    def spool_kept(self) -> None:
        """See `BacklogObserver`."""


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


def config_of(**sections: Any) -> GateConfig:
    return build_config({"cameras": [{"name": "door", "url": "virtual:"}], **sections})


@pytest.fixture
def guarded(credentials: Path) -> Iterator[str]:
    """A Redis that asks for a password, which the credential `redis` holds; its URL."""
    (credentials / "redis").write_text("p@ss:w/o%rd\r\n")
    with EmbeddedRedis(tcp_port=0) as server:
        open_client(server.url).execute_command("CONFIG", "SET", "requirepass", "p@ss:w/o%rd")
        assert server.tcp_url is not None
        yield server.tcp_url


@pytest.mark.slow
def test_redis_lets_in_a_gate_whose_password_is_a_credential(guarded: str, credentials: Path) -> None:
    sink = build_sink(config_of(redis={"url": guarded, "password_file": "redis"}), guarded, SystemClock())
    assert sink.check().startswith("Redis ")
    sink.close()
    (credentials / "redis").write_text("another\n")
    refused = build_sink(config_of(redis={"url": guarded, "password_file": "redis"}), guarded, SystemClock())
    with pytest.raises(GateError, match="wrong or missing user or password"):
        refused.check()
    refused.close()


@pytest.mark.slow
def test_tail_takes_its_password_from_a_credential(guarded: str, capsys: pytest.CaptureFixture[str]) -> None:
    ulid = "01JD0000000000000000000000"
    end = VisitEndEvent(
        event_id=ulid, camera="door", visit=ulid, first_ms=1, last_ms=2, faces=9, accepted=2, published=1,
        reasons_counts={},
    )  # fmt: skip
    sink = build_sink(config_of(redis={"url": guarded, "password_file": "redis"}), guarded, SystemClock())
    sink.send([end])
    sink.close()

    assert main(["tail", "--redis", guarded, "--password-file", "redis", "--from-start", "--count", "1"]) == 0
    assert "door" in capsys.readouterr().out


def test_a_missing_secret_of_redis_is_told_by_its_key_and_name(credentials: Path) -> None:
    section = config_of(redis={"password_file": "nobody", "sentinel_password_file": "sentinels"}).redis
    with pytest.raises(ConfigError, match=r"redis\.password_file nobody: No such file"):
        read_redis_password(section)
    (credentials / "nobody").write_text("s3cret")
    assert read_redis_password(section) == "s3cret"
    config = config_of(redis={"url": "redis+sentinel://127.0.0.1:1/doors", "sentinel_password_file": "sentinels"})
    with pytest.raises(ConfigError, match=r"redis\.sentinel_password_file sentinels: No such file"):
        build_sink(config, config.redis.address, SystemClock())
    (credentials / "sentinels").write_text("s3cret")
    build_sink(config, config.redis.address, SystemClock()).close()


def test_the_spools_key_is_a_credential(credentials: Path, tmp_path: Path) -> None:
    config = config_of(spool={"dir": str(tmp_path / "spool"), "key_file": "spool"})
    with pytest.raises(ConfigError, match=r"spool\.key_file spool: No such file"):
        build_backlog(config, SystemClock(), Silent())
    (credentials / "spool").write_text("ab" * 32 + "\n")
    build_backlog(config, SystemClock(), Silent()).close(1)


def test_the_pages_token_is_a_credential(credentials: Path) -> None:
    (credentials / "page").write_text("0123456789abcdef\n")
    asked = Request("GET", "/", "", {"authorization": "Bearer 0123456789abcdef"})
    assert Access(SystemClock(), Path("page")).allows(asked)
