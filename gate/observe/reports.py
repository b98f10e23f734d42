"""The narrow doors of the observer: one for each room that reports.

Each has its own, because the same word means different things in different rooms: capture drops frames that are late,
the publisher drops events that nobody may lose.
"""

from typing import Any

from gate.clock import Clock
from gate.observe.redaction import scrub_text
from gate.observe.sinks import Sinks
from gate.observe.table import OTHER, Outcome, Stage, VisitResult, plain
from gate.reasons import FallbackCause, Reason, Shed


class CaptureReport:
    """What capture reports; called from the cameras' threads."""

    def __init__(self, sinks: Sinks) -> None:
        self._to = sinks

    def up(self, camera: str) -> None:
        """The camera delivers."""
        self._to.metrics.camera_up(camera, up=True)
        self._to.tally.camera(camera, "up")
        self._to.health.set_camera(camera, ok=True)
        if self._to.changes.recovered(f"camera {camera}"):
            self._to.log.info("camera_up", camera=camera)
        self._to.feed.tell("camera_up", camera=camera)

    def lost(self, camera: str, cause: str, message: str) -> None:
        """The camera could not be opened or was lost; `cause` is one word of a closed set."""
        cause = plain(cause)
        self._to.metrics.camera_up(camera, up=False)
        self._to.metrics.reconnect(camera, cause)
        self._to.tally.camera(camera, "lost", cause)
        self._to.health.set_camera(camera, ok=False, reason=cause)
        if times := self._to.changes.failed(f"camera {camera}", cause):
            self._to.log.warning("camera_lost", camera=camera, cause=cause, times=times, problem=message)
            self._to.feed.tell("camera_lost", camera=camera, cause=cause)

    def frame(self, camera: str, captured_ms: int) -> None:
        """A frame was decoded at this Unix time in milliseconds."""
        self._to.metrics.last_frame(camera, captured_ms)
        self._to.tally.decoded(camera, captured_ms)

    def dropped(self, camera: str, n: int = 1) -> None:
        """Frames were decoded and not analysed: a newer one was there, or `max_fps` left them out."""
        self._to.metrics.frames(camera, Outcome.DROPPED, n)
        self._to.tally.frames(camera, Outcome.DROPPED, n)

    def corrupt(self, camera: str) -> None:
        """A frame could not be decoded."""
        self._to.metrics.frames(camera, Outcome.CORRUPT)
        self._to.tally.frames(camera, Outcome.CORRUPT)

    def changed(self, camera: str, change: str, detail: str) -> None:
        """Something is different in the stream; `change` is one word of a closed set."""
        change = plain(change)
        self._to.metrics.stream_change(camera, change)
        # Counted as a trouble that goes on: a camera whose clock jumps with every picture must not fill the log.
        if times := self._to.changes.failed(f"stream of {camera}", change):
            self._to.log.warning("camera_changed", camera=camera, change=change, times=times, detail=detail)

    def ended(self, camera: str) -> None:
        """A file came to its end; that is no fault."""
        self._to.metrics.camera_up(camera, up=False)
        self._to.tally.camera(camera, "ended")
        self._to.health.forget_camera(camera)
        self._to.log.info("camera_ended", camera=camera)
        self._to.feed.tell("camera_ended", camera=camera)


