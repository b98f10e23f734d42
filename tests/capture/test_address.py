"""Passwords go into URLs whole and come out of nowhere else."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.capture.address import check_address, file_path, read_password, scheme_of, with_credentials
from gate.config import CameraConfig
from gate.errors import CaptureError, ConfigError

secrets = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Z")), min_size=1
)


@given(user=secrets, password=secrets)
def test_any_user_and_password_survive_the_url(user: str, password: str) -> None:
    url = with_credentials("http://door.lan:8554/live?a=1", user, password)

    authority = url.removeprefix("http://").removesuffix("/live?a=1")
    userinfo, at, host = authority.rpartition("@")
    sent_user, colon, sent_password = userinfo.partition(":")
    assert (at, host, colon) == ("@", "door.lan:8554", ":")
    assert not set(userinfo) & set("/?#@[]")
    assert (unquote(sent_user), unquote(sent_password)) == (user, password)


def test_configured_credentials_replace_those_of_the_url() -> None:
    assert with_credentials("rtsp://old:gone@door/x", "new", "pw") == "rtsp://new:pw@door/x"
    assert with_credentials("rtsp://admin@door/x", None, "p@w") == "rtsp://admin:p%40w@door/x"
    assert with_credentials("rtsp://admin:kept@door/x", "root", None) == "rtsp://root:kept@door/x"


def test_an_at_sign_in_the_path_is_not_a_password() -> None:
    url = with_credentials("rtsp://door/user@1/live", "admin", "pw")

    assert urlsplit(url).hostname == "door"
    assert urlsplit(url).path == "/user@1/live"


@pytest.mark.parametrize(("length", "fits"), [(121, True), (122, False)])
def test_rtsp_refuses_a_password_that_ffmpeg_would_cut(length: int, fits: bool) -> None:
    password = "x" * length
    if fits:
        assert password in with_credentials("rtsp://door/x", "admin", password)
        return
    with pytest.raises(CaptureError, match="127 bytes") as caught:
        with_credentials("rtsp://door/x", "admin", password)
    assert caught.value.cause == "auth"
    assert "xxxx" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://door.lan/live",
        "rtsp://admin:pw@door.lan:554/live?token=a",
        "rtsp://admin:p%40w@[fe80::1]:554/live",
        "rtsp://door.lan/user@1/live",
        "rtsp://admin:p@w@door.lan/x",
        "/videos/door@night.mp4",
        "webcam:0",
    ],
)
def test_addresses_that_can_be_dialled_pass(url: str) -> None:
    check_address("door", url)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:s3/cret@door.lan/live",
        "rtsp://admin:s3?cret@door.lan",
        "http://a:s3#cret@door",
        "rtsp://do\nor/s3",
    ],
)
def test_addresses_that_need_guessing_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigError, match="'door'") as caught:
        check_address("door", url)

    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "scheme"), [("RTSP://x", "rtsp"), ("https://x", "https"), ("webcam:0", ""), ("/a/b.mp4", ""), ("a:b", "")]
)
def test_the_scheme_is_what_stands_before_two_slashes(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


def test_a_file_url_is_a_path() -> None:
    assert file_path("file:///videos/door%201.mp4") == Path("/videos/door 1.mp4")
    assert file_path("videos/door%201.mp4") == Path("videos/door%201.mp4")


@pytest.mark.parametrize(
    ("content", "password"), [("geheim\n", "geheim"), ("geheim", "geheim"), (" a b \r\n", " a b ")]
)
def test_the_password_file_gives_all_but_its_newline(tmp_path: Path, content: str, password: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content.encode())

    assert read_password(camera(file)) == password


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_an_unreadable_password_file_is_an_access_fault_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CaptureError, match="password file") as caught:
        read_password(camera(file))

    assert caught.value.cause == "auth"
    assert str(file) in str(caught.value)
    assert caught.value.__context__ is None


def test_no_password_file_is_no_password() -> None:
    assert read_password(camera(None)) is None


def camera(password_file: Path | None) -> CameraConfig:
    return CameraConfig.model_validate({"name": "door", "url": "rtsp://door.lan/x", "password_file": password_file})
