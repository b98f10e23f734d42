import re
import subprocess
import sys
from pathlib import Path

import pytest

from gate.quality import methods
from gate.weights.table import load_table
from tests.conftest import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def test_the_reference_is_what_the_code_says() -> None:
    command = [sys.executable, "scripts/reference.py", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_readme_states_the_licences_of_the_zoo() -> None:
    readme, zoo = (REPOSITORY / "README.md").read_text(encoding="utf-8"), load_table()
    for line in readme.splitlines():
        for name in re.findall(r"`([a-z0-9-]+)`", line.split("|")[1] if line.startswith("| `") else ""):
            stated = line.split("|")[3].strip()
            assert zoo[name].license_weights.split(" ")[0] in stated or not zoo[name].commercial
            assert ("non-commercial" in stated) == (not zoo[name].commercial)


def test_every_method_named_in_the_readme_exists() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"load_method\(.*# or (.*)", readme)
    names = {name.strip() for name in example.replace("…", "").split(",") if name.strip()}
    assert names <= {info.name for info in methods()}


def test_no_file_names_a_registry_or_a_folder_of_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    # Written in two parts so that this file passes its own test.
    forbidden = re.compile(
        "|".join(["pypi" + r"\.org", "files." + "pythonhosted", "registry." + "npmjs", "/root" + "/"])
    )
    guilty = []
    for name in listed.splitlines():
        path = REPOSITORY / name
        if (
            path.suffix not in {".png", ".jpg", ".onnx", ".safetensors"}
            and path.is_file()
            and forbidden.search(path.read_text(encoding="utf-8"))
        ):
            guilty.append(name)
    assert guilty == []
