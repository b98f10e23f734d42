"""Each leg of a frame's way by itself: time, and the least time that its operations and bytes would take."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from gate.assembly import load_detector, open_zoo
from gate.bench.ceilings import Ceilings
from gate.bench.clip import first_frames, open_clip
from gate.bench.measure import Spread, Timing, timed
from gate.capture.source import Picture
from gate.clock import SystemClock
from gate.config import GateConfig
from gate.errors import GateError
from gate.faces.align import align
from gate.inference import Backend, engine_for
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import FaceEvent
from gate.publish.jpeg import encode_crop
from gate.publish.redis_sink import RedisSink
from gate.publish.ulid import UlidFactory
from gate.quality import load_method
from gate.quality.device import set_cpu_threads
from gate.quality.regressor import Regressor
from gate.quality.signals import measure
from gate.types import CROP_SIDE_PX, Face, Image

BATCHES = (1, 8, 32)

_CROP_BYTES = CROP_SIDE_PX * CROP_SIDE_PX * 3

_YUNET_OPERATIONS_A_PIXEL = 1681.0
"""Two for each multiplication of YuNet 2023mar's convolutions, counted in its ONNX file: 344 million at 640x640."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """One line of the table."""

    stage: str
    per: str
    """What one piece is: a frame, a face, an event."""

    timing: Timing

    floor_ms: float
    """The least time that its operations and bytes would take one core; see `floor_is`."""

    floor_is: str

    @property
    def over_floor(self) -> float:
        """Processor time a piece in floors."""
        return self.timing.cpu_ms.median / self.floor_ms if self.floor_ms > 0 else float("nan")


def measure_stages(
    config: GateConfig, clip: Path, methods: Sequence[str], ceilings: Ceilings, *, repeats: int, quick: bool
) -> Iterator[StageTime]:
    """Measure every stage on the frames of a film; yields lines as they are done.

    Raises:
        GateError: a part is missing, or the film shows no face.
    """
    yield from _decoding(clip, ceilings, most=40 if quick else 250)
    frames = first_frames(clip, 25 if quick else 100)
    set_cpu_threads(1)
    detector = load_detector(config)
    found: list[tuple[Image, Face]] = []
    for frame in frames:
        found += [(frame, face) for face in detector.detect(frame)]
    for backend in _backends(config, ("openvino", "torch") if config.detector.name == "yunet" else ()):
        yield _detection(config, backend, frames, ceilings, repeats)
    if not found:
        raise GateError(f"{clip}: no face in its first {len(frames)} frames; give a film that shows people.")
    crops = np.concatenate([align(frame, face.landmarks[None]) for frame, face in found[:32]])
    frame, face = found[0]
    moved = 5 * _CROP_BYTES
    timing = timed(lambda: align(frame, face.landmarks[None]), repeats=repeats)
    yield StageTime("align", "face", timing, ceilings.floor_ms(8 * _CROP_BYTES, moved), "4 pixels read, 1 written")
    timing = timed(lambda: measure(face, crops[0]), repeats=repeats)
    yield StageTime("signals", "face", timing, ceilings.floor_ms(0, _CROP_BYTES), "the crop read once")
    for name in methods:
        yield from _scoring(config, name, crops, ceilings, repeats=repeats, batches=(1, 8) if quick else BATCHES)
    timing = timed(lambda: encode_crop(crops[0], 95), repeats=repeats)
    yield StageTime("encode", "face", timing, ceilings.floor_ms(0, _CROP_BYTES), "the crop read once")
    yield _publishing(encode_crop(crops[0], 95), repeats)


def _backends(config: GateConfig, known: Sequence[Backend]) -> list[Backend]:
    """What to time: the configured one, or where it chooses itself all that are here, the chosen one first."""
    if config.backend != "auto":
        return [config.backend]
    chosen: Backend = engine_for("auto") or "torch"
    others = [backend for backend in known if backend != chosen and (backend != "openvino" or engine_for("auto"))]
    return [chosen, *others] if known else ["torch"]


