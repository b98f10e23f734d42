import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gate.baseline import Baseline, histogram_of
from gate.clock import SystemClock
from gate.observe.drift import LEAST_FACES
from gate.observe.http import HttpServer, Response
from gate.observe.observer import Observer
from gate.observe.page import load_page
from gate.observe.routes import build_routes
from gate.reasons import Reason

HOSTILE = "<img src=x onerror=alert(1)>"


def test_the_page_is_one_small_file_that_asks_nobody_else() -> None:
    html = load_page().body.decode()
    assert len(html.encode()) < 60_000
    assert not re.findall(r"(?:https?:)?//[a-z]", html)
    assert not re.findall(r"(?:src|href)=\"(?!data:,|status|metrics|readyz|livez)", html)


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
    known = Baseline("serfiq", "net@12345678", "2026-02-11", histogram_of([20.0] * 100), 10, ())
    observer.drift.watch("door", known)
    for _ in range(LEAST_FACES):
        observer.drift.face("door", "serfiq", 20.0)
    observer.publish.published("door", "face", 0.321, 0.001)
    observer.tally.add_camera(HOSTILE)
    return observer


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    return [program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={tmp_path}"]


def seen(chromium: list[str], url: str) -> str:
    look = [*chromium, "--virtual-time-budget=3000", "--dump-dom", url]
    return subprocess.run(look, capture_output=True, check=True, timeout=120).stdout.decode()


@pytest.mark.slow
def test_a_browser_shows_cameras_reasons_and_what_is_wrong(observer: Observer, chromium: list[str]) -> None:
    routes = build_routes(observer.metrics, observer.health, observer.status)
    with HttpServer("127.0.0.1", 0, routes) as server:
        html = seen(chromium, server.url)
    words = re.sub(r"<[^>]+>", " ", html.split("<body>")[1].split("<script>")[0])
    words = re.sub(r"\s+", " ", words)
    for text in (
        "Redis away (refused)",
        "Method serfiq",
        "Not ready: redis: refused",
        "▲ lost: timeout",
        "25 % of 4 faces accepted",
        "too dark 3",
        "Best quality 77",
        "Latency p50 321 ms",
        "quality drift 0 from the whole baseline",
    ):
        assert text in words
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert HOSTILE not in html


@pytest.mark.slow
def test_a_browser_is_told_when_the_gate_does_not_answer(observer: Observer, chromium: list[str]) -> None:
    routes = build_routes(observer.metrics, observer.health, observer.status)
    routes["/status"] = lambda _request: Response(b"", status=503)
    with HttpServer("127.0.0.1", 0, routes) as server:
        html = seen(chromium, server.url)
    assert "The gate does not answer. Trying again." in html
