"""The gate under changing weather for a long time: its memory, threads and descriptors stay as they are."""

import os
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.reliability.clip import FPS, pictures
from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import Scenario, Seen, balance, drained, flowing
from benchmarks.reliability.world import World
from tests.capture.rtsp_camera import Conduct, encode, serving

FAMILY = "soak"
WEATHER_S = (1.0, 4.0)
CALM_S = (1.0, 6.0)
SAMPLE_S = 1.0
PARTS = 6
"""Parts of the run after each of which the row says what was needed: every ten minutes of an hour."""

CALM_AGAIN_S = 45.0
"""A camera that hangs while it is opened holds its thread until its time-outs are over."""

RSS_GROWTH_BYTES = 24_000_000
"""Decoders come and go in other places of the heap; as in scripts/camera_soak.py."""

RSS_GROWTH_SHARE = 0.05


@dataclass(frozen=True)
class Sample:
    """What the process needs at one moment."""

    rss_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "Sample":
        """As /proc tells it."""
        process = Path("/proc") / str(pid)
        pages = int((process / "statm").read_text(encoding="ascii").split()[1])
        threads, descriptors = (len(list((process / what).iterdir())) for what in ("task", "fd"))
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), threads, descriptors)


def scenarios(seconds: float) -> list[Scenario]:
    """One, of so many seconds."""
    expected = "all delivered; memory as in the second quarter, threads and descriptors as before the first fault"
    return [Scenario(FAMILY, f"{seconds:g} s of faults in turns", expected, partial(soak, seconds))]


def soak(seconds: float, world: World) -> Seen:
    """Faults of both connections come and go at random; what the process needs is sampled."""
    dice = random.Random(world.seed)
    server = world.redis()
    to_redis = world.stack.enter_context(Proxy(server.port))
    camera = world.stack.enter_context(serving(Conduct(encode(pictures(), fps=FPS))))
    to_camera = world.stack.enter_context(Proxy(camera.port, marker=b"PLAY"))
    cameras = [
        {
            "name": "door",
            "url": f"rtsp://127.0.0.1:{to_camera.port}/door",
            "read_timeout_s": 1.0,
            "open_timeout_s": 2.0,
        },
        {"name": "lobby", "url": str(world.clip), "loop": True},
    ]
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{to_redis.port}/0", cameras=cameras, redis={"max_events": 20_000})
    gate.start()
    flowing(witness, events=12)
    at_first = []
    for _ in range(20):
        at_first.append(Sample.of(gate.pid))
        time.sleep(0.1)
    faults = [fault for fault in Fault if fault not in {Fault.NONE, Fault.CORRUPT_REQUESTS}]
    began_s, samples, weathers = time.monotonic(), [], 0
    while time.monotonic() < began_s + seconds:
        for proxy, fault in ((dice.choice((to_redis, to_camera)), dice.choice(faults)), (None, Fault.NONE)):
            for each in (to_redis, to_camera):
                each.fault = fault if each is proxy else Fault.NONE
            weathers += proxy is not None
            until_s = time.monotonic() + dice.uniform(*(WEATHER_S if proxy else CALM_S))
            while time.monotonic() < min(until_s, began_s + seconds):
                samples.append(Sample.of(gate.pid))
                time.sleep(SAMPLE_S)
    flowing(witness)
    drained(gate)
    problem = _leftovers(gate.pid, at_first)
    gate.stop()
    seen = balance(gate, witness, server)
    seen.expect(not problem, problem)
    _judge(seen, samples)
    seen.notes.insert(0, f"{weathers} faults in {time.monotonic() - began_s:.0f} s")
    return seen


def _leftovers(pid: int, at_first: list[Sample]) -> str:
    """Threads and descriptors that are still there some time after the last fault; empty for none."""
    threads, descriptors = max(s.threads for s in at_first) + 1, max(s.descriptors for s in at_first) + 2
    deadline_s = time.monotonic() + CALM_AGAIN_S
    while (now := Sample.of(pid)).threads > threads or now.descriptors > descriptors:
        if time.monotonic() > deadline_s:
            return f"{now.threads} threads and {now.descriptors} descriptors, {threads} and {descriptors} at first"
        time.sleep(0.5)
    return ""


def _course(samples: list[Sample]) -> str:
    """What was needed at the start, after each sixth and at the end: every ten minutes of an hour."""
    last = len(samples) - 1
    each = [samples[last * part // PARTS] for part in range(PARTS + 1)]
    rss = ", ".join(f"{sample.rss_bytes / 1e6:.0f}" for sample in each)
    threads = ", ".join(str(sample.threads) for sample in each)
    descriptors = ", ".join(str(sample.descriptors) for sample in each)
    return f"from start to end in {PARTS} steps: {rss} MB, {threads} threads, {descriptors} descriptors"


def _judge(seen: Seen, samples: list[Sample]) -> None:
    quarter = max(len(samples) // 4, 1)
    second, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    before, after = (max(sample.rss_bytes for sample in part) for part in (second, last))
    room = max(RSS_GROWTH_BYTES, RSS_GROWTH_SHARE * before)
    threads, descriptors = max(s.threads for s in samples), max(s.descriptors for s in samples)
    seen.notes.append(_course(samples))
    seen.notes.append(
        f"memory {before / 1e6:.0f} MB in the second quarter, {after / 1e6:.0f} MB in the last; "
        f"at most {threads} threads and {descriptors} descriptors"
    )
    seen.expect(after <= before + room, f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB")
