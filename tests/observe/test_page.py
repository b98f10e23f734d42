import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import yaml
from playwright.sync_api import Browser, Page, ViewportSize, expect

from gate.baseline import Baseline, histogram_of
from gate.clock import SystemClock
from gate.observe.access import Access
from gate.observe.answer import Response
from gate.observe.drift import LEAST_FACES
from gate.observe.http import HttpServer
from gate.observe.images import Images
from gate.observe.observer import Observer
from gate.observe.page import load_page
from gate.observe.routes import build_routes
from gate.publish.jpeg import encode_crop
from gate.reasons import Reason
from gate.types import Face, Frame, JudgedFace, ScoredFace, Signals, TrackedFace, Verdict

DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
TOKEN = "a-token+with/signs=1"
HOSTILE = "<img src=x onerror=alert(1)>"


def test_the_page_is_one_small_file_that_asks_nobody_else() -> None:
    html = load_page().body.decode()
    assert len(html.encode()) < 60_000
    assert not re.findall(r"(?:https?:)?//[a-z]", html)
    assert not re.findall(r"(?:src|href)=\"(?!data:,|status|metrics|readyz|livez)", html)
    assert "/*" not in html


def test_nothing_is_ever_written_as_markup() -> None:
    html = load_page().body.decode()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in html
    assert not re.findall(r"\son[a-z]+=|\sstyle=", html)


def test_the_policy_names_the_script_and_the_style_by_their_hashes() -> None:
    page = load_page()
    html, policy = page.body.decode(), page.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        content = html.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_page_is_readable_on_a_phone_in_the_dark_and_aloud() -> None:
    html = load_page().body.decode()
    for needed in ('name="viewport"', "prefers-color-scheme: dark", 'aria-live="polite"', "<noscript>", 'lang="en"'):
        assert needed in html


@pytest.fixture
def observer() -> Observer:
    observer = Observer(SystemClock())
    for camera in ("door", "lobby"):
        observer.add_camera(camera)
    observer.pipeline.method_active("serfiq")
    observer.publish.failed("refused", "redis is away")
    observer.capture.up("door")
    observer.capture.lost("lobby", "timeout", "no answer")
    for _ in range(3):
        observer.pipeline.face("door", accepted=False, reason=Reason.TOO_DARK, quality=None, method="")
    observer.pipeline.face("door", accepted=True, reason="", quality=77.4, method="serfiq")
    for _ in range(1200):
        observer.pipeline.unscored("door")
    known = Baseline("serfiq", "net@12345678", "2026-02-11", histogram_of([20.0] * 100), 10, ())
    observer.drift.watch("door", known)
    for _ in range(LEAST_FACES):
        observer.drift.face("door", "serfiq", 20.0)
    observer.publish.published("door", "face", 0.321, 0.001)
    observer.tally.add_camera(HOSTILE)
    observer.tally.describe("door", {"min_quality": 40.0, "zones": {"include": [], "exclude": []}})
    for best in (12.0, 45.0, 77.4, None):
        observer.pipeline.visit("door", "unusable" if best is None or best < 40 else "published", best_quality=best)
    return observer


@pytest.fixture
def page(browser: Browser, observer: Observer) -> Iterator[Page]:
    """A tab that looks at a gate with two cameras, one of them lost, a hostile name and no Redis."""
    routes = build_routes(observer, Access(SystemClock()))
    with HttpServer("127.0.0.1", 0, routes) as server, closing(browser.new_page(viewport=DESK)) as page:
        page.goto(server.url)
        yield page


@pytest.mark.slow
def test_a_browser_shows_cameras_reasons_and_what_is_wrong(page: Page) -> None:
    door = page.get_by_role("article", name="door")
    expect(page.locator("#redis")).to_have_text("away (refused)")
    expect(page.locator("#method")).to_have_text("serfiq")
    expect(page.locator("#up")).to_have_text("1 of 3 up")
    expect(page.get_by_role("status")).to_contain_text("Not ready:\nredis: refused", use_inner_text=True)
    expect(page.get_by_role("article", name="lobby")).to_contain_text("▲ lost: timeout")
    expect(door).to_contain_text("25 % of 4 faces accepted in the last hour")
    expect(door.locator(".reasons li")).to_have_text("too dark3")
    expect(door.locator("dl")).to_contain_text("Best quality77")
    expect(door.locator("dl")).to_contain_text("Latency p50321 ms")
    expect(door.locator("dl")).to_contain_text("Not scored1,200")
    expect(door.get_by_role("heading", name="faces accepted")).to_contain_text("1,200 not scored")
    expect(door).to_contain_text("quality drift 0 from the whole baseline")
    expect(page.get_by_role("button", name=HOSTILE)).to_be_visible()
    expect(page.locator("main img")).to_have_count(0)


@pytest.mark.slow
def test_a_camera_of_which_no_face_was_judged_says_how_many_were_not_scored(page: Page, observer: Observer) -> None:
    observer.pipeline.unscored("lobby")
    lobby = page.get_by_role("article", name="lobby")
    heading = lobby.get_by_role("heading", name="no face judged in the last hour")
    expect(heading).to_contain_text("1 not scored", timeout=10_000)
    for camera in ("hall", "yard"):
        observer.add_camera(camera)
    page.get_by_role("button", name="Compact").click()
    expect(lobby.locator("p.brief")).to_contain_text("1 not scored")


