"""The Dockerfile against the code it ships."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gate.cli import build_parser
from gate.clock import Clock
from gate.config import DetectorConfig, HttpConfig, SpoolConfig
from gate.delivery import spool_folder
from gate.observe.access import Access
from gate.observe.health import Health
from gate.observe.http import HttpServer
from gate.observe.observer import Observer
from gate.observe.routes import build_routes
from gate.weights.table import load_table
from gate.weights.zoo import default_folder
from tests.conftest import REPOSITORY, FakeClock
from tests.docker.conftest import DOCKER, SCRATCH, Dockerfile, run_or_skip


def test_hadolint_finds_nothing() -> None:
    done = run_or_skip(["hadolint", DOCKER / "Dockerfile"])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_slim_image_is_what_a_build_without_a_target_gives_and_both_share_one_runtime(
    dockerfile: Dockerfile,
) -> None:
    assert list(dockerfile.stages)[-1] == "cpu"
    for target in ("cpu", "cuda"):
        assert dockerfile.values(target, "FROM") == [f"runtime AS {target}"]
        assert dockerfile.values(target, "COPY") == [f"--from=build-{target} /opt/gate /opt/gate"]
    assert "compute" in dockerfile.environment("cuda")["NVIDIA_DRIVER_CAPABILITIES"]


def test_the_image_runs_the_gate_as_nobody_in_particular(dockerfile: Dockerfile) -> None:
    (user,) = dockerfile.values("runtime", "USER")
    # A number: Kubernetes cannot tell of a name whether it is root.
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    command = [*dockerfile.json("runtime", "ENTRYPOINT"), *dockerfile.json("runtime", "CMD")]
    assert command[0] == "gate"
    assert build_parser().parse_args(command[1:]).config == Path("/etc/gate/gate.yaml")


def test_weights_lie_on_a_volume_the_code_looks_into(dockerfile: Dockerfile, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dockerfile.environment("runtime")
    monkeypatch.setenv("GATE_WEIGHTS", environment["GATE_WEIGHTS"])
    assert str(default_folder()) in dockerfile.json("runtime", "VOLUME")
    assert any(words.endswith(f"/weights {default_folder()}") for words in dockerfile.values("runtime", "COPY"))


def test_the_spool_lies_on_a_volume(dockerfile: Dockerfile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", dockerfile.environment("runtime")["STATE_DIRECTORY"])
    assert str(spool_folder(SpoolConfig())) in dockerfile.json("runtime", "VOLUME")


def test_what_libraries_cache_goes_where_a_read_only_container_can_write(dockerfile: Dockerfile) -> None:
    environment = dockerfile.environment("runtime")
    assert environment["XDG_CACHE_HOME"].startswith(f"{SCRATCH}/")
    assert environment["MPLCONFIGDIR"].startswith(f"{SCRATCH}/")


def test_the_weights_in_the_image_may_be_passed_on(dockerfile: Dockerfile) -> None:
    (default,) = dockerfile.values("weights", "ARG")
    names = default.partition("=")[2].strip('"').split()
    table = load_table()
    assert DetectorConfig().name in names
    assert [name for name in names if name not in table or not table[name].commercial] == []


def test_what_the_image_copies_is_part_of_the_build_context(dockerfile: Dockerfile) -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split("\n")
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {
        source
        for stage in dockerfile.stages
        for words in dockerfile.values(stage, "COPY")
        if not words.startswith("--from")
        for source in words.split()[:-1]
    }
    assert copied == kept
    assert [source for source in copied if not (REPOSITORY / source).exists()] == []


@contextmanager
def served(health: Health, clock: Clock) -> Iterator[int]:
    server = HttpServer("127.0.0.1", 0, build_routes(Observer(clock, health=health), Access(clock)))
    server.start()
    try:
        yield server.address[1]
    finally:
        server.close()


def test_the_health_check_asks_the_gate_whether_it_is_alive(dockerfile: Dockerfile, fake_clock: FakeClock) -> None:
    (words,) = dockerfile.values("runtime", "HEALTHCHECK")
    (code,) = re.findall(r'"-c", "(.*)"\]', words)
    assert f"'127.0.0.1', {HttpConfig().port}" in code
    assert dockerfile.values("runtime", "EXPOSE") == [str(HttpConfig().port)]

    def check(port: int) -> int:
        command = [sys.executable, "-c", code.replace(str(HttpConfig().port), str(port))]
        # A proxy of the machine is not asked the way to the container itself.
        environment = {"http_proxy": "http://127.0.0.1:9"}
        return subprocess.run(command, stderr=subprocess.DEVNULL, env=environment, check=False).returncode

    health = Health(fake_clock)
    health.beat("engine")
    with served(health, fake_clock) as port:
        assert check(port) == 0
        fake_clock.advance(31)
        assert check(port) == 1
    assert check(port) == 1
