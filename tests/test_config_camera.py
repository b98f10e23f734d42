"""A camera's section: an address in one piece or in parts, and nothing that would be ignored."""

from typing import Any

import pytest

from gate.config import CameraConfig, build_config
from gate.errors import ConfigError

SECRET = "hunter2"


def camera(**keys: Any) -> CameraConfig:
    return build_config({"cameras": [{"name": "door", **keys}]}).cameras[0]


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        ({"host": "door.lan"}, "rtsp://door.lan"),
        ({"host": "192.0.2.7", "port": 8554, "path": "/live?token=x"}, "rtsp://192.0.2.7:8554/live?token=x"),
        ({"host": "door.lan", "path": "live"}, "rtsp://door.lan/live"),
        ({"host": "door.lan", "path": "?channel=1"}, "rtsp://door.lan?channel=1"),
        ({"host": "fe80::1", "scheme": "rtsps", "port": 322}, "rtsps://[fe80::1]:322"),
        ({"host": "door.lan", "scheme": "http", "path": "/mjpeg"}, "http://door.lan/mjpeg"),
    ],
)
def test_host_scheme_port_and_path_make_the_address(parts: dict[str, Any], address: str) -> None:
    made = camera(**parts, username="gate", password=SECRET)

    assert made.address == address
    assert made.kind == "network"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "either a url or a host"),
        ({"url": "rtsp://h/", "host": "h"}, "either a url or a host"),
        ({"url": "rtsp://h/", "port": 554}, "port goes with host"),
        ({"url": "rtsp://h/", "path": "/live"}, "path goes with host"),
        ({"url": "rtsp://h/", "scheme": "http"}, "scheme goes with host"),
        ({"host": "h:554"}, "a host is a name or an IP address alone"),
        ({"host": f"user:{SECRET}@h"}, "a host is a name or an IP address alone"),
        ({"host": "h/live"}, "a host is a name or an IP address alone"),
        ({"host": ""}, "a host is a name or an IP address alone"),
        ({"host": "h", "password": SECRET, "password_file": "door"}, "password and password_file say the same"),
        ({"url": "rtsp://h/", "listen": True, "username": "u"}, "username has no use with listen"),
        ({"url": "rtsp://h/", "listen": True, "password": SECRET}, "password has no use with listen"),
        ({"url": "http://h/", "transport": "udp"}, "udp is for rtsp:// alone"),
        ({"url": "rtsps://h/", "transport": "udp"}, "udp is for rtsp:// alone"),
    ],
)
def test_what_contradicts_itself_is_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"cameras\.0.*{problem}") as caught:
        camera(**keys)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("url", "kind"), [("clip.mp4", "file"), ("webcam:0", "webcam"), ("virtual:", "virtual")])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("username", "gate"),
        ("password", SECRET),
        ("password_file", "door"),
        ("transport", "udp"),
        ("open_timeout_s", 3.0),
        ("read_timeout_s", 3.0),
    ],
)
def test_what_only_a_network_camera_needs_is_refused_elsewhere(url: str, kind: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is for network cameras alone.*{kind} camera; remove it") as caught:
        camera(url=url, **{key: value})
    assert SECRET not in str(caught.value)
    assert getattr(camera(url="rtsp://h/", **{key: value}), key) is not None


def test_no_secret_of_a_camera_is_in_what_is_printed_of_it() -> None:
    for keys in (
        {"host": "h", "username": "u", "password": SECRET, "path": f"/{SECRET}?token={SECRET}"},
        {"url": f"rtsp://u:{SECRET}@h/{SECRET}"},
    ):
        made = camera(**keys)
        assert SECRET not in repr(made) + str(made) + made.model_dump_json() + str(made.model_dump(mode="json"))
