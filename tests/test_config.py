import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gate.config import GateConfig, build_config, json_schema, load_config, parse_config
from gate.errors import ConfigError
from tests.conftest import REPOSITORY

MINIMAL: dict[str, Any] = {"cameras": [{"name": "door", "url": "virtual:"}]}


EXAMPLES = sorted([*(REPOSITORY / "config").glob("*.yaml"), *(REPOSITORY / "docker").rglob("gate.yaml")])


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_example_configuration_loads(file: Path) -> None:
    assert load_config(file).cameras


def test_an_unknown_key_is_refused_and_the_nearest_known_one_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'decide\.min_qualty'; did you mean 'min_quality'\?"):
        build_config({**MINIMAL, "decide": {"min_qualty": 3}})


def test_an_unknown_key_of_a_camera_is_explained_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'cameras\.0\.pasword_file'; did you mean 'password_file'\?"):
        build_config({"cameras": [{"name": "door", "url": "x", "pasword_file": "y"}]})


def test_every_broken_rule_is_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({**MINIMAL, "http": {"port": 99999}, "redis": {"timeout_s": 0}}, where="gate.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("gate.yaml: ") for line in lines)


@pytest.mark.parametrize(
    "password", ["*hunter2", "!hunter2 x", "!h!hunter2", "'hunter2", "%hunter2", "&hunter2 &hunter2"]
)
def test_what_is_not_yaml_is_refused_without_repeating_it(password: str) -> None:
    with pytest.raises(ConfigError, match=r"gate\.yaml line \d: not valid YAML: ") as caught:
        parse_config(f"redis:\n  url: {password}\n", where="gate.yaml")
    assert "hunter2" not in str(caught.value)


def test_a_camera_name_used_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="unique, used more than once: door"):
        build_config({"cameras": [MINIMAL["cameras"][0]] * 2})


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtsp://u:hunter2@door.lan/", "network"),
        ("HTTPS://door.lan/mjpeg", "network"),
        ("webcam:0", "webcam"),
        ("WEBCAM:1", "webcam"),
        ("virtual:", "virtual"),
        ("Virtual:?fps=5", "virtual"),
        ("clip.mp4", "file"),
        ("clips/door:1.mp4", "file"),
        ("FILE:///clip.mp4", "file"),
    ],
)
def test_an_address_tells_its_kind_and_only_what_has_an_own_speed_is_played_fast(url: str, kind: str) -> None:
    camera = {"name": "door", "url": url}
    assert build_config({"cameras": [camera]}).cameras[0].kind == kind
    fast = {"cameras": [{**camera, "pace": "fast"}]}
    if kind in {"file", "virtual"}:
        assert build_config(fast).cameras[0].pace == "fast"
    else:
        with pytest.raises(ConfigError, match=rf"cameras\.0: pace: fast is for .*{kind} camera.*remove it") as caught:
            build_config(fast)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["virtual:", "webcam:0", "rtsp://h/"])
def test_a_loop_of_what_is_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cameras\.0: loop is for files alone.*remove it"):
        build_config({"cameras": [{"name": "door", "url": url, "loop": True}]})
    for accepted in ({"url": url, "loop": False}, {"url": "clip.mp4", "loop": True}):
        build_config({"cameras": [{"name": "door", **accepted}]})


@pytest.mark.parametrize("url", ["virtual:", "webcam:0", "clip.mp4", "http://h/", "rtsps://h/"])
def test_listening_at_what_is_no_rtsp_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cameras\.0: listen is for rtsp:// alone; remove it"):
        build_config({"cameras": [{"name": "door", "url": url, "listen": True}]})
    assert build_config({"cameras": [{"name": "door", "url": "RTSP://h/", "listen": True}]}).cameras[0].listen


def test_a_gate_that_would_never_publish_a_face_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decide: on_enter and on_exit are both false.*set one to true"):
        build_config({**MINIMAL, "decide": {"on_enter": False, "on_exit": False}})
    for one in ("on_enter", "on_exit"):
        build_config({**MINIMAL, "decide": {one: False}})


