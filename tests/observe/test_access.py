import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.clock import SystemClock
from gate.errors import ConfigError
from gate.observe.access import SESSION_S, Access, read_token
from gate.observe.observer import Observer
from gate.observe.request import Request
from gate.observe.routes import build_routes
from tests.conftest import FakeClock

TOKEN = "3f9c-Zebra+crossing/at=dawn"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def access(fake_clock: FakeClock, token_file: Path) -> Access:
    return Access(fake_clock, token_file, cookie="facegate_8080")


def asking(path: str = "/status", query: str = "", **headers: str) -> Request:
    return Request("GET", path, query, {name.replace("_", "-"): value for name, value in headers.items()})


def session(access: Access) -> str:
    answer = access.sign_in(asking("/", f"token={TOKEN}"))
    assert answer is not None
    return answer.headers["Set-Cookie"].partition(";")[0]


def test_without_a_token_file_everybody_may_see(fake_clock: FakeClock) -> None:
    access = Access(fake_clock)
    assert access.allows(asking())
    assert access.sign_in(asking("/", f"token={TOKEN}")) is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_scraper_shows_the_token_in_a_header(access: Access, scheme: str) -> None:
    assert access.allows(asking(authorization=f"{scheme} {TOKEN}"))


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"]
)
def test_anything_else_is_refused_with_what_is_asked_for(access: Access, shown: str) -> None:
    request = asking(authorization=shown)
    assert not access.allows(request)
    answer = access.refusal(request)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="facegate"')


def test_a_browser_trades_the_token_for_a_session_and_leaves_it_out_of_the_address(access: Access) -> None:
    answer = access.sign_in(asking("/", f"token={TOKEN}"))
    assert answer is not None
    assert (answer.status, answer.headers["Location"]) == (303, "./")
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert access.allows(asking(cookie=f"other=1; {session(access)}"))


def test_a_wrong_token_in_the_address_gives_no_session(access: Access) -> None:
    answer = access.sign_in(asking("/", "token=wrong", accept="text/html"))
    assert answer is not None
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert b"not accepted" in answer.body


def test_a_session_ends_with_its_time_and_with_its_token(
    access: Access, fake_clock: FakeClock, token_file: Path
) -> None:
    cookie = session(access)
    fake_clock.advance(SESSION_S - 1)
    assert access.allows(asking(cookie=cookie))
    fake_clock.advance(2)
    assert not access.allows(asking(cookie=cookie))
    renewed = session(access)
    replacement = token_file.with_name("new")
    replacement.write_text("another-token-of-24-chars")
    replacement.replace(token_file)
    assert not access.allows(asking(cookie=renewed))
    assert access.allows(asking(authorization="Bearer another-token-of-24-chars"))


def test_a_token_file_that_goes_away_leaves_the_last_token_in_force(access: Access, token_file: Path) -> None:
    token_file.unlink()
    assert access.allows(asking(authorization=f"Bearer {TOKEN}"))
    assert not access.allows(asking())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Access:
    file = tmp_path_factory.mktemp("access") / "token"
    file.write_text(TOKEN)
    return Access(SystemClock(), file, cookie="facegate_8080")


@given(st.text(max_size=80), st.integers(0, 10**12))
def test_neither_a_cookie_nor_a_header_can_be_made_up(guarded: Access, text: str, until: int) -> None:
    for value in (text, f"{until}.{text}", f"facegate_8080={text}", f"facegate_8080={until}.{text}", f"Bearer {text}"):
        assert not guarded.allows(asking(cookie=value, authorization=value))


@pytest.mark.parametrize(
    "content", [b"", b"short", b"two words of a token", b"x" * 257, "tökentökentökentöken".encode(), b"\xff" * 20]
)
def test_what_is_no_token_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"http.token_file {file}")) as failure:
        read_token(file)
    assert "words" not in str(failure.value)


def test_a_missing_token_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: No such file"):
        read_token(tmp_path / "nowhere")


def test_probes_answer_everybody_but_give_reasons_only_to_those_who_may_see(
    access: Access, fake_clock: FakeClock
) -> None:
    routes = build_routes(Observer(fake_clock), access)
    assert routes["/readyz"](asking("/readyz")).body == b"not ok\n"
    assert b"redis: starting" in routes["/readyz"](asking("/readyz", authorization=f"Bearer {TOKEN}")).body
    assert routes["/livez"](asking("/livez")).status == 200
    for path in set(routes) - {"/livez", "/readyz"}:
        assert routes[path](asking(path)).status == 401, path


def test_a_page_of_somebody_else_may_link_here_and_nothing_more(fake_clock: FakeClock) -> None:
    routes = build_routes(Observer(fake_clock), Access(fake_clock))
    for site, mode, status in [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ]:
        assert routes["/status"](asking(sec_fetch_site=site, sec_fetch_mode=mode)).status == status


def test_a_client_without_the_asked_certificate_sees_the_probes_alone(fake_clock: FakeClock, token_file: Path) -> None:
    access = Access(fake_clock, token_file, asks_for_certificate=True)
    shown = asking(authorization=f"Bearer {TOKEN}")
    assert not access.allows(shown)
    assert access.refusal(shown).status == 403
    assert access.allows(Request("GET", "/status", "", shown.headers, has_certificate=True))
    assert not access.allows(Request("GET", "/status", "", {}, has_certificate=True))
