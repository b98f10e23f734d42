"""The page of a running gate in a real browser: what it shows, that it moves on, and what it says when things fail."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import free_port, http_json, needs, running, wait_for

SOON_MS = 60_000
ZONE = [[0.02, 0.02], [0.98, 0.02], [0.98, 0.98], [0.02, 0.98]]


@pytest.mark.slow
def test_the_page_tells_the_story_of_a_running_gate(
    browser: Browser, servers: ExitStack, gate_command: list[str], tmp_path: Path
) -> None:
    redis_port, http_port = free_port(), free_port()
    server = [needs("redis-server"), "--port", str(redis_port), "--save", "", "--bind", "127.0.0.1"]
    redis = servers.enter_context(running(server, tmp_path / "redis.log"))
    config = tmp_path / "gate.yaml"
    cameras = [
        {"name": "door", "url": "virtual:?seed=1&fps=5", "zones": {"include": [ZONE]}},
        {"name": "yard", "url": f"rtsp://127.0.0.1:{free_port()}/nobody"},
    ]
    data = {
        "cameras": cameras,
        "quality": {"threads": 1},
        "redis": {"url": f"redis://127.0.0.1:{redis_port}/0"},
        "http": {"port": http_port},
        "page": {"images": True},
    }
    config.write_text(yaml.safe_dump(data))
    gate = servers.enter_context(running([*gate_command, "run", "-c", str(config)], tmp_path / "gate.log"))
    url = f"http://127.0.0.1:{http_port}/"
    wait_for(lambda: http_json(f"{url}status"), 60, "the gate's status")

    page = servers.enter_context(closing(browser.new_page(viewport={"width": 1280, "height": 900})))
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    door, yard = page.get_by_role("article", name="door"), page.get_by_role("article", name="yard")
    expect(page.locator("#redis")).to_have_text("connected", timeout=SOON_MS)
    expect(door.locator(".state")).to_have_text("● up", timeout=SOON_MS)
    expect(yard.locator(".state")).to_have_text("▲ lost: refused", timeout=SOON_MS)
    expect(page.get_by_role("status")).to_contain_text("camera yard: refused")
    # A picture with its zone and faces, then crops whose files load, then the hour and the news of a visit.
    expect(door.locator("figure img")).to_be_visible(timeout=SOON_MS)
    expect(door.locator("figure polygon")).to_have_count(1)
    expect(door.locator("figure g.ok circle").first).to_be_attached(timeout=SOON_MS)
    expect(door.locator(".crops img").first).to_be_visible(timeout=SOON_MS)
    assert door.locator(".crops img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 112
    expect(door.locator(".what")).to_contain_text("scored faces", timeout=SOON_MS)
    expect(page.get_by_role("log")).to_contain_text("door: ", timeout=SOON_MS)
    expect(yard.locator("figure")).to_contain_text("the camera is away")
    assert faults == []

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    redis.kill()
    expect(page.locator("#redis")).to_contain_text("away", timeout=SOON_MS)
    expect(page.get_by_role("status")).to_contain_text("Not ready:")
    expect(page.get_by_role("log")).to_contain_text("Redis away")

    gate.kill()
    expect(page.get_by_role("status")).to_contain_text("The gate does not answer.", timeout=SOON_MS)
