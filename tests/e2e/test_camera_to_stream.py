import json
import re
import signal
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import redis
import yaml

from gate.faces.yunet import YuNetDetector
from gate.publish.event import FaceEvent, VisitEndEvent, decode
from gate.publish.jpeg import decode_crop
from gate.weights.zoo import Zoo
from tests.e2e.conftest import CAMERA_PASSWORD, CAMERA_USER, Camera, free_port, http_json, running, wait_for

pytestmark = pytest.mark.slow

ENOUGH_FACES = 3


def query(prometheus_url: str, expression: str) -> float | None:
    """The value of an instant query that has one series."""
    answer = http_json(f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    found = answer["data"]["result"] if answer else []
    return float(found[0]["value"][1]) if found else None


def read_stream(url: str) -> list[FaceEvent | VisitEndEvent]:
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange("facegate:faces")
    return [decode(fields) for _, fields in entries]


def write_config(folder: Path, camera: Camera, redis_url: str, http_port: int) -> Path:
    password = folder / "camera-password"
    password.write_text(f"{CAMERA_PASSWORD}\n")
    config = folder / "gate.yaml"
    sections = {
        "cameras": [
            {"name": "door", "url": camera.url, "username": CAMERA_USER, "password_file": str(password)},
        ],
        "redis": {"url": redis_url},
        "http": {"port": http_port},
    }
    config.write_text(yaml.safe_dump(sections))
    return config


def is_a_face(crop: np.ndarray[Any, Any], detector: YuNetDetector) -> bool:
    """Detected again, with room around it, as a detector trained on whole pictures wants it."""
    padded = cv2.copyMakeBorder(crop, 56, 56, 56, 56, cv2.BORDER_REPLICATE)
    return bool(detector.detect(np.ascontiguousarray(padded, dtype=np.uint8)))


def test_faces_go_from_a_camera_to_the_stream_and_the_counts_add_up(
    tmp_path: Path,
    rtsp_camera: Camera,
    redis_server: str,
    prometheus: Callable[[int], str],
    gate_command: list[str],
) -> None:
    port, summary_file = free_port(), tmp_path / "summary.json"
    config = write_config(tmp_path, rtsp_camera, redis_server, port)
    prometheus_url = prometheus(port)
    log = tmp_path / "gate.log"
    with running([*gate_command, "run", "-c", str(config), "--summary", str(summary_file)], log) as gate:
        wait_for(
            lambda: (
                (status := http_json(f"http://127.0.0.1:{port}/status"))
                and status["total"]["events"]["face"] >= ENOUGH_FACES
                and status["total"]["faces"]["rejected"] > 0
            ),
            120,
            "accepted and rejected faces",
        )
        scraped = wait_for(
            lambda: query(prometheus_url, 'sum(facegate_published_total{type="face"})'), 20, "a scrape by Prometheus"
        )
        scraped_frames = query(prometheus_url, 'sum(facegate_frames_total{camera="door"})')
        gate.send_signal(signal.SIGTERM)
        assert gate.wait(30) == 0

    written = log.read_text()
    summary = json.loads(summary_file.read_text())
    events = read_stream(redis_server)
    faces = [event for event in events if isinstance(event, FaceEvent)]
    ends = [event for event in events if isinstance(event, VisitEndEvent)]

    assert len(events) == summary["published"]
    assert 0 < scraped <= len(faces)
    assert scraped_frames is not None
    assert 0 < scraped_frames <= sum(summary["frames"].values())
    assert summary["faces"]["rejected"] == sum(summary["faces"]["reasons"].values()) > 0
    assert summary["faces"]["accepted"] > 0
    assert len(ends) == sum(summary["visits"].values())
    assert sum(end.accepted for end in ends) == summary["faces"]["accepted"]
    assert sum(sum(end.reasons_counts.values()) for end in ends) == summary["faces"]["rejected"]
    assert sum(end.published for end in ends) == len(faces)

    detector = YuNetDetector(Zoo().ensure("yunet"), min_score=0.5, nms_iou=0.3, max_side_px=640)
    seen_again = [is_a_face(decode_crop(face.crop), detector) for face in faces]
    assert sum(seen_again) >= 0.9 * len(seen_again)
    for secret in (CAMERA_PASSWORD, urllib.parse.quote(CAMERA_PASSWORD, safe=""), "p@ss:w/rd"):
        assert secret not in written


def test_a_file_played_fast_loses_no_frame_and_ends(
    tmp_path: Path, door_clip: Path, redis_server: str, gate_command: list[str]
) -> None:
    clip = tmp_path / "short.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(door_clip), "-c", "copy", "-t", "3", str(clip)], check=True)
    probe = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"]
    shown = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(clip)]
    frames = int(subprocess.run([*probe, *shown], check=True, capture_output=True, text=True).stdout)
    summary_file = tmp_path / "summary.json"
    options = ["--fast", "--until-eof", "--port", str(free_port()), "--summary", str(summary_file)]
    command = [*gate_command, "run", "--source", str(clip), "--redis", redis_server, *options]
    subprocess.run(command, check=True, timeout=180, capture_output=True)
    summary = json.loads(summary_file.read_text())
    assert summary["frames"] == {"processed": frames, "dropped": 0, "corrupt": 0}
    ends = [event for event in read_stream(redis_server) if isinstance(event, VisitEndEvent)]
    assert len(ends) == sum(summary["visits"].values()) > 0


def test_the_demo_accepts_and_rejects_faces_and_they_can_be_read_back(gate_command: list[str]) -> None:
    command = [*gate_command, "demo", "--seconds", "30", "--port", str(free_port())]
    done = subprocess.run(command, timeout=150, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* faces accepted, [1-9]\d* rejected \(.+\), \d+ not scored;", done.stdout)
    assert re.search(r"[1-9]\d* faces read back", done.stdout)
