"""Whatever a camera's address holds, the running gate shows it nowhere."""

import io
import json
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import redis

from gate.daemon import Daemon
from gate.observe.logging import configure
from gate.types import Image
from tests.capture.rtsp_camera import Conduct, encode, serving
from tests.capture.sockets import free_port
from tests.daemon.conftest import LONGEST_WAIT_S, config_of

HOSTILE = ("Geh3im@door", "Geh3im:554", "Geh3im/live", "100%Geh3im%41", "Geh3im?#ü€", "Geh3im two words", "Geh3im\\[]|")
TOKENS = "/T0ken/live?key=T0ken"


def cameras(port: int) -> list[dict[str, Any]]:
    """One that delivers, and for each hostile password one whose door is shut, by parts, in the URL, and unescaped."""
    made: list[dict[str, Any]] = [
        {"name": "good", "host": "127.0.0.1", "port": port, "path": TOKENS, "username": "adm1n", "password": HOSTILE[0]}
    ]
    for number, password in enumerate(HOSTILE):
        host = f"127.0.0.1:{free_port()}"
        inside = f"rtsp://adm1n:{quote(password, safe='')}@{host}{TOKENS}"
        made += [
            {"name": f"url{number}", "url": inside},
            {"name": f"parts{number}", "url": f"rtsp://{host}{TOKENS}", "username": "adm1n", "password": password},
        ]
    return made


def fetched(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - http:// of this machine
            return f"{answer.headers}{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode()}"


@pytest.mark.slow
def test_no_page_no_metric_no_event_and_no_line_of_the_log_holds_a_secret(
    portraits: dict[str, Image], redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()
    portrait = portraits["astronaut"][:384, 64:448]
    clip = encode([np.roll(portrait, n % 8, axis=1) for n in range(16)], fps=10)
    with ExitStack() as stack:
        camera = stack.enter_context(serving(Conduct(clip, account=("adm1n", HOSTILE[0]))))
        wanted = cameras(camera.port)
        daemon = Daemon(config_of(redis_url=redis_url, cameras=wanted))
        configure("debug", "json", written)
        daemon.start()
        stack.callback(daemon.shut_down)
        deadline = time.monotonic() + LONGEST_WAIT_S
        while time.monotonic() < deadline:
            status = daemon.observer.status()
            lost = [name for name, state in status["cameras"].items() if state["cause"] == "refused"]
            if len(lost) == len(wanted) - 1 and status["total"]["events"]["face"] > 0:
                break
            time.sleep(0.1)
        else:
            pytest.fail("not every camera was refused, or no face was published")
        page = (daemon.http_address or "").rstrip("/")
        shown = {path: fetched(page + path) for path in ("/", "/status", "/metrics", "/readyz", "/livez")}
    with redis.Redis.from_url(redis_url) as client:
        entries: Any = client.xrange("facegate:faces")
    shown |= {"events": repr(entries), "log": written.getvalue(), "output": "".join(capfd.readouterr())}

    assert "camera url0: refused" in shown["/readyz"]
    assert json.dumps("camera_lost") in shown["log"]
    assert entries
    secrets = ("Geh3im", "T0ken", "adm1n")
    assert [(where, secret) for where, text in shown.items() for secret in secrets if secret in text] == []
