"""A site of a thousand cameras: how many series it has, and what a scrape of them costs."""

import re
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

from gate.assembly import build_observer
from gate.capture.causes import Cause
from gate.capture.changes import Change
from gate.config import build_config
from gate.observe.observer import Observer
from gate.observe.table import EVENT_TYPES, Outcome, VisitResult
from gate.reasons import FallbackCause, Reason, Shed
from tests.conftest import REPOSITORY, FakeClock

CAMERAS = 1000


@pytest.fixture(scope="module")
def site() -> Observer:
    """An hour in which everything that can happen to a camera happened to each, and some that cannot."""
    clock = FakeClock()
    cameras = [{"name": f"floor-{number}", "url": "virtual:"} for number in range(CAMERAS)]
    observer = build_observer(build_config({"cameras": cameras}, where="test"), clock)
    methods = [*observer.tally.snapshot()["methods"], "a-method-of-tomorrow"]
    for _ in range(12):
        for method in methods:
            observer.pipeline.method_active(method)
        for number in range(CAMERAS):
            happen(observer, f"floor-{number}", methods, clock)
        for fallback in FallbackCause:
            observer.pipeline.fallback(fallback)
        for shed in Shed:
            observer.pipeline.shed(shed, 1)
        clock.advance(300)
    return observer


def happen(observer: Observer, camera: str, methods: list[str], clock: FakeClock) -> None:
    """Every reason, cause, change and outcome, once."""
    observer.capture.up(camera)
    observer.capture.frame(camera, clock.now_ms)
    observer.capture.dropped(camera)
    observer.capture.corrupt(camera)
    observer.pipeline.processed(camera, 0.05)
    observer.pipeline.face(camera, accepted=True, reason="", quality=70.0, method=methods[0])
    for method in methods:
        observer.metrics.quality(camera, method, 20.0)
    for reason in (*Reason, "a reason of tomorrow"):
        observer.pipeline.face(camera, accepted=False, reason=reason, quality=None, method="")
    observer.pipeline.unscored(camera)
    observer.metrics.quality_drift(camera, 0.1)
    for kind in EVENT_TYPES:
        observer.publish.published(camera, kind, 0.2, 0.001)
    for result in VisitResult:
        observer.pipeline.visit(camera, result, best_quality=70.0)
    for cause in (*Cause, f"rtsp://{camera}.example/1"):
        observer.metrics.reconnect(camera, cause)
    for change in (*Change, f"{camera} has changed"):
        observer.metrics.stream_change(camera, change)
    for outcome in (*Outcome, camera):
        observer.metrics.frames(camera, outcome)


def test_an_hour_of_everything_stays_within_the_bound_that_is_promised(site: Observer) -> None:
    page = Path(REPOSITORY / "docs" / "operating.md").read_text(encoding="utf-8")
    a_camera, a_method, shared = map(int, re.findall(r"\*\*(\d+)\*\* series", page))
    lines = [line for line in site.metrics.render()[0].decode().splitlines() if not line.startswith("#")]
    of_cameras = [line for line in lines if 'camera="' in line]
    of_methods = [line for line in of_cameras if 'method="' in line]
    quality = Counter(re.findall(r'camera="([^"]+)",method="([^"]+)"', "\n".join(of_methods)))
    others = Counter(re.findall(r'camera="([^"]+)"', "\n".join(set(of_cameras) - set(of_methods))))
    assert len(others) == CAMERAS
    assert len(quality) > CAMERAS
    assert max(quality.values()) <= a_method
    assert max(others.values()) <= a_camera - a_method
    assert len(lines) - len(of_cameras) <= shared


def test_a_scrape_of_a_thousand_cameras_calls_no_function_more_often_than_it_has_lines(site: Observer) -> None:
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        body, _ = site.metrics.render()
    finally:
        sys.setprofile(None)
    assert calls < body.count(b"\n")