@pytest.mark.parametrize(("max_fps", "max_gap_s", "fits"), [(0.5, 1.5, False), (0.5, 2.0, False), (0.5, 2.1, True)])
def test_frames_further_apart_than_a_track_lasts_are_refused(max_fps: float, max_gap_s: float, fits: bool) -> None:
    data = {
        "cameras": [MINIMAL["cameras"][0], {"name": "hall", "url": "virtual:", "max_fps": max_fps}],
        "tracker": {"max_gap_s": max_gap_s},
    }
    if fits:
        build_config(data)
    else:
        with pytest.raises(ConfigError, match=r"camera 'hall': at max_fps 0\.5 .* or tracker\.max_gap_s above 2"):
            build_config(data)


@pytest.mark.parametrize("name", ["", "a b", "door/1", "-door", "x" * 65, "tür"])
def test_a_camera_name_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cameras\.0\.name"):
        build_config({"cameras": [{"name": name, "url": "virtual:"}]})


def test_no_message_repeats_a_value_that_may_be_a_secret() -> None:
    secret = "hunter2"
    broken = {"cameras": [{"name": secret + " ", "url": secret, "open_timeout_s": secret}], "redis": {"url": 5}}
    with pytest.raises(ConfigError) as caught:
        build_config(broken)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_addresses_are_hidden_wherever_the_configuration_is_shown() -> None:
    config = build_config({"cameras": [{"name": "door", "url": "rtsp://u:hunter2@h/"}]})
    assert "hunter2" not in repr(config) + str(config) + json.dumps(config.model_dump(mode="json"))
    assert config.cameras[0].address == "rtsp://u:hunter2@h/"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cameras: [", "line 1: not valid YAML"),
        ("- just\n- a list\n", "expected keys such as 'cameras:', found list"),
        ("", "found NoneType"),
        ("cameras: &a [*a]", "cameras"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_explained(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        parse_config(text)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_config(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_config(file)


def test_every_key_is_documented_in_the_schema() -> None:
    def undocumented(schema: dict[str, Any], path: str) -> list[str]:
        missing = []
        for name, field in schema.get("properties", {}).items():
            if not field.get("description"):
                missing.append(f"{path}.{name}")
        return missing

    schema = json_schema()
    assert not undocumented(schema, "gate")
    assert not [key for name, part in schema["$defs"].items() for key in undocumented(part, name)]


def test_the_schema_refuses_unknown_keys_as_the_program_does() -> None:
    schema = json_schema()
    assert all(part["additionalProperties"] is False for part in [schema, *schema["$defs"].values()])


def test_defaults_survive_a_round_trip_through_yaml() -> None:
    config = build_config(MINIMAL)
    shown = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    shown["cameras"][0]["url"] = "virtual:"
    shown["redis"]["url"] = config.redis.address
    assert GateConfig.model_validate(shown) == config


KEYS = st.sampled_from(["cameras", "redis", "name", "url", "decide", "http", "x"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_any_document_is_accepted_or_refused_in_words(document: Any) -> None:
    try:
        accepted = parse_config(yaml.safe_dump(document)).cameras
    except ConfigError as error:
        accepted = ()
        refusal = str(error)
    assert accepted or refusal.startswith("config")


@given(st.text(max_size=200))
def test_any_text_is_accepted_or_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text + "\nnot_a_key: 1")


@pytest.mark.parametrize(
    ("redis", "problem"),
    [
        ({"url": "redis://host", "ca_file": "ca.crt"}, "ca_file: for TLS alone; write the address with rediss://"),
        ({"url": "rediss://host", "key_file": "k"}, "key_file is the key of cert_file, which is missing"),
    ],
)
def test_files_of_tls_that_nobody_would_use_are_refused(redis: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        build_config({"cameras": [{"name": "door", "url": "virtual:"}], "redis": redis})


@pytest.mark.parametrize(
    ("sections", "spools"),
    [
        ({}, True),
        ({"redis": {"url": "embedded:"}}, False),
        ({"spool": {"enabled": False}}, False),
    ],
)
def test_accepted_faces_are_spooled_unless_redis_forgets_them_anyway(sections: dict[str, Any], spools: bool) -> None:
    assert build_config({"cameras": [{"name": "door", "url": "virtual:"}], **sections}).spools is spools
