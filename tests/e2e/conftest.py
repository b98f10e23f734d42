"""Real servers for end-to-end tests: a camera, Redis, Prometheus. Each lives for one test and owns a free port."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from gate.capture.scene import Scene

collect_ignore = ["rtsp_server.py"]
"""Runs under the system's Python, which has GObject introspection."""

HERE = Path(__file__).parent
CAMERA_USER = "door"
CAMERA_PASSWORD = "s3cr:t@/ö%"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(found: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The first truthy answer of `found`; a failed test after the time-out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.2)
    pytest.fail(f"waited {timeout_s:g} s in vain for {what}")


def http_json(url: str) -> Any:
    """The JSON document at `url`, None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - http:// of this machine
            return json.load(response)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


@contextmanager
def running(command: list[str], log: Path) -> Iterator["subprocess.Popen[str]"]:
    """A server process, its output in a file, killed at the end."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed; scripts/servers.sh installs it where apt is")
    return path


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Whatever a test starts ends with it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def door_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a half of people coming to a camera, H.264 in MP4.

    The crowd of the development data in a loop where it is there, else the virtual camera's people.
    """
    from tests.conftest import TEST_DATA

    ffmpeg = needs("ffmpeg")
    folder = tmp_path_factory.mktemp("clip")
    clip, crowd = folder / "loop.mp4", TEST_DATA / "data" / "video" / "crowd-1080p.mp4"
    if not crowd.is_file():
        crowd = folder / "scene.mp4"
        write_scene(crowd, seconds=25)
    command = [
        ffmpeg,
        "-v",
        "error",
        "-stream_loop",
        "20",
        "-i",
        str(crowd),
        "-c",
        "copy",
        "-an",
        "-t",
        "90",
        str(clip),
    ]
    subprocess.run(command, check=True, timeout=60)
    return clip


def write_scene(file: Path, *, seconds: int, fps: int = 15) -> None:
    """The virtual camera's people as H.264 in MP4."""
    scene = Scene(seed=1, fps=fps)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "g": str(fps)})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index in range(seconds * fps):
            image, _ = scene.frame(index)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@dataclass(frozen=True)
class Camera:
    port: int
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/door"


@pytest.fixture
def rtsp_camera(door_clip: Path, servers: ExitStack, tmp_path: Path) -> Camera:
    """GStreamer's RTSP server behind digest authentication."""
    python = "/usr/bin/python3"
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(python).exists() or subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("GStreamer's RTSP server is not installed; scripts/servers.sh installs it where apt is")
    log = tmp_path / "camera.log"
    command = [python, str(HERE / "rtsp_server.py"), str(door_clip), CAMERA_USER, CAMERA_PASSWORD]
    process = servers.enter_context(running(command, log))
    port = wait_for(lambda: log.read_text().split("\n", 1)[0], 15, "the camera's port")
    return Camera(int(port), process)


@pytest.fixture
def redis_server(servers: ExitStack, tmp_path: Path) -> str:
    """URL of a redis-server with a password."""
    port = free_port()
    password = "p@ss:w/rd"
    options = ["--save", "", "--appendonly", "no", "--requirepass", password, "--bind", "127.0.0.1"]
    servers.enter_context(running([needs("redis-server"), "--port", str(port), *options], tmp_path / "redis.log"))
    wait_for(lambda: _accepts(port), 10, "redis-server")
    return f"redis://:{urllib.parse.quote(password, safe='')}@127.0.0.1:{port}/0"


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def prometheus(servers: ExitStack, tmp_path: Path) -> Callable[[int], str]:
    """Starts a Prometheus that scrapes a port of this machine every second; returns its address."""

    def start(target_port: int) -> str:
        port, config = free_port(), tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: gate, static_configs: [{{targets: ['127.0.0.1:{target_port}']}}]}}\n"
        )
        command = [
            needs("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        servers.enter_context(running(command, tmp_path / "prometheus.log"))
        return f"http://127.0.0.1:{port}"

    return start


@pytest.fixture
def gate_command() -> list[str]:
    """How a test starts the program as a user would."""
    return [sys.executable, "-m", "gate"]
