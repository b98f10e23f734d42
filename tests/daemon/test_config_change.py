"""What a running gate can take over from its file, and what asks for a restart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import GateConfig, build_config
from gate.config_change import REASONS, ConfigChange, compare


def config(*cameras: dict[str, Any], **sections: Any) -> GateConfig:
    return build_config({"cameras": list(cameras) or [camera("door")], **sections})


def camera(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "url": "rtsp://u:hunter2@door.lan/", **keys}


def test_the_same_file_changes_nothing() -> None:
    assert compare(config(), config()) == ConfigChange()
    assert compare(config(), config(decide={"min_quality": 30.0})).names == {}


def test_the_order_of_cameras_means_nothing() -> None:
    north, south = camera("north"), camera("south")
    assert compare(config(north, south), config(south, north)) == ConfigChange()


def test_cameras_come_and_go_by_name() -> None:
    change = compare(config(camera("door"), camera("old")), config(camera("new"), camera("door")))
    assert change == ConfigChange(added=("new",), removed=("old",))


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "rtsp://u:hunter3@door.lan/"},
        {"transport": "udp"},
        {"max_fps": 5},
        {"username": "guard"},
        {"password_file": "/run/secrets/door"},
        {"read_timeout_s": 3},
        {"listen": True},
    ],
)
def test_a_camera_that_is_read_in_another_way_restarts(keys: dict[str, Any]) -> None:
    change = compare(config(camera("door"), camera("lobby")), config(camera("door") | keys, camera("lobby")))
    assert change == ConfigChange(restarted=("door",))
    both = compare(config(), config(camera("door") | keys | {"decide": {"min_quality": 80}}))
    assert (both.restarted, both.adjusted) == (("door",), ())


@pytest.mark.parametrize(
    "keys", [{"decide": {"min_quality": 80}}, {"zones": {"exclude": [[[0, 0], [0.5, 0], [0.5, 0.5]]]}}]
)
def test_a_camera_with_other_rules_or_zones_runs_on(keys: dict[str, Any]) -> None:
    change = compare(config(camera("door"), camera("lobby")), config(camera("door", **keys), camera("lobby")))
    assert change == ConfigChange(adjusted=("door",))


def test_rules_of_all_change_those_cameras_that_follow_them() -> None:
    own = camera("own", decide={"min_quality": 50})
    change = compare(config(camera("door"), own), config(camera("door"), own, decide={"min_quality": 60}))
    assert change == ConfigChange(adjusted=("door",))


def test_the_log_may_grow_louder_but_not_change_its_form() -> None:
    louder = compare(config(), config(log={"level": "debug"}))
    assert louder.refusal is None
    assert louder.names == {"changed": ["log.level"]}
    assert compare(config(), config(log={"format": "json"})).fixed == ("log.format",)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"detector": {"min_score": 0.5}}, "detector.min_score"),
        ({"tracker": {"max_gap_s": 3}}, "tracker.max_gap_s"),
        ({"quality": {"method": "sharpness"}}, "quality.method"),
        ({"redis": {"url": "redis://:hunter2@redis.lan"}}, "redis.url"),
        ({"http": {"port": 1}}, "http.port"),
        ({"weights": {"download": False}}, "weights.download"),
    ],
)
def test_what_cannot_change_is_named_with_its_reason_and_without_its_value(sections: dict[str, Any], key: str) -> None:
    change = compare(config(), config(camera("door"), camera("new"), **sections))
    assert change.refusal is not None
    assert change.refusal.startswith(f"{key}: cannot change while the gate runs (")
    assert REASONS[key.partition(".")[0]] in change.refusal
    assert "Restart the gate" in change.refusal
    assert "hunter2" not in change.refusal


def test_every_section_is_either_taken_over_or_refused_with_a_reason() -> None:
    sections = {key.partition(".")[0] for key in REASONS}
    assert sections | {"cameras", "decide"} == set(GateConfig.model_fields)


@st.composite
def camera_sets(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True))
    return [
        camera(
            name,
            max_fps=draw(st.sampled_from([None, 5])),
            transport=draw(st.sampled_from(["tcp", "udp"])),
            decide=draw(st.sampled_from([{}, {"min_quality": 60}, {"on_exit": False}])),
        )
        for name in names
    ]


@given(camera_sets(), camera_sets(), st.sampled_from([{}, {"min_quality": 60}]))
def test_every_camera_has_one_fate_that_its_sections_justify(
    old: list[dict[str, Any]], new: list[dict[str, Any]], decide: dict[str, Any]
) -> None:
    before, after = config(*old), config(*new, decide=decide)
    change = compare(before, after)
    was = {entry.name: entry for entry in before.cameras}
    now = {entry.name: entry for entry in after.cameras}
    fates = [*change.added, *change.removed, *change.restarted, *change.adjusted]
    assert len(fates) == len(set(fates))
    assert set(change.added) == now.keys() - was.keys()
    assert set(change.removed) == was.keys() - now.keys()
    for name in was.keys() & now.keys():
        same_line = (was[name].max_fps, was[name].transport) == (now[name].max_fps, now[name].transport)
        same_rules = before.rules_of(was[name]) == after.rules_of(now[name])
        assert (name in change.restarted) == (not same_line)
        assert (name in change.adjusted) == (same_line and not same_rules)
    backwards = compare(after, before)
    assert (backwards.added, set(backwards.restarted)) == (change.removed, set(change.restarted))
    assert set(backwards.adjusted) == set(change.adjusted)
