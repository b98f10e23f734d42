"""compose.yaml: that its services find one another, and are shut in."""

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from gate.capture.push import _checked, _parser
from gate.config import HttpConfig, load_config
from gate.publish.embedded import redis_binary
from tests.conftest import REPOSITORY
from tests.docker.conftest import DOCKER, EVERY_ADDRESS, SCRATCH, Dockerfile, password_files, read_yaml, run_or_skip

FILES = [DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml"]
COMPOSE: dict[str, Any] = read_yaml(FILES[0])
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def test_the_files_keep_to_the_schema_of_compose() -> None:
    done = run_or_skip(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", *FILES])
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_itself_takes_the_files() -> None:
    if shutil.which("docker") is None or run_or_skip(["docker", "compose", "version"]).returncode != 0:
        pytest.skip("docker compose is not installed")
    for files in (FILES[:1], FILES):
        options = [word for file in files for word in ("-f", str(file))]
        done = run_or_skip(["docker", "compose", *options, "config", "--quiet"])
        assert done.returncode == 0, done.stderr


@every_service
def test_every_service_is_shut_in(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["restart"] == "unless-stopped"
    ours = service["image"].startswith("facegate:")
    # Our own image has its user; the others are told one.
    assert ours or not service["user"].startswith(("0", "root"))


@every_service
def test_no_port_is_open_to_the_network(service: dict[str, Any]) -> None:
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_services_that_are_waited_for_say_when_they_are_healthy(dockerfile: Dockerfile) -> None:
    assert dockerfile.values("runtime", "HEALTHCHECK")
    assert all("healthcheck" in SERVICES[name] for name in ("redis", "prometheus", "grafana"))


def test_the_gate_finds_redis_and_the_camera_by_their_services() -> None:
    config = load_config(DOCKER / "gate.yaml")
    for address in (config.redis.address, config.cameras[0].address):
        name = urlsplit(address).hostname or ""
        assert set(SERVICES[name]["networks"]) & set(SERVICES["gate"]["networks"])


def test_the_demo_camera_pushes_to_where_the_gate_reads() -> None:
    demo = SERVICES["demo-camera"]
    assert demo["entrypoint"][1:] == ["-m", "gate.capture.push"]
    assert _checked(_parser(), demo["command"]).url == load_config(DOCKER / "gate.yaml").cameras[0].address
    paths = read_yaml(DOCKER / "mediamtx.yml")["paths"]
    assert urlsplit(demo["command"][-1]).path.strip("/") in paths


def test_the_page_listens_where_compose_publishes_it() -> None:
    http = load_config(DOCKER / "gate.yaml").http
    assert http.host == EVERY_ADDRESS
    assert SERVICES["gate"]["ports"] == [f"127.0.0.1:{HttpConfig().port}:{http.port}"]


def test_passwords_come_from_secrets_that_the_script_makes_and_git_never_sees(tmp_path: Path) -> None:
    script = shutil.copy(DOCKER / "secrets.sh", tmp_path)
    subprocess.run(["sh", script], check=True)
    made = {file.name: file for file in (tmp_path / "secrets").iterdir()}
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {f"./secrets/{name}" for name in made}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    before = {name: file.read_text() for name, file in made.items()}
    assert all(len(password) == 48 for password in before.values())
    assert len(set(before.values())) == len(before)
    subprocess.run(["sh", script], check=True)
    assert {name: file.read_text() for name, file in made.items()} == before
    given = {f"/run/secrets/{name}" for name in SERVICES["gate"]["secrets"]}
    assert password_files(load_config(DOCKER / "gate.yaml")) == given
    ignore = ["git", "check-ignore", "-q", "docker/secrets/redis_password"]
    assert subprocess.run(ignore, cwd=REPOSITORY, check=False).returncode == 0


def test_the_gate_can_write_where_its_image_has_volumes(dockerfile: Dockerfile) -> None:
    places = dict(volume.split(":")[:2] for volume in SERVICES["gate"]["volumes"])
    mounts = {places[name] for name in COMPOSE["volumes"] if name in places}
    assert mounts == set(dockerfile.json("runtime", "VOLUME"))
    assert SERVICES["gate"]["tmpfs"][0].startswith(f"{SCRATCH}:")


def bind_mounts() -> list[str]:
    found = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    return sorted(source for source in found if source.startswith("."))


@pytest.mark.parametrize("source", bind_mounts())
def test_every_file_that_is_mounted_is_there(source: str) -> None:
    path = Path(os.path.normpath(DOCKER / source))
    assert path.exists()


def test_prometheus_scrapes_the_gate_where_it_listens() -> None:
    (job,) = read_yaml(REPOSITORY / "dashboards" / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"gate:{load_config(DOCKER / 'gate.yaml').http.port}"]}]
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["gate"]["networks"])


def test_grafana_asks_prometheus_and_shows_the_folder_that_is_mounted() -> None:
    provisioning = DOCKER / "grafana" / "provisioning"
    (source,) = read_yaml(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    assert urlsplit(source["url"]).hostname in SERVICES
    (provider,) = read_yaml(provisioning / "dashboards" / "provider.yaml")["providers"]
    mounts = {volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounts


def test_the_gpu_file_builds_the_cuda_image_and_asks_for_a_gpu(dockerfile: Dockerfile) -> None:
    (service,) = read_yaml(FILES[1])["services"].values()
    assert service["build"]["target"] in dockerfile.stages
    assert SERVICES["gate"]["build"]["target"] in dockerfile.stages
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_redis_starts_with_the_password_of_its_secret_and_keeps_what_it_has(tmp_path: Path) -> None:
    password = "a pass # word"
    (tmp_path / "secret").write_text(password)
    address = tmp_path / "redis.sock"
    conf = (DOCKER / "redis.conf").read_text().replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "given.conf").write_text(f"{conf}port 0\nunixsocket {address}\n")
    script = SERVICES["redis"]["command"][2].replace("$$", "$").replace("/etc/redis/redis.conf", "given.conf")
    script = script.replace("/run/secrets/redis_password", "secret").replace(f"{SCRATCH}/redis.conf", "made.conf")
    path = f"{tmp_path}:{os.environ['PATH']}"
    (tmp_path / "redis-server").symlink_to(redis_binary())
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(["sh", "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 30
            while not address.exists() and server.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            with (
                redis.Redis(unix_socket_path=str(address)) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
            with redis.Redis(unix_socket_path=str(address), password=password) as client:
                assert client.ping()
                assert client.config_get("appendonly") == {"appendonly": "yes"}
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        finally:
            server.terminate()
    assert server.returncode == 0
    assert stat.S_IMODE((tmp_path / "made.conf").stat().st_mode) == 0o600
