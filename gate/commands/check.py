"""`gate check`: is everything there that `gate run` will need?"""

import argparse
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gate.commands.arguments import Subparsers
from gate.commands.run import add_source_arguments, config_of
from gate.errors import GateError, WeightsError

if TYPE_CHECKING:
    from gate.config import CameraConfig, GateConfig
    from gate.quality import QualityMethod
    from gate.quality.rung import Rung
    from gate.thresholds import Thresholds


def add_arguments(commands: Subparsers) -> None:
    """Add `gate check`."""
    parser = commands.add_parser("check", help="validate the configuration and probe cameras, Redis, device, weights")
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line a probe: what was tried, and what was found or what to do; exit code 1 on any fault."""
    from gate.observe.logging import configure
    from gate.thresholds import resolve

    # What libraries log while they are probed is not the answer; the lines below are.
    configure("error", "console")
    thresholds = resolve(config_of(args))
    config = thresholds.config
    print(f"ok    config: {len(config.cameras)} camera(s)")
    for found in thresholds.resolved:
        print(f"ok    camera {found.camera}: min_quality {found.quality:g}, {found.why}")
    faults = 0
    for name, probe in probes(config, thresholds):
        verdict, words = _try(probe)
        faults += verdict == "FAULT"
        print(f"{verdict:5} {name}: {words}", flush=True)
    print("everything is ready" if not faults else f"{faults} fault(s)")
    return 1 if faults else 0


def _try(probe: Callable[[], str]) -> tuple[str, str]:
    try:
        return "ok", probe()
    except GateError as error:
        return "FAULT", " ".join(str(error).splitlines())
    except Exception as error:  # noqa: BLE001 - the other probes are wanted all the same; the text may quote an address
        return "FAULT", f"failed unexpectedly ({type(error).__name__} at {_place(error)}). Please report it."


def _place(error: Exception) -> str:
    """File and line of what was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def probes(config: "GateConfig", thresholds: "Thresholds | None" = None) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is probed, in the order of the fix: libraries, weights, Redis, port, cameras."""
    yield "device", partial(_device, config)
    yield "detector", partial(_detector, config)
    methods = _Methods(config, thresholds)
    yield "method", methods.wanted
    for place in range(1, len(methods.rungs)):
        yield f"fallback {methods.rungs[place].name}", partial(methods.fallback, place)
    yield "redis", partial(_redis, config)
    yield "spool", partial(_spool, config)
    if config.http.enabled:
        yield "http", partial(_http, config)
    for camera in config.cameras:
        yield f"camera {camera.name}", partial(_camera, camera)


def _device(config: "GateConfig") -> str:
    from gate.quality.device import check_libraries, resolve_device

    return f"{resolve_device(config.quality.device)}, {check_libraries()}"


def _detector(config: "GateConfig") -> str:
    from gate.assembly import load_detector

    detector = load_detector(config)
    return f"{detector.name} on {detector.device}"


class _Methods:
    """The chain of quality methods, loaded by the first probe and looked at by the others."""

    def __init__(self, config: "GateConfig", thresholds: "Thresholds | None") -> None:
        self._config = config
        self._thresholds = thresholds
        self.rungs: tuple[Rung, ...] = ()

    def wanted(self) -> str:
        from gate.assembly import build_observer, check_weights, load_scorer
        from gate.clock import SystemClock

        clock = SystemClock()
        scorer = load_scorer(self._config, clock, build_observer(self._config, clock).pipeline)
        self.rungs = scorer.rungs
        first = self.rungs[0]
        if first.method is None:
            raise WeightsError(f"{_trouble(first)}; until then {scorer.name} scores in place of {first.name}")
        if self._thresholds is not None:
            check_weights(self._thresholds, scorer)
        return _in_order(first.method)

    def fallback(self, place: int) -> str:
        rung = self.rungs[place]
        if rung.method is not None:
            return _in_order(rung.method)
        if self._config.quality.has_default_fallback:
            return f"left out, for nobody asked for it: {_trouble(rung)}"
        raise WeightsError(_trouble(rung))


def _in_order(method: "QualityMethod") -> str:
    return f"{' with '.join(filter(None, (method.name, method.model)))} on {method.device}, passes its self-test"


def _trouble(rung: "Rung") -> str:
    return "" if rung.trouble is None else rung.trouble.problem


def _redis(config: "GateConfig") -> str:
    from contextlib import ExitStack

    from gate.clock import SystemClock
    from gate.delivery import build_sink, redis_address

    with ExitStack() as resources:
        sink = build_sink(config, redis_address(config, resources), SystemClock())
        resources.callback(sink.close)
        server = sink.check()
        sink.check_streams(camera.name for camera in config.cameras)
        return f"{server}, stream {config.redis.stream} can be written"


def _spool(config: "GateConfig") -> str:
    from gate.delivery import check_spool

    return check_spool(config)


def _http(config: "GateConfig") -> str:
    from gate.assembly import build_http, build_observer
    from gate.clock import SystemClock

    clock = SystemClock()
    server = build_http(config, build_observer(config, clock), clock)
    server.start()
    server.close()
    return f"{config.http.host}:{config.http.port} is free"


def _camera(camera: "CameraConfig") -> str:
    from gate.capture.factory import open_source_for
    from gate.capture.source import CorruptPictureError
    from gate.clock import SystemClock
    from gate.errors import CaptureError

    source = open_source_for(camera, SystemClock(), threading.Event(), listen=camera.listen)
    try:
        source.open()
        for _ in range(100):
            try:
                picture = source.read()
            except CorruptPictureError:
                continue
            if picture is None:
                break
            height_px, width_px = picture.image.shape[:2]
            return f"{source.label}, {width_px}x{height_px}"
    finally:
        source.close()
    raise CaptureError(f"{source.label}: opened, but no picture could be decoded. Is it a video stream?", cause="codec")
