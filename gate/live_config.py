"""Another configuration takes the place of the one in force, while the cameras that it leaves alone run on."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from gate.assembly import (
    build_camera_state,
    check_cameras,
    check_weights,
    describe_cameras,
    duplicate_book,
    load_baselines,
    load_duplicate_books,
    quality_bars,
)
from gate.baseline import Baseline
from gate.camera_set import CameraSet
from gate.clock import Clock
from gate.config import GateConfig
from gate.config_change import ConfigChange, compare
from gate.decide.duplicates import DuplicateBook
from gate.errors import ConfigError, GateError
from gate.observe.logging import set_level
from gate.observe.observer import Observer
from gate.pipeline import Pipeline
from gate.quality.fallback import FallbackMethod
from gate.thresholds import resolve

log = structlog.get_logger(__name__)

POLL_S = 0.1
"""How often who waits for the engine looks whether there still is one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a running gate follows the configuration."""

    cameras: CameraSet
    pipeline: Pipeline
    scorer: FallbackMethod
    observer: Observer
    new_id: Callable[[], str]
    """Names visits and events."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A change that was found possible: what is left to do cannot be refused."""

    config: GateConfig
    change: ConfigChange
    books: Mapping[str, DuplicateBook]
    baselines: Mapping[str, Baseline]


@dataclass(slots=True, eq=False)
class _Request:
    swap: Swap
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class LiveConfig:
    """The configuration in force, and the way to the next.

    What may fail or take long is done by the thread that asks; the engine only changes over, between two steps.

    Args:
        config: What the parts were built from.
        books: Its duplicate books.
        parts: What is changed.
        clock: Time of the sources.
        ends: Set when the gate ends, so that nobody waits for its engine any more.
    """

    def __init__(
        self,
        config: GateConfig,
        books: Mapping[str, DuplicateBook],
        parts: Parts,
        *,
        clock: Clock,
        ends: threading.Event,
    ) -> None:
        self.config = config
        self._books = books
        self._parts = parts
        self._clock = clock
        self._ends = ends
        self._one_at_a_time = threading.Lock()
        self._requests: deque[_Request] = deque()

    def change_to(self, config: GateConfig) -> ConfigChange:
        """Put another configuration in force; returns when the engine works with it.

        Raises:
            ConfigError: something differs that cannot change while the gate runs, an address can never be opened, or a
                bar cannot be had.
            GateError: weights that the new configuration needs cannot be had, or the gate ends.

        After an error the old configuration is in force, whole.
        """
        with self._one_at_a_time:
            thresholds = resolve(config)
            check_weights(thresholds, self._parts.scorer)
            config = thresholds.config
            change = compare(self.config, config)
            if change.refusal is not None:
                raise ConfigError(change.refusal)
            check_cameras(config, self._clock)
            books = load_duplicate_books(config, self._books)
            request = _Request(Swap(config, change, books, load_baselines(config)))
            self._requests.append(request)
            while not request.done.wait(POLL_S):
                if self._ends.is_set():
                    raise GateError("the gate ends; its configuration stays as it is")
        if request.error is not None:
            raise request.error
        return change

    def apply_waiting(self) -> None:
        """Change over, if somebody asks for it. For the engine's thread, between two steps."""
        if not self._requests:
            return
        request = self._requests.popleft()
        try:
            self._apply(request.swap)
        except Exception as error:  # noqa: BLE001 - told by whoever asked
            request.error = error
        request.done.set()

    def _apply(self, swap: Swap) -> None:
        cameras, pipeline, observer = self._parts.cameras, self._parts.pipeline, self._parts.observer
        config, change = swap.config, swap.change
        new = [camera for camera in config.cameras if camera.name in {*change.added, *change.restarted}]
        # First, for threads are all that can be refused from here on; they do nothing until they are admitted.
        started = cameras.start(new)
        states = {camera.name: build_camera_state(config, camera, self._parts.new_id, swap.books) for camera in new}
        for name in (*change.removed, *change.restarted):
            cameras.remove(name)
            pipeline.remove_camera(name)
        for name in change.removed:
            observer.forget_camera(name)
        for camera in config.cameras:
            if camera.name in states:
                observer.begin_camera(camera.name)
                pipeline.add_camera(camera.name, states[camera.name])
            else:
                # Also those whose rules are the same: another camera may have brought their group its book.
                book = duplicate_book(config, camera, swap.books)
                pipeline.change_camera(camera.name, config.rules_of(camera), camera.zones, book)
        self._parts.scorer.decide_at(quality_bars(config))
        describe_cameras(observer, config)
        observer.drift.follow(swap.baselines)
        if change.log_level:
            set_level(config.log.level)
        self.config, self._books = config, swap.books
        cameras.admit(started)
