import json
from typing import Any

import pytest
import yaml

from gate.config import DecideConfig, DecideOverrides, GateConfig, build_config, json_schema
from gate.errors import ConfigError


def config_of(decide: dict[str, Any], *of_cameras: dict[str, Any]) -> dict[str, Any]:
    cameras = [{"name": f"camera{n}", "url": "virtual:", "decide": own} for n, own in enumerate(of_cameras)]
    return {"cameras": cameras, "decide": decide}


def rules_of(config: GateConfig) -> list[DecideConfig]:
    return [config.rules_of(camera) for camera in config.cameras]


def test_a_camera_follows_the_common_rules_but_for_its_own_keys() -> None:
    config = build_config(config_of({"min_quality": 55, "max_yaw_deg": 30}, {}, {"min_quality": 70}))
    first, second = rules_of(config)
    assert first == config.decide
    assert second == config.decide.model_copy(update={"min_quality": 70.0})


def test_a_camera_can_go_back_to_a_default_or_switch_a_bar_off() -> None:
    common = {"min_quality": 55, "min_sharpness": 50}
    (own,) = rules_of(build_config(config_of(common, {"min_quality": 30, "min_sharpness": None})))
    assert (own.min_quality, own.min_sharpness) == (30.0, None)


def test_an_unknown_key_of_a_cameras_rules_is_refused_and_the_nearest_one_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(config_of({}, {}, {"min_qualty": 3}))
    assert str(caught.value) == "config: unknown key 'cameras.1.decide.min_qualty'; did you mean 'min_quality'?"


def test_a_value_out_of_range_is_refused_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"^config: cameras\.0\.decide\.max_yaw_deg: .*less than or equal to 90$"):
        build_config(config_of({}, {"max_yaw_deg": 91}))


@pytest.mark.parametrize(
    ("common", "own", "words"),
    [
        ({"min_quality": 40}, {"keep_quality": 50}, "keep_quality 50 must not be above min_quality 40; lower it"),
        ({"keep_quality": 25}, {"min_quality": 20}, "keep_quality 25 must not be above min_quality 20"),
        ({"on_exit": False}, {"on_enter": False}, "on_enter and on_exit are both false"),
        ({"max_luminance": 60}, {"min_luminance": 60}, "min_luminance 60 must be below max_luminance 60"),
        ({"max_inter_eye_px": 80}, {"min_inter_eye_px": 90}, "min_inter_eye_px 90 must be below max_inter_eye_px 80"),
        ({"max_face_px": 80}, {"min_face_px": 90}, "min_face_px 90 must be below max_face_px 80"),
    ],
)
def test_rules_that_do_not_fit_together_name_the_camera(
    common: dict[str, Any], own: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(config_of(common, {}, own))
    (line,) = str(caught.value).splitlines()
    assert "camera 'camera1': decide: " in line
    assert words in line


def test_an_override_is_judged_with_the_common_rules_and_not_with_the_defaults() -> None:
    # On its own neither would stand beside the defaults: min_quality 30 and on_exit true.
    config = build_config(config_of({"min_quality": 60, "on_enter": False}, {"keep_quality": 50, "on_enter": True}))
    assert rules_of(config)[0].keep_quality == 50


@pytest.mark.parametrize(
    ("low", "high"), [("min_inter_eye_px", "max_inter_eye_px"), ("min_luminance", "max_luminance")]
)
def test_common_rules_that_no_face_could_pass_are_refused(low: str, high: str) -> None:
    with pytest.raises(ConfigError, match=rf"decide: {low} 50 must be below {high} 50, or no face could pass"):
        build_config(config_of({low: 50, high: 50}))


def test_overrides_survive_a_round_trip_and_stay_partial() -> None:
    config = build_config(config_of({"min_quality": 55}, {"max_yaw_deg": 30, "min_sharpness": None}))
    shown = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    assert shown["cameras"][0]["decide"] == {"max_yaw_deg": 30.0, "min_sharpness": None}
    shown["cameras"][0]["url"] = "virtual:"
    shown["decide"]["min_quality"] = 65
    assert rules_of(build_config({key: shown[key] for key in ("cameras", "decide")}))[0].min_quality == 65


def test_the_schema_offers_every_key_to_a_camera_and_promises_no_default() -> None:
    known = json_schema()["$defs"]
    assert set(known["DecideOverrides"]["properties"]) == set(known["DecideConfig"]["properties"])
    assert "default" not in json.dumps([list(part) for part in known["DecideOverrides"]["properties"].values()])
    assert known["DecideConfig"]["properties"]["min_quality"]["default"] == 30.0


def test_no_override_gives_the_very_rules() -> None:
    rules = DecideConfig(min_quality=44)
    assert DecideOverrides().over(rules) is rules
