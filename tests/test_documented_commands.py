"""Every shell command of the README and of docs/ is run by a test, here or elsewhere, or says why it cannot be."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from PIL import Image as Picture

from gate.bench.clip import write_virtual_clip
from gate.cli import build_parser
from gate.types import CROP_SIDE_PX, Image
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PROGRAMS = (
    r"(?:\.venv/bin/\S+|gate|make|python3?|docker(?:/\S+)?|kubectl|redis-cli|uv|install|systemctl|VIRTUAL_ENV=|/opt/)"
)
CAMERA = "rtsp://camera.example/stream1"


def commands_of(page: Path) -> Iterator[str]:
    """The commands of a page without their comments: of its shell blocks, and of indented lines that begin as one."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from (_bare(line) for line in block.splitlines() if line.strip())
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (_bare(line) for line in re.findall(rf"^    ({PROGRAMS} .*)$", outside, re.MULTILINE))


def _bare(line: str) -> str:
    # In `make reliability` the remark stands behind blanks alone.
    return re.split(r"\s+#\s|\s{4,}", line.strip())[0]


COMMANDS = {command: page for page in PAGES for command in commands_of(page)}


@dataclass(frozen=True)
class Here:
    """Run by this file: with stand-ins for what is not here, and with options that end it."""

    instead: Mapping[str, str]
    more: str = ""
    leaves: str = ""
    """A file that it must have written."""


HERE = {
    f".venv/bin/gate check --source {CAMERA}": Here({CAMERA: "virtual:?seconds=5"}),
    f".venv/bin/gate run --source {CAMERA}": Here({CAMERA: "virtual:?seconds=5"}, "--until-eof --port 0"),
    ".venv/bin/gate run --source clip.mp4 --fast --until-eof --summary counts.json": Here(
        {}, "--port 0", leaves="counts.json"
    ),
    ".venv/bin/gate score faces/ --method regressor -o scores.csv": Here({}, leaves="scores.csv"),
    "gate score faces/ --aligned --method regressor --option precision=bfloat16": Here(
        {"faces/": "aligned/"}, "-o half.csv", "half.csv"
    ),
    "gate tune -c gate.yaml --seconds 86400 -o tuned --accept-rate 0.9": Here(
        {"86400": "10"}, leaves="tuned/report.md"
    ),
    "/opt/gate/bin/gate check -c gate.yaml": Here({}),
    "gate calibrate --help": Here({}),
    "gate bench --video your-camera.mp4 --json today.json": Here({}, "--quick", leaves="today.json"),
    "gate bench --json new.json --compare today.json": Here({}, "--quick --video your-camera.mp4", leaves="new.json"),
}
"""In this order: the last one reads what the one before it wrote."""

ELSEWHERE = {
    # `gate demo`, lest the test sets up its own environment anew.
    r"make demo": ("e2e/test_camera_to_stream.py", '"demo"'),
    r"make docs": ("test_documentation.py", "scripts/reference.py"),
    r"make reliability QUICK=1|.*benchmarks\.reliability --only": (
        "reliability/test_reliability.py",
        "benchmarks.reliability",
    ),
    # A smaller load: this one asks for eight cameras.
    r"gate bench --load": ("bench/test_bench.py", '"bench", "--quick"'),
    r"redis-cli ": ("client/test_consuming_page.py", "redis-cli"),
    # On other data, with weights that may be had.
    r"(\.venv/bin/)?gate evaluate .*": ("lab/test_evaluate_command.py", '"evaluate"'),
    # Minutes, not hours.
    r"(\.venv/bin/)?gate distill (?!diffusion).*": ("lab/distill/test_distill_command.py", '"distill"'),
    r"gate distill diffusion ": ("lab/distill/test_distill_diffusion.py", '"distill", "diffusion"'),
    r"gate models export ": ("quality/test_onnx_export.py", '"models", "export"'),
    # Read, for want of a daemon.
    r"docker |docker/secrets\.sh|kubectl apply|systemctl ": ("docker/test_install_page.py", "docker/secrets.sh"),
}
"""What another test runs, by how it begins: its file, and what stands there."""