class PublishReport:
    """What the publisher reports; called from its thread."""

    def __init__(self, sinks: Sinks) -> None:
        self._to = sinks

    def published(self, camera: str, type: str, capture_to_publish_s: float, publish_s: float) -> None:  # noqa: A002 - the event's own field name
        """Redis acknowledged an event of type `face` or `visit_end`."""
        self._to.metrics.published(camera, type, capture_to_publish_s=capture_to_publish_s, publish_s=publish_s)
        self._to.metrics.stage(Stage.PUBLISH, publish_s)
        self._to.tally.published(camera, type, capture_to_publish_s)

    def connected(self) -> None:
        """Redis answers."""
        self._to.tally.redis("connected")
        self._to.health.set("redis", ok=True)
        if self._to.changes.recovered("redis"):
            self._to.log.info("redis_connected")
            self._to.feed.tell("redis_connected")

    def failed(self, cause: str, message: str) -> None:
        """Redis refused or could not be reached; `cause` is one word of a closed set, the message says what to do."""
        cause = plain(cause)
        self._to.tally.redis("away", cause)
        self._to.health.set("redis", ok=False, reason=cause)
        if times := self._to.changes.failed("redis", cause):
            self._to.log.warning("redis_away", cause=cause, times=times, problem=message)
            self._to.feed.tell("redis_away", cause=cause)

    def dropped(self, reason: str, n: int = 1) -> None:
        """Accepted events were lost before Redis had them."""
        reason = plain(reason)
        self._to.metrics.spool_dropped(reason, n)
        self._to.tally.lost(reason, n)
        if times := self._to.changes.failed("events", reason):
            self._to.log.warning("events_lost", reason=reason, times=times)
            self._to.feed.tell("events_lost", reason=reason)

    def spool_failed(self, cause: str, message: str) -> None:
        """The disk keeps nothing: accepted events wait in memory; `cause` is one word of a closed set."""
        cause = plain(cause)
        self._to.metrics.spool_durable(durable=False)
        self._to.health.note("spool", f"accepted faces wait in memory alone: {cause}")
        if times := self._to.changes.failed("spool", cause):
            self._to.log.warning("spool_away", cause=cause, times=times, problem=message)

    def spool_kept(self) -> None:
        """Everything that waits for Redis is on the disk."""
        self._to.metrics.spool_durable(durable=True)
        self._to.health.note("spool", None)
        if self._to.changes.recovered("spool"):
            self._to.log.info("spool_on_disk")

    def depth(self, events: int, bytes: int) -> None:  # noqa: A002 - named as the metric spool_bytes
        """What waits for Redis now."""
        self._to.metrics.spool(events=events, size_bytes=bytes)
        self._to.tally.waiting(events, bytes)


class PipelineReport:
    """What the engine reports; called from its thread."""

    def __init__(self, sinks: Sinks) -> None:
        self._to = sinks

    def turned(self) -> None:
        """The engine's loop has turned, with or without a frame."""
        self._to.health.beat("engine")

    def alive(self) -> None:
        """A part of a batch is scored."""
        self._to.health.beat("engine")
        self._to.health.progress()

    def allow(self, seconds: float) -> None:
        """The engine may take so long between two signs of life: one crop alone takes a slow method that long."""
        self._to.health.allow("engine", seconds)

    def stopped(self) -> None:
        """The engine's loop ends on purpose."""
        self._to.health.retire("engine")

    def processed(self, camera: str, age_s: float) -> None:
        """The engine took a frame of this age."""
        self._to.health.progress()
        self._to.metrics.frames(camera, Outcome.PROCESSED)
        self._to.metrics.frame_age(camera, age_s)
        self._to.tally.frames(camera, Outcome.PROCESSED)

    def still(self, camera: str) -> None:
        """A frame was not searched: it showed what an empty one had shown."""
        self._to.metrics.still(camera)

    def stage(self, stage: Stage | str, seconds: float) -> None:
        """One call of one stage took this long."""
        self._to.metrics.stage(stage, seconds)

    def broken(self, camera: str) -> None:
        """A frame was taken but could not be analysed; it counts as dropped, so that the sum of frames stays whole."""
        self._to.metrics.frames(camera, Outcome.DROPPED)
        self._to.tally.frames(camera, Outcome.DROPPED)

    def batch(self, faces: int) -> None:
        """So many faces were scored at once."""
        self._to.metrics.batch(faces)

    def scored(self, *, ok: bool) -> None:
        """A batch was scored, or the quality method failed."""
        self._to.health.set("method", ok=ok, reason="scoring fails")

    def face(
        self,
        camera: str,
        *,
        accepted: bool,
        reason: Reason | str,
        quality: float | None,
        method: str,
        sample: bool = True,
    ) -> None:
        """A face was judged.

        Args:
            camera: name of the camera.
            accepted: the verdict.
            reason: the decisive reason, empty when accepted.
            quality: calibrated, 0..100; None when a cheap check rejected the face before scoring.
            method: the method that scored, empty when none did.
            sample: whether its quality stands for what the camera sees: the drift is told of no other.
        """
        decisive = _decisive(reason)
        self._to.metrics.face(camera, accepted=accepted, reason=decisive)
        if quality is not None:
            self._to.metrics.quality(camera, method, quality)
            if sample:
                self._to.drift.face(camera, method, quality)
        self._to.tally.face(camera, accepted=accepted, reason=decisive, quality=quality)
        self._to.hour.face(camera, accepted=accepted, reason=decisive, quality=quality)

    def unscored(self, camera: str) -> None:
        """A face was left out: a score of it could not have changed what is published."""
        self._to.metrics.unscored(camera)
        self._to.tally.unscored(camera)
        self._to.hour.unscored(camera)

    def visit(self, camera: str, result: VisitResult | str, *, best_quality: float | None = None) -> None:
        """A visit ended: `published`, or `unusable` when no face of it was; None where no face was worth scoring."""
        result = VisitResult(result)
        self._to.metrics.visit(camera, result)
        self._to.tally.visit(camera, result)
        self._to.hour.visit(camera, best_quality)
        shown = None if best_quality is None else round(best_quality, 1)
        self._to.feed.tell("visit", camera=camera, result=result.value, best_quality=shown)

    def method_active(self, name: str) -> None:
        """This quality method is loaded and in use."""
        self._to.metrics.method_active(name)
        self._to.tally.method(name)
        self._to.health.set("method", ok=True)
        self._to.log.info("quality_method_active", method=name)

    def switched(self, cause: FallbackCause, *, method: str, instead_of: str, device: str, problem: str) -> None:
        """From now on `method` scores on `device` in place of `instead_of`, or of itself on a device that failed."""
        self._to.metrics.fallback(cause.value)
        self._to.tally.fallback(cause.value)
        if method != instead_of:
            self._to.metrics.method_active(method)
            self._to.tally.method(method)
        self._to.log.warning(
            "quality_method_switched",
            cause=cause.value,
            method=method,
            instead_of=instead_of,
            device=device,
            problem=problem,
        )
        self._to.feed.tell("method", method=method, instead_of=instead_of, cause=cause.value)

    def returned(self, *, method: str, instead_of: str, device: str) -> None:
        """A better method, or a method's own device, has proved itself and scores again."""
        self._to.metrics.method_active(method)
        self._to.tally.method(method)
        self._to.log.info("quality_method_returned", method=method, instead_of=instead_of, device=device)
        self._to.feed.tell("method", method=method, instead_of=instead_of, cause="")

    def not_ready(self, method: str, problem: str) -> None:
        """A method that is not needed yet could not be used if it were."""
        self._to.log.info("fallback_method_not_ready", method=method, problem=problem)

    def fallback(self, cause: FallbackCause, problem: str = "") -> None:
        """The gate went a weaker way for once; the problem says what was wrong, empty where the cause says it all."""
        self._to.metrics.fallback(cause.value)
        self._to.tally.fallback(cause.value)
        if times := self._to.changes.failed("fallback", cause.value):
            # A second opinion is asked for on purpose.
            tell = self._to.log.info if cause is FallbackCause.BORDERLINE else self._to.log.warning
            tell("fallback", cause=cause.value, times=times, **({"problem": problem} if problem else {}))

    def shedding(self, what: Shed, *, on: bool, lost_share: float) -> None:
        """From now on the engine, which cannot keep up with its cameras, leaves this out; or does it again."""
        self._to.metrics.shedding(what, on=on)
        self._to.tally.shedding(what.value, on=on)
        tell = self._to.log.warning if on else self._to.log.info
        tell("load_shedding", what=what.value, on=on, frames_lost=f"{lost_share:.0%}")

    def shed(self, what: Shed, count: int) -> None:
        """So much was left out."""
        self._to.metrics.shed(what, count)
        self._to.tally.shed(what.value, count)


