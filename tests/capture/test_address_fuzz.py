"""Whatever stands in a camera's address, it is dialled or refused; nothing crashes, and nothing secret is repeated.

`GATE_FUZZ_EXAMPLES` says how many inputs each test makes up.
"""

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.capture.address import check_address, with_credentials
from gate.capture.factory import open_source_for
from gate.clock import SystemClock
from gate.config import CameraConfig
from gate.errors import CaptureError, ConfigError
from gate.redact import safe_address

EXAMPLES = int(os.environ.get("GATE_FUZZ_EXAMPLES", "200"))
SECRET = "Geh3im"

schemes = st.sampled_from(["rtsp", "rtsps", "http", "https", "RTSP", "file", "webcam", "virtual", "ftp", ""])
hostile = st.text(st.sampled_from("@:/%?#[]\\ &=+.;,'\"{}|^~`$!*()<>aü€\U0001f600\t\n\x00"), max_size=12)
anything = st.one_of(hostile, st.text(max_size=20))
addresses = st.one_of(
    st.text(max_size=60),
    st.tuples(schemes, st.sampled_from([":", "://", ":/", ""]), anything, anything, anything).map("".join),
    st.builds("{}://{}:{}@{}/{}".format, schemes, anything, anything, anything, anything),
    st.builds(
        "{}{}".format, st.sampled_from(["", "rtsp://h/", "webcam:", "x:"]), st.integers(1, 6000).map("y".__mul__)
    ),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(addresses)
@example("rtsp://[::1/live")
@example("rtsp://[v1.x]:99999/live")
@example("x:" + "y" * 300)
@example("virtual:?seed=\ud800")
def test_any_text_is_a_source_or_refused_in_our_own_words(address: str) -> None:
    safe_address(address)
    try:
        config = CameraConfig.model_validate({"name": "door", "url": address})
    except ValidationError:
        return
    try:
        source = open_source_for(config, SystemClock(), threading.Event())
    except (ConfigError, CaptureError):
        return
    source.close()


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    scheme=st.sampled_from(["rtsp", "rtsps", "http", "https"]),
    user=anything,
    password=st.tuples(anything, anything).map(SECRET.join),
    tail=st.sampled_from(["", "/live", "/T0ken/live?key=T0ken", "/live#T0ken"]),
    separate=st.booleans(),
)
def test_no_label_and_no_refusal_shows_a_password_or_a_token(
    scheme: str, user: str, password: str, tail: str, separate: bool
) -> None:
    camera: dict[str, Any] = {"name": "door", "url": f"{scheme}://door.lan{tail}"}
    if separate:
        camera |= {"username": user, "password": password}
    else:
        camera["url"] = f"{scheme}://{user}:{password}@door.lan{tail}"
    try:
        config = CameraConfig.model_validate(camera)
        told = [repr(config), config.model_dump_json()]
        told.append(open_source_for(config, SystemClock(), threading.Event()).label)
    except (ConfigError, CaptureError) as error:
        told = [str(error), repr(error.args)]

    assert not [text for text in told if SECRET in text or "T0ken" in text]


@settings(max_examples=EXAMPLES, deadline=None)
@given(user=st.text(max_size=15), password=st.text(max_size=25), given_in_url=st.booleans())
@example(user="ad:min@x", password="p@ss:w/o%rd?#ü", given_in_url=True)
def test_what_is_dialled_holds_user_and_password_as_they_are(user: str, password: str, given_in_url: bool) -> None:
    try:
        if given_in_url:
            address = f"http://{quote(user, safe='')}:{quote(password, safe='')}@door.lan:81/live"
            check_address("door", address)
            dialled = with_credentials(address, None, None)
        else:
            dialled = with_credentials("http://door.lan:81/live", user, password)
    except (UnicodeEncodeError, ConfigError):
        return
    # urlsplit drops line breaks, which an address never holds and `with_credentials` escapes.
    split = urlsplit(dialled)

    assert (split.hostname, split.port, split.path) == ("door.lan", 81, "/live")
    assert (unquote(split.username or ""), unquote(split.password or "")) == (user, password)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    host=st.one_of(st.sampled_from(["door.lan", "192.0.2.7", "fe80::1", "::1"]), anything),
    port=st.one_of(st.none(), st.integers(-1, 70000)),
    path=anything,
)
def test_host_port_and_path_make_an_address_or_are_refused(host: str, port: int | None, path: str) -> None:
    try:
        config = CameraConfig.model_validate({"name": "door", "host": host, "port": port, "path": path})
    except ValidationError:
        return
    split = urlsplit(config.address)

    assert split.scheme == "rtsp"
    assert split.hostname == host.lower()
    assert split.port == port


def test_a_path_too_long_for_the_system_is_a_file_that_is_not_there(tmp_path: Path, fake_clock: Any) -> None:
    config = CameraConfig.model_validate({"name": "door", "url": str(tmp_path / ("y" * 5000))})
    source = open_source_for(config, fake_clock, threading.Event())
    with pytest.raises(CaptureError):
        source.open()
