import pytest

from gate.quality import methods
from tests.conftest import REPOSITORY

PAGES = REPOSITORY / "docs" / "methods"
SHARED_PAGES = {"ediffiqa": ("-l", "-m", "-s", "-t"), "crfiqa": ("-l", "-s")}
SECTIONS = (
    "What it measures",
    "Formula",
    "Cost",
    "When it fails",
    "Weights and licence",
    "What was checked",
    "Citation",
)


def page_of(name: str) -> str:
    family = name.rsplit("-", 1)[0]
    return family if name.removeprefix(family) in SHARED_PAGES.get(family, ()) else name


@pytest.mark.parametrize("name", [info.name for info in methods()])
def test_every_method_has_a_page_with_every_section(name: str) -> None:
    text = (PAGES / f"{page_of(name)}.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text
    assert [section for section in SECTIONS if f"## {section}\n" not in text] == []


def test_every_page_belongs_to_a_method() -> None:
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert pages == {page_of(info.name) for info in methods()}
