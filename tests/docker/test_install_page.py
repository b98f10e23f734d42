"""The commands of docs/install.md against what they call."""

import re
import shlex

import pytest

from gate.cli import build_parser
from tests.conftest import REPOSITORY
from tests.docker.conftest import DOCKER, Dockerfile
from tests.docker.test_compose import SERVICES

PAGE = (REPOSITORY / "docs" / "install.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
COMMANDS = [shlex.split(line, comments=True) for line in LINES]


def test_every_file_that_a_command_names_is_shipped() -> None:
    named = {word for command in COMMANDS for word in command if re.match(r"(docker/\w|constraints)", word)}
    assert {"docker/secrets.sh", "docker/compose.yaml", "docker/Dockerfile", "docker/k8s/base"} <= named
    assert [word for word in named if not (REPOSITORY / word).exists() and "secrets/" not in word] == []


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0].endswith("bin/gate")], ids=" ".join)
def test_the_gate_understands_its_commands(command: list[str]) -> None:
    build_parser().parse_args(command[1:])


def test_services_targets_and_units_are_called_by_their_names(dockerfile: Dockerfile) -> None:
    words = [word for command in COMMANDS if "up" in command for word in command[command.index("up") + 1 :]]
    assert {word for word in words if not word.startswith("-")} <= SERVICES.keys()
    targets = [c[c.index("--target") + 1] for c in COMMANDS if "--target" in c]
    assert targets
    assert set(targets) <= dockerfile.stages.keys()
    assert (DOCKER / "systemd" / "gate.service").is_file()
