"""The gate under changing weather for a long time: its memory, threads and descriptors stay as they are."""

import os
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.reliability.clip import FPS, pictures
from benchmarks.reliability.proxy import Fault, Proxy
from benchmarks.reliability.scenario import Scenario, Seen, balance, flowing
from benchmarks.reliability.world import World, until
from tests.capture.rtsp_camera import Conduct, encode, serving

FAMILY = "soak"
WEATHER_S = (1.0, 4.0)
CALM_S = (1.0, 6.0)
SAMPLE_S = 1.0
RSS_GROWTH_BYTES = 24_000_000
"""Decoders come and go in other places of the heap; what a camera soak of 64 cameras was measured to need."""

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
    expected = "all delivered; the last quarter needs no more memory, threads or descriptors than the second did"
    return [Scenario(FAMILY, f"{seconds:g} s of faults in turns", expected, partial(soak, seconds))]


def soak(seconds: float, world: World) -> Seen:
    """Faults of both connections come and go at random; what the process needs is sampled."""
    dice = random.Random(world.seed)
    server = world.redis()
    to_redis = world.stack.enter_context(Proxy(server.port))
    camera = world.stack.enter_context(serving(Conduct(encode(pictures(), fps=FPS))))
    to_camera = world.stack.enter_context(Proxy(camera.port, marker=b"PLAY"))
    cameras = [
        {"name": "door", "url": f"rtsp://127.0.0.1:{to_camera.port}/door", "read_timeout_s": 1.0, "open_timeout_s": 2.0},
        {"name": "lobby", "url": str(world.clip), "loop": True},
    ]
    witness = world.witness(server.url)
    gate = world.gate(f"redis://127.0.0.1:{to_redis.port}/0", cameras=cameras, redis={"max_events": 20_000})
    gate.start()
    flowing(witness, events=12)
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
    until(lambda: gate.redis.get("waiting_events") == 0, "an empty spool")
    gate.stop()
    seen = balance(gate, witness, server)
    _judge(seen, samples)
    seen.notes.insert(0, f"{weathers} faults in {time.monotonic() - began_s:.0f} s")
    return seen


def _judge(seen: Seen, samples: list[Sample]) -> None:
    quarter = max(len(samples) // 4, 1)
    second, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    for what in ("rss_bytes", "threads", "descriptors"):
        before, after = (max(getattr(sample, what) for sample in part) for part in (second, last))
        room = max(RSS_GROWTH_BYTES, RSS_GROWTH_SHARE * before) if what == "rss_bytes" else 2
        unit, name = (1e6, "MB") if what == "rss_bytes" else (1, what)
        seen.notes.append(f"{before / unit:.0f} then {after / unit:.0f} {name}")
        seen.expect(after <= before + room, f"{name} grew from {before / unit:.0f} to {after / unit:.0f}")
