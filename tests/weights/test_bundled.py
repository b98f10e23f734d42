"""Weights that ship with the package: always here, checked like all others, never fetched."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gate.commands.models import _cells
from gate.errors import WeightsError
from gate.weights.table import Entry, load_table, parse_table
from gate.weights.zoo import Zoo

GOOD = bytes(range(256)) * 4
ROW = Entry(
    name="ours", kind="regressor", description="d", architecture="a", license_code="MIT", license_weights="MIT",
    commercial=True, citation="c", bundled="ours.bin", sha256=hashlib.sha256(GOOD).hexdigest(), bytes=len(GOOD),
)  # fmt: skip


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "ours.bin").write_bytes(GOOD)
    return Zoo(tmp_path / "pulled", table={"ours": ROW}, bundled=tmp_path / "package")


def test_it_is_here_without_a_pull(zoo: Zoo, tmp_path: Path) -> None:
    assert zoo.status("ours").state == "here"
    for path in (zoo.path("ours"), zoo.ensure("ours"), zoo.pull("ours"), zoo.verify("ours")):
        assert path == tmp_path / "package" / "ours.bin"
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "does not exist"), (GOOD[:-1], "has 1023 bytes where ours has 1024"), (GOOD[:-1] + b"x", "is damaged")],
)
def test_one_that_is_missing_or_damaged_cannot_be_pulled(
    zoo: Zoo, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "package" / "ours.bin"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for ask in (zoo.path, zoo.ensure, zoo.pull, zoo.verify):
        with pytest.raises(WeightsError, match=f"{problem}.*ships with the package: install facegate again"):
            ask("ours")


def test_a_file_of_the_user_s_goes_before_it(zoo: Zoo, tmp_path: Path) -> None:
    mine = tmp_path / "mine.bin"
    mine.write_bytes(GOOD)
    own = Zoo(tmp_path, table={"ours": ROW}, bundled=tmp_path / "package", local_paths={"ours": mine})
    assert own.ensure("ours") == mine


def test_it_is_listed_as_part_of_the_package(zoo: Zoo) -> None:
    assert _cells(ROW, zoo.status("ours"))[2:] == ("yes", "0.0 MB", "MIT", "package")
    assert not ROW.slot


def test_a_row_without_a_checksum_is_refused() -> None:
    row = {name: value for name, value in vars_of(ROW).items() if name != "sha256"}
    with pytest.raises(WeightsError, match="ours ships with the package"):
        parse_table(json.dumps({"entries": [row]}), "made")


def vars_of(entry: Entry) -> dict[str, object]:
    names = ("name", "kind", "description", "architecture", "license_code", "license_weights", "commercial", "citation")
    return {name: getattr(entry, name) for name in (*names, "bundled", "sha256", "bytes")}


def test_without_fetching_a_missing_file_is_an_error_at_once(tmp_path: Path) -> None:
    row = replace(ROW, bundled=None, file="net.bin")
    with pytest.raises(WeightsError, match=r"net\.bin does not exist; `gate models pull ours` fetches it"):
        Zoo(tmp_path, table={"ours": row}, fetching=False).ensure("ours")
    (tmp_path / "net.bin").write_bytes(GOOD)
    assert Zoo(tmp_path, table={"ours": row}, fetching=False).ensure("ours") == tmp_path / "net.bin"


@pytest.mark.parametrize("name", [name for name, entry in load_table().items() if entry.bundled])
def test_what_ships_is_what_the_table_says(name: str, tmp_path: Path) -> None:
    assert Zoo(tmp_path).verify(name) is not None
