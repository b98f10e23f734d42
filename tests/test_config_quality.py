from typing import Any

import pytest

from gate.config import FallbackConfig, build_config, json_schema
from gate.config_quality import QualityConfig
from gate.errors import ConfigError


def quality_of(**section: Any) -> QualityConfig:
    return build_config({"cameras": [{"name": "door", "url": "virtual:"}], "quality": section}).quality


@pytest.mark.parametrize(
    ("method", "chain"),
    [
        ("regressor", ["regressor", "serfiq", "sharpness"]),
        ("serfiq", ["serfiq", "sharpness"]),
        ("sharpness", ["sharpness"]),
    ],
)
def test_a_default_fallback_stands_only_behind_what_is_better(method: str, chain: list[str]) -> None:
    section = quality_of(method=method)
    assert [entry.method for entry in section.chain] == chain
    assert section.has_default_fallback


@pytest.mark.parametrize(
    "written",
    ["grafiqs", ["grafiqs"], {"method": "grafiqs"}, [{"method": "grafiqs"}]],
    ids=["name", "list", "map", "maps"],
)
def test_a_fallback_may_be_a_name_a_section_or_a_list_of_either(written: Any) -> None:
    section = quality_of(fallback=written)
    assert section.fallback == (FallbackConfig(method="grafiqs"),)
    assert not section.has_default_fallback


def test_a_fallback_may_have_a_network_of_its_own() -> None:
    other = {"method": "serfiq", "backbone": "iresnet50-arcface", "options": {"passes": 10}}
    first, second = quality_of(method="serfiq", fallback=other).chain
    assert first == FallbackConfig(method="serfiq")
    assert second.backbone == "iresnet50-arcface"
    assert second.options == {"passes": 10}


def test_no_fallback_at_all_can_be_asked_for() -> None:
    assert len(quality_of(fallback=[]).chain) == 1


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"method": "serfiq", "fallback": ["serfiq"]}, "serfiq stands there already"),
        ({"fallback": ["sharpness", "sharpness"]}, "sharpness stands there already"),
        ({"fallback": [], "second_opinion": {}}, "there is no fallback to ask"),
        ({"fallback": {"metod": "serfiq"}}, "did you mean 'method'"),
        ({"second_opinion": {"within": 0}}, r"quality\.second_opinion\.within"),
        ({"second_opinion": {"budget_ms_per_s": 2000}}, r"quality\.second_opinion\.budget_ms_per_s"),
    ],
)
def test_what_cannot_work_is_refused(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        quality_of(**section)


def test_second_opinions_are_off_unless_asked_for() -> None:
    assert quality_of().second_opinion is None
    asked = quality_of(second_opinion={}).second_opinion
    assert asked is not None
    assert (asked.within, asked.budget_ms_per_s) == (5.0, 100.0)


def test_the_schema_knows_the_short_forms() -> None:
    forms = json_schema()["$defs"]["QualityConfig"]["properties"]["fallback"]["anyOf"]
    assert {"type": "string"} in forms[1]["anyOf"]
    assert {"type": "string"} in forms[0]["items"]["anyOf"]