def _decoding(clip: Path, ceilings: Ceilings, most: int) -> Iterator[StageTime]:
    pixels = math.prod(first_frames(clip, 1)[0].shape[:2])
    source = open_clip(clip)
    wall_ms, cpu_ms = [], []
    picture: Picture | None = None
    try:
        # By tens: the decoder's threads work ahead, and key frames take longer.
        for _ in range(max(2, most // 10)):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            pictures = [one for one in (source.read() for _ in range(10)) if one is not None]
            if pictures:
                wall_ms.append(1e3 * (time.perf_counter() - wall_s) / len(pictures))
                cpu_ms.append(1e3 * (time.process_time() - cpu_s) / len(pictures))
                picture = pictures[-1]
        timing = Timing(Spread.of(wall_ms), Spread.of(cpu_ms))
        yield StageTime("decode", "frame", timing, ceilings.floor_ms(0, pixels * 1.5), "YUV written")
        if picture is not None:
            timing = timed(lambda: picture.image, repeats=9)
            yield StageTime("to RGB", "frame looked at", timing, ceilings.floor_ms(0, pixels * 4.5), "YUV to RGB")
    finally:
        source.close()


def _detection(
    config: GateConfig, backend: Backend, frames: Sequence[Image], ceilings: Ceilings, repeats: int
) -> StageTime:
    detect = load_detector(config.model_copy(update={"backend": backend})).detect
    some = frames[:: max(1, len(frames) // 8)]
    timing = timed(lambda: [detect(frame) for frame in some], pieces=len(some), repeats=repeats)
    return StageTime(
        f"detect, {'opencv' if backend in {'torch', 'onnxruntime'} else backend}",
        "frame",
        timing,
        ceilings.floor_ms(_detector_operations(config, frames[0]), 2 * frames[0].nbytes),
        "its multiplications at the ceiling",
    )


def _detector_operations(config: GateConfig, frame: Image) -> float:
    """Operations of the detector's network at the size it looks at; 0 where they are not known."""
    if config.detector.name != "yunet":
        return 0.0
    height, width = frame.shape[:2]
    scale = min(1.0, config.detector.max_side_px / max(height, width))
    return float(_YUNET_OPERATIONS_A_PIXEL * height * width * scale * scale)


def _scoring(
    config: GateConfig, name: str, crops: Image, ceilings: Ceilings, *, repeats: int, batches: Sequence[int]
) -> Iterator[StageTime]:
    entry = {chosen.method: chosen for chosen in config.quality.chain}.get(name)
    options = {} if entry is None else {"backbone": entry.backbone, "weights": entry.weights, **entry.options}
    zoo = open_zoo(config)
    counter: Any = FlopCounterMode(display=False)
    on_torch = load_method(name, device="cpu", zoo=zoo, **options)
    with counter:
        on_torch.raw(crops[:1])
    operations = float(counter.get_total_flops())
    known: tuple[Backend, ...] = ("openvino", "onnxruntime", "torch")
    for backend in _backends(config, known if isinstance(on_torch, Regressor) else ()):
        method = load_method(name, device="cpu", zoo=zoo, backend=backend, **options)
        for batch in batches:
            some = np.resize(crops, (batch, *crops.shape[1:]))
            timing = timed(lambda some=some, method=method: method.raw(some), pieces=batch, repeats=repeats)  # type: ignore[misc]
            floor_ms = ceilings.floor_ms(operations, _CROP_BYTES)
            stage = f"score {name}, {backend}, batch {batch}"
            yield StageTime(stage, "face", timing, floor_ms, "its multiplications at the ceiling")


def _publishing(crop: bytes, repeats: int) -> StageTime:
    import redis

    ids = UlidFactory(SystemClock()).new
    with EmbeddedRedis() as server:
        sink = RedisSink(server.url, clock=SystemClock(), max_events=1000)
        with redis.Redis.from_url(server.url) as client:
            ping = timed(client.ping, repeats=repeats)
        try:
            timing = timed(lambda: sink.send([_an_event(ids, crop)]), repeats=repeats)
        finally:
            sink.close()
    return StageTime("publish", "event", timing, ping.cpu_ms.median, "a PING to the same server")


def _an_event(ids: Callable[[], str], crop: bytes) -> FaceEvent:
    return FaceEvent(
        event_id=ids(),
        camera="bench",
        visit=ids(),
        seq=0,
        final=False,
        captured_ms=0,
        width=1920,
        height=1080,
        box=(0.0, 0.0, 100.0, 100.0),
        landmarks=(0.0,) * 10,
        det_score=0.9,
        quality=50.0,
        raw=0.5,
        method="bench",
        model="bench",
        signals={"sharpness": 50.0},
        crop=crop,
    )