class ConfigReport:
    """What becomes of the configuration file; called from the thread that reads it again."""

    def __init__(self, sinks: Sinks, clock: Clock) -> None:
        self._to = sinks
        self._clock = clock
        self._loaded_ms = clock.unix_ms()
        self._problem: str | None = None
        self._to.metrics.config_loaded(self._loaded_ms)

    def reloaded(self, names: dict[str, list[str]]) -> None:
        """Another configuration is in force; `names` says whom it added, removed and changed."""
        self._loaded_ms, self._problem = self._clock.unix_ms(), None
        self._to.metrics.config_loaded(self._loaded_ms)
        self._to.health.note("config", None)
        self._to.log.info("config_reloaded", **names)
        self._to.feed.tell("config_reloaded")

    def kept(self, problem: str) -> None:
        """The file cannot be used, for a problem of one or more lines: what was in force goes on."""
        self._problem = scrub_text("; ".join(problem.splitlines()))
        self._to.metrics.config_kept()
        self._to.health.note("config", f"the file was not taken over: {self._problem}")
        self._to.log.warning("config_kept", problem=self._problem)
        self._to.feed.tell("config_kept", problem=self._problem)

    def status(self) -> dict[str, Any]:
        """When the configuration in force was loaded, and what is wrong with the file since."""
        return {"loaded_ms": self._loaded_ms, "problem": self._problem}


def _decisive(reason: Reason | str) -> str:
    """The reason as metrics write it; what is not in the list is `other`, so that sums by reason stay whole."""
    if reason == "":
        return ""
    try:
        return Reason(reason).value
    except ValueError:
        return OTHER
