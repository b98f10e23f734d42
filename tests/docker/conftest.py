"""What is shipped in `docker/`, read as the programs that use it read it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.config import CameraConfig, GateConfig
from tests.conftest import REPOSITORY

DOCKER = REPOSITORY / "docker"
SCRATCH = "/tmp"  # noqa: S108 - of a container, a tmpfs of its own
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - of a container; what is published decides


def read_yaml(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def password_files(config: GateConfig) -> set[str]:
    """Every password file of a configuration."""
    holders: list[CameraConfig | Any] = [*config.cameras, config.redis]
    return {str(holder.password_file) for holder in holders if holder.password_file is not None}


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """Its instructions, stage by stage."""

    stages: dict[str, list[tuple[str, str]]]
    """Name of the stage → (instruction, its words), in order."""

    def values(self, stage: str, instruction: str) -> list[str]:
        return [words for name, words in self.stages[stage] if name == instruction]

    def json(self, stage: str, instruction: str) -> Any:
        """The one list that an instruction of the runtime image gives."""
        (words,) = self.values(stage, instruction)
        return json.loads(words)

    def environment(self, stage: str) -> dict[str, str]:
        pairs = [pair for words in self.values(stage, "ENV") for pair in shlex.split(words)]
        return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture(scope="session")
def dockerfile() -> Dockerfile:
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    stage = ""
    for line in text.replace("\\\n", " ").splitlines():
        name, _, words = line.strip().partition(" ")
        if name == "FROM":
            stage = words.rpartition(" AS ")[2]
            stages[stage] = []
        if name:
            stages[stage].append((name, words.strip()))
    return Dockerfile(stages)


def run_or_skip(command: Sequence[str | Path], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a program that lies beside this Python or on PATH; skip where it is not installed."""
    name = str(command[0])
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.is_file() else shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, **options)
