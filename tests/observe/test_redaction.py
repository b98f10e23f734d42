import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.observe.redaction import HIDDEN, scrub, scrub_text

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@door.lan:554/live?x=1", "rtsp://door.lan:554"),
        ("open 'rtsp://admin:hunter2@door.lan/live': refused", "open 'rtsp://door.lan': refused"),
        ("rtsp://admin:a/hunter2@door.lan/live is away", "rtsp://… is away"),
        ("rtsp://admin:two hunter2@door.lan/live is away", "rtsp://… is away"),
        ("rtsp://us er:hunter2@door.lan/live is away", "rtsp://… is away"),
        ("redis://r:6379/0 is away", "redis://r:6379 is away"),
        ("REDIS://:hunter2@r:6379/0.", "redis://r:6379."),
        ("rtsp://a:p@ss hunter2@h/x and more", "rtsp://… and more"),
        ("http://docs.lan/a then rtsp://a:hunter2@h/: refused", "http://… refused"),
        ("page at http://127.0.0.1:8080/, metrics beside it", "page at http://127.0.0.1:8080, metrics beside it"),
        ("http://h/token/hunter2/live", "http://h"),
        ("retry with password=hunter2, please", "retry with password=…, please"),
        ("Authorization: Basic hunter2", "Authorization: …"),
        ("authorization=Bearer hunter2", "authorization=…"),
        ("cameras.0.password_file: no such file", "cameras.0.password_file: no such file"),
        ("nothing to hide: 3 of 4", "nothing to hide: 3 of 4"),
        ("", ""),
    ],
)
def test_secrets_leave_a_text_and_the_rest_stays(text: str, shown: str) -> None:
    assert scrub_text(text) == shown


anything = st.one_of(st.text(st.characters(codec="utf-8"), max_size=6), st.text("@:/?# .%[]a1", max_size=8))


@given(
    scheme=st.sampled_from(["rtsp", "rtsps", "http", "redis", "rediss", "unix"]),
    user=anything,
    password=st.tuples(anything, anything).map(SECRET.join),
    path=st.text("abc/?#=&", max_size=8),
    around=st.tuples(
        st.sampled_from(["", "cannot open ", "'", "https://docs.example/help then "]),
        st.sampled_from(["", ": refused", " (try 2)", "' failed", "\nnext line"]),
    ),
)
def test_no_password_of_any_shape_is_shown(
    scheme: str, user: str, password: str, path: str, around: tuple[str, str]
) -> None:
    assert SECRET not in scrub_text(f"{around[0]}{scheme}://{user}:{password}@door.lan/{path}{around[1]}")


@given(st.text("ab:/@?# .rtsp\n'=", max_size=40))
def test_any_text_can_be_scrubbed_and_twice_is_once(text: str) -> None:
    once = scrub_text(text)
    assert scrub_text(once) == once


@pytest.mark.parametrize("key", ["password", "redis_password", "apiKey", "api_key", "Token", "client_secret", "cookie"])
def test_a_value_under_a_telling_name_is_hidden(key: str) -> None:
    assert scrub({key: SECRET, "n": 1}) == {key: HIDDEN, "n": 1}
    assert scrub([{"deep": {key: [SECRET]}}]) == [{"deep": {key: HIDDEN}}]
    assert scrub({key: None}) == {key: None}


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(values)
def test_whatever_is_logged_becomes_strict_json(value: Any) -> None:
    text = json.dumps(scrub(value), allow_nan=False)
    assert json.loads(text) == scrub(value)


def test_a_value_that_holds_itself_has_an_end() -> None:
    loop: list[Any] = [math.nan]
    loop.append(loop)
    assert json.dumps(scrub(loop), allow_nan=False)


def test_unknown_objects_are_scrubbed_by_their_text() -> None:
    class Camera:
        def __str__(self) -> str:
            return f"Camera(rtsp://u:{SECRET}@door/)"

    assert scrub(Camera()) == "Camera(rtsp://door)"