NOWHERE = {
    r"make (test|lint|setup)\b": "they are what runs this test, and what it runs in",
    r"make reliability$|.*benchmarks\.reliability --kills 20": "200 kills and an hour of soak; QUICK=1 is run",
    r"python3 -m venv /opt|/opt/gate/bin/pip|uv venv|VIRTUAL_ENV=": "installs 3 GB outside of the temporary folder",
    r"/opt/gate/bin/gate run -c gate\.yaml": "never ends; `gate run` with a source that does is run",
    r"install -": "writes to /etc as root",
    r"gate score cam3/ ": "needs what hours of training wrote; `gate score` with shipped weights is run",
    r"kubectl ": "needs a cluster",
    r"gate score crops/ --aligned --method diffiqa ": "minutes a face without a GPU",
    r"python benchmarks/": "hours without a GPU",
}
"""What no test runs, by how it begins, and why."""


def is_told(command: str) -> bool:
    """Whether a command is in one of the three lists."""
    return command in HERE or any(re.match(start, command) for start in (*ELSEWHERE, *NOWHERE))


def test_every_command_is_run_or_says_why_it_cannot_be() -> None:
    assert len(COMMANDS) > 40
    assert [f"{COMMANDS[command].name}: {command}" for command in COMMANDS if not is_told(command)] == []


def test_no_list_names_a_command_that_is_not_documented_any_more_or_a_test_that_is_gone() -> None:
    assert [command for command in HERE if command not in COMMANDS] == []
    starts = [*ELSEWHERE, *NOWHERE]
    assert [start for start in starts if not any(re.match(start, command) for command in COMMANDS)] == []
    tests = {file: (REPOSITORY / "tests" / file).read_text(encoding="utf-8") for file, _ in ELSEWHERE.values()}
    assert [place for place in ELSEWHERE.values() if place[1] not in tests[place[0]]] == []


def words_of(command: str) -> list[str]:
    """What stands behind `gate`."""
    return shlex.split(command)[1:] if re.match(r"(\.venv/bin/|/opt/gate/bin/)?gate ", command) else []


@pytest.mark.parametrize("command", [command for command in COMMANDS if words_of(command)])
def test_the_gate_understands_every_documented_command(command: str) -> None:
    if "--help" not in command:
        build_parser().parse_args(words_of(command))


def test_every_command_that_a_sentence_names_exists() -> None:
    known = next(action for action in build_parser()._actions if action.choices and "run" in action.choices).choices
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"`gate ([a-z]+)", text))
    assert "tail" in named
    assert named - set(known or ()) == set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, portraits: dict[str, Image]) -> Path:
    """What the commands find: a configuration, films, pictures of faces."""
    folder = tmp_path_factory.mktemp("documented")
    data = {
        "cameras": [{"name": "front-door", "url": "virtual:?seed=1&fps=5"}],
        "redis": {"url": "embedded:"},
        "http": {"port": 0},
    }
    (folder / "gate.yaml").write_text(yaml.safe_dump(data))
    for film in ("clip.mp4", "your-camera.mp4"):
        write_virtual_clip(folder / film, 3.0, width=640, height=360)
    for kind in ("faces", "aligned"):
        (folder / kind).mkdir()
    for name in ("astronaut", "grace_hopper"):
        portrait = Picture.fromarray(portraits[name])
        portrait.save(folder / "faces" / f"{name}.png")
        portrait.resize((CROP_SIDE_PX, CROP_SIDE_PX)).save(folder / "aligned" / f"{name}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", HERE)
def test_a_documented_command_does_its_work(folder: Path, command: str) -> None:
    how = HERE[command]
    words = [how.instead.get(word, word) for word in words_of(command)]
    run = [sys.executable, "-m", "gate", *words, *shlex.split(how.more)]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not how.leaves or (folder / how.leaves).stat().st_size > 0