def judged(frame: Frame, x: float, quality: float | None, *reasons: str) -> JudgedFace:
    """A face of 120 by 160 pixels."""
    points = np.array([[40, 60], [80, 60], [60, 85], [45, 115], [75, 115]], np.float32) + np.array([x, 200], np.float32)
    face = ScoredFace(
        sighting=frame.sighting,
        tracked=TrackedFace(Face(np.array([x, 200, 120, 160], np.float32), points, 0.9), track=int(x)),
        signals=Signals(*[0.0] * len(Signals.__dataclass_fields__)),
        crop=np.full((112, 112, 3), 90, np.uint8),
        quality=quality,
        raw=quality,
        method="serfiq",
        model="",
    )
    return JudgedFace(face, Verdict(reasons))


@contextmanager
def looking(images: Images) -> Iterator[None]:
    """An engine that sees three people at the door, scores two of them and leaves out the third."""
    done = threading.Event()

    def look() -> None:
        for seq in count():
            frame = Frame("door", seq, np.full((720, 1280, 3), 110, np.uint8), 1.0, 1_700_000_000_000)
            faces = [judged(frame, 150, 77.4), judged(frame, 500, None, "too_dark")]
            images.looked(frame, faces, [judged(frame, 850, None).face.tracked])
            if done.wait(0.05):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.slow
def test_a_face_that_was_not_scored_has_a_quiet_box_of_its_own(browser: Browser) -> None:
    images = Images(SystemClock(), encode_crop)
    observer = Observer(SystemClock(), images=images)
    observer.add_camera("door")
    observer.capture.up("door")
    routes = build_routes(observer, Access(SystemClock()))
    with (
        looking(images),
        HttpServer("127.0.0.1", 0, routes) as server,
        closing(browser.new_page(viewport=DESK)) as page,
    ):
        page.goto(server.url)
        drawn = page.locator("figure g")
        expect(drawn).to_have_text(["77", "too dark", "not scored"])
        expect(drawn.nth(2).locator("circle")).to_have_count(5)
        strokes = [one.evaluate("rect => getComputedStyle(rect).stroke") for one in drawn.locator("rect").all()]
        assert len(set(strokes)) == 3
        dashes = [one.evaluate("rect => getComputedStyle(rect).strokeDasharray") for one in drawn.locator("rect").all()]
        assert dashes[:2] == ["none", "none"] != dashes[2:]


@pytest.mark.slow
def test_the_slider_says_what_another_bar_would_have_done_and_gives_the_line_to_copy(
    page: Page, observer: Observer
) -> None:
    door = page.get_by_role("article", name="door")
    expect(door.locator(".what")).to_have_text("A bar of 40 lets through 2 of 4 visits; 1 of 1 scored faces.")
    expect(door.locator(".line")).to_be_hidden()
    slider = door.get_by_role("slider", name="Try another min_quality for door")
    slider.focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    expect(door.locator(".what")).to_contain_text("A bar of 55 lets through 1 of 4 visits, \N{MINUS SIGN}1 against 40")
    line = door.get_by_role("textbox").input_value()
    assert yaml.safe_load(line) == {"decide": {"min_quality": 55}}


@pytest.mark.slow
def test_news_come_without_asking_and_stop_while_paused(page: Page, observer: Observer) -> None:
    log = page.get_by_role("log")
    expect(log).to_contain_text("lobby: lost, timeout")
    observer.pipeline.visit("door", "published", best_quality=81.6)
    expect(log.locator("li").first).to_contain_text("door: published, best 82")
    page.get_by_role("button", name="Pause").click()
    observer.pipeline.visit("door", "unusable")
    page.get_by_role("button", name="Resume").click()
    expect(log.locator("li").first).to_contain_text("door: not usable")
    expect(log.locator("li")).to_have_count(len(observer.feed.since(0)))


@pytest.mark.slow
def test_two_hundred_cameras_stay_readable_and_can_be_filtered_by_keyboard(
    browser: Browser, observer: Observer
) -> None:
    for number in range(200):
        observer.add_camera(f"floor-{number}")
    routes = build_routes(observer, Access(SystemClock()))
    with HttpServer("127.0.0.1", 0, routes) as server, closing(browser.new_page(viewport=PHONE)) as page:
        page.goto(server.url)
        expect(page.locator("article:visible")).to_have_count(203)
        assert page.evaluate("document.body.classList.contains('compact')")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.keyboard.press("/")
        page.keyboard.type("floor-19")
        expect(page.locator("article:visible")).to_have_count(11)
        one = page.get_by_role("button", name="floor-199")
        one.press("Enter")
        expect(one).to_have_attribute("aria-expanded", "true")
        expect(page.get_by_role("article", name="floor-199")).to_contain_text("Latency p95")


@pytest.mark.slow
def test_a_browser_is_told_when_the_gate_does_not_answer(browser: Browser, observer: Observer) -> None:
    routes = build_routes(observer, Access(SystemClock()))
    routes["/status"] = lambda _request: Response(b"", status=503)
    with HttpServer("127.0.0.1", 0, routes) as server, closing(browser.new_page()) as page:
        page.goto(server.url)
        expect(page.get_by_role("status")).to_have_text("The gate does not answer. Trying again.")


@pytest.mark.slow
def test_a_browser_signs_in_once_and_the_token_does_not_stay_in_the_address(
    browser: Browser, observer: Observer, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with (
        HttpServer("127.0.0.1", 0, build_routes(observer, Access(SystemClock(), file))) as server,
        closing(browser.new_context()) as session,
    ):
        page = session.new_page()
        page.goto(server.url)
        page.get_by_label("Access token").fill("not-the-right-one")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That token is not accepted.")
        page.get_by_label("Access token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_role("article", name="door")).to_be_visible()
        assert page.url == server.url
        page.goto(server.url)
        expect(page.get_by_role("article", name="door")).to_be_visible()
