"""The daemon itself, as `gate run` starts it, with cameras before it: what it sustains, what it takes."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gate.errors import GateError

SUSTAINED_SHARE = 0.98
"""Frames looked at, of those asked for, from which cameras count as sustained: a window's ends cost a frame each."""

_START_TIMEOUT_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Load:
    """What the gate was given."""

    clip: Path
    cameras: int
    fps: float
    """Analysed frames a second and camera."""

    seconds: float
    """How long it was watched, after it had run for a while."""

    settings: Mapping[str, Any]
    """Sections of the configuration beside `cameras`."""


@dataclass(frozen=True, slots=True)
class Run:
    """What it made of it."""

    cameras: int
    fps: float
    looked_at_share: float
    """Frames that were looked at, of those asked for."""

    cpu_ms_a_frame: float
    """Processor time of the whole gate, Redis left out, per frame looked at."""

    cores: float
    """Processor seconds a second."""

    latency_ms: Mapping[str, float | None]
    """p50, p95 and p99 from decode to Redis of each visit's first face, warm-up included."""

    peak_mb: float
    """Most resident memory, 10^6 bytes."""

    first_frame_s: float
    """From the start of the process to the first frame that was looked at."""

    faces: Mapping[str, Any]
    """Counts by verdict while it was watched and before."""

    @property
    def sustained(self) -> bool:
        """Whether it kept up."""
        return self.looked_at_share >= SUSTAINED_SHARE


def run_gate(load: Load) -> Run:
    """Start a gate, let it run warm, watch it, stop it.

    Raises:
        GateError: it does not start, or ends before it is asked to.
    """
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as folder:
        port = _free_port()
        file = Path(folder) / "gate.yaml"
        file.write_text(yaml.safe_dump(_config_of(load, port)), encoding="utf-8")
        log = Path(folder) / "log"
        with log.open("wb") as out:
            start_s = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "gate", "run", "-c", str(file)], stdout=out, stderr=out, cwd=folder
            )
            try:
                return _watched(process, port, load, start_s)
            except _EndedError:
                words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise GateError(f"the gate ended by itself: {words[-1] if words else 'no word'}") from None
            finally:
                _stop(process)


class _EndedError(Exception):
    """The process is no more."""


def _watched(process: "subprocess.Popen[bytes]", port: int, load: Load, start_s: float) -> Run:
    while _frames(_status(process, port)) == 0:
        if time.monotonic() - start_s > _START_TIMEOUT_S:
            raise GateError(f"the gate looked at no frame for {_START_TIMEOUT_S:g} s")
        time.sleep(0.05)
    first_frame_s = time.monotonic() - start_s
    time.sleep(min(3.0, load.seconds / 2))
    before, cpu_s, at_s = _status(process, port), _cpu_s(process.pid), time.monotonic()
    time.sleep(load.seconds)
    after, cpu_after_s, after_s = _status(process, port), _cpu_s(process.pid), time.monotonic()
    frames, passed_s = _frames(after) - _frames(before), after_s - at_s
    return Run(
        cameras=load.cameras,
        fps=load.fps,
        looked_at_share=frames / (load.cameras * load.fps * passed_s),
        cpu_ms_a_frame=1e3 * (cpu_after_s - cpu_s) / max(1, frames),
        cores=(cpu_after_s - cpu_s) / passed_s,
        latency_ms=after["total"]["latency_ms"],
        peak_mb=_peak_mb(process.pid),
        first_frame_s=first_frame_s,
        faces=after["total"]["faces"],
    )


def _config_of(load: Load, port: int) -> dict[str, Any]:
    camera = {"url": str(load.clip.resolve()), "loop": True, "max_fps": load.fps}
    cameras = [{"name": f"cam{number}", **camera} for number in range(load.cameras)]
    return {
        "redis": {"url": "embedded:"},
        "http": {"port": port},
        "log": {"format": "json"},
        **load.settings,
        "cameras": cameras,
    }


def _status(process: "subprocess.Popen[bytes]", port: int) -> dict[str, Any]:
    """The gate's own counts; none while it starts."""
    if process.poll() is not None:
        raise _EndedError
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=30) as answer:
            status: dict[str, Any] = json.load(answer)
    except (urllib.error.URLError, OSError):
        return {"total": {"frames": {"processed": 0}}}
    return status


def _frames(status: Mapping[str, Any]) -> int:
    return int(status["total"]["frames"]["processed"])


def _cpu_s(pid: int) -> float:
    """Processor seconds that a process and its threads have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), float("nan"))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
