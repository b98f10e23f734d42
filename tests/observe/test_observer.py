import math
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gate.observe.changes import Changes
from gate.observe.observer import Observer
from gate.reasons import FallbackCause, Reason, Shed

if TYPE_CHECKING:
    # For the type checker alone: whether the doors fit is its question, and the engine's import takes seconds.
    from gate.capture.camera import CaptureObserver
    from gate.pipeline_parts import PipelineReport as EngineReport
    from gate.publish.publisher import PublishObserver


class Clock(Protocol):
    def monotonic_s(self) -> float: ...

    def unix_ms(self) -> int: ...

    def advance(self, seconds: float) -> None: ...


class Lines:
    """A log that remembers."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def info(self, event: str, **values: Any) -> None:
        self.written.append({"event": event, **values})

    def warning(self, event: str, **values: Any) -> None:
        self.written.append({"event": event, **values})


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def observer(fake_clock: Clock, lines: Lines) -> Observer:
    observer = Observer(fake_clock, log=lines)
    observer.add_camera("door")
    return observer


def scraped(observer: Observer, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(observer.metrics.render()[0].decode())
        for sample in family.samples
        if sample.name == f"facegate_{name}" and labels.items() <= sample.labels.items()
    )


def test_the_doors_fit_the_rooms_that_report(observer: Observer) -> None:
    capture: CaptureObserver = observer.capture
    publish: PublishObserver = observer.publish
    engine: EngineReport = observer.pipeline
    capture.dropped("door", 2)
    publish.dropped("overflow", 3)
    engine.batch(4)
    assert scraped(observer, "frames_total", camera="door", outcome="dropped") == 2
    assert scraped(observer, "spool_dropped_total", reason="overflow") == 3
    assert scraped(observer, "batch_faces_sum") == 4


def test_metrics_and_summary_tell_the_same(observer: Observer) -> None:
    for _ in range(5):
        observer.pipeline.processed("door", 0.05)
    observer.capture.dropped("door", 2)
    observer.capture.corrupt("door")
    observer.pipeline.broken("door")
    observer.pipeline.face("door", accepted=True, reason="", quality=80.0, method="serfiq")
    observer.pipeline.face("door", accepted=False, reason=Reason.YAW, quality=None, method="")
    observer.pipeline.face("door", accepted=False, reason="nonsense", quality=9.0, method="serfiq")
    observer.pipeline.unscored("door")
    observer.pipeline.visit("door", "published")
    observer.publish.published("door", "face", 0.25, 0.001)
    observer.publish.published("door", "visit_end", math.nan, 0.001)
    summary = observer.tally.summary()
    for outcome, count in {"processed": 5, "dropped": 3, "corrupt": 1}.items():
        assert summary["frames"][outcome] == scraped(observer, "frames_total", outcome=outcome) == count
    assert summary["faces"] == {"accepted": 1, "rejected": 2, "unscored": 1, "reasons": {"other": 1, "yaw": 1}}
    assert scraped(observer, "faces_total") == 4
    assert scraped(observer, "faces_total", verdict="unscored", reason="") == 1
    assert scraped(observer, "faces_total", verdict="rejected") == 2
    assert scraped(observer, "quality_count", camera="door", method="serfiq") == 2
    assert summary["visits"]["published"] == scraped(observer, "visits_total", result="published") == 1
    assert summary["published"] == scraped(observer, "published_total") == 2
    assert summary["latency_ms"]["p50"] == 250.0
    assert scraped(observer, "capture_to_publish_seconds_count") == 1
    assert scraped(observer, "publish_seconds_count") == 2


def test_a_lost_camera_shows_everywhere_and_its_recovery_too(observer: Observer, lines: Lines) -> None:
    observer.capture.up("door")
    observer.capture.frame("door", 1_700_000_000_000)
    observer.capture.lost("door", "timeout", "rtsp://door did not answer")
    assert scraped(observer, "camera_up", camera="door") == 0
    assert scraped(observer, "reconnects_total", camera="door", cause="timeout") == 1
    assert observer.status()["cameras"]["door"]["state"] == "lost"
    assert "camera door: timeout" in observer.status()["reasons"]
    observer.capture.up("door")
    assert scraped(observer, "camera_up", camera="door") == 1
    assert "camera door: timeout" not in observer.status()["reasons"]
    assert lines.written == [
        {"event": "camera_up", "camera": "door"},
        {
            "event": "camera_lost",
            "camera": "door",
            "cause": "timeout",
            "times": 1,
            "problem": "rtsp://door did not answer",
        },
        {"event": "camera_up", "camera": "door"},
    ]


def test_a_file_that_ended_is_no_fault(observer: Observer) -> None:
    observer.pipeline.method_active("serfiq")
    observer.publish.connected()
    observer.capture.up("door")
    observer.capture.ended("door")
    assert observer.health.ready() == (True, [])
    assert observer.status()["cameras"]["door"]["state"] == "ended"


def test_a_day_without_redis_takes_a_few_lines(observer: Observer, lines: Lines) -> None:
    observer.publish.connected()
    for _ in range(8640):
        observer.publish.failed("refused", "redis://h refused")
    assert observer.health.ready()[1][-2:] == ["redis: refused", "camera door: connecting"]
    assert [line["times"] for line in lines.written[1:]] == [2**power for power in range(14)]
    assert lines.written[1] == {"event": "redis_away", "cause": "refused", "times": 1, "problem": "redis://h refused"}
    observer.publish.connected()
    observer.publish.connected()
    assert [line["event"] for line in lines.written].count("redis_connected") == 2


def test_the_engine_lives_while_it_turns(observer: Observer, fake_clock: Clock) -> None:
    observer.pipeline.alive()
    fake_clock.advance(60)
    assert not observer.health.alive()[0]
    observer.pipeline.allow(90.0)
    assert observer.health.alive()[0]
    fake_clock.advance(60)
    assert not observer.health.alive()[0]
    observer.pipeline.stopped()
    assert observer.health.alive()[0]


def test_the_method_in_use_is_shown_and_needed(observer: Observer) -> None:
    assert "method: starting" in observer.status()["reasons"]
    observer.pipeline.method_active("serfiq")
    observer.pipeline.fallback(FallbackCause.NOT_FINITE)
    assert observer.status()["method"] == "serfiq"
    assert scraped(observer, "method_active", method="serfiq") == 1
    assert scraped(observer, "fallback_total", cause="not_finite") == 1


def test_a_file_that_is_not_taken_over_is_told_without_its_secrets(observer: Observer, lines: Lines) -> None:
    assert scraped(observer, "config_reload_success") == 1
    loaded_s = scraped(observer, "config_last_reload_timestamp_seconds")
    assert loaded_s > 0
    observer.config.kept("gate.yaml: bad\ngate.yaml: rtsp://u:hunter2@door.lan/live")
    assert scraped(observer, "config_reload_success") == 0
    assert scraped(observer, "config_last_reload_timestamp_seconds") == loaded_s
    status = observer.status()
    assert status["config"]["problem"] == "gate.yaml: bad; gate.yaml: rtsp://door.lan"
    assert "config: the file was not taken over: gate.yaml: bad" in status["reasons"][-1]
    assert "hunter2" not in str(status)
    observer.config.reloaded({"added": ["lobby"]})
    assert [line["event"] for line in lines.written] == ["config_kept", "config_reloaded"]
    assert lines.written[-1]["added"] == ["lobby"]
    assert scraped(observer, "config_reload_success") == 1
    assert observer.status()["config"]["problem"] is None


def test_a_camera_that_begins_anew_is_connecting_and_keeps_its_counts(observer: Observer) -> None:
    observer.add_camera("door")
    observer.capture.up("door")
    observer.pipeline.processed("door", 0.1)
    observer.begin_camera("door")
    assert observer.status()["cameras"]["door"]["state"] == "connecting"
    assert scraped(observer, "camera_up", camera="door") == 0
    assert scraped(observer, "frames_total", camera="door", outcome="processed") == 1
    assert "camera door: connecting" in observer.status()["reasons"]


def test_a_removed_camera_disappears_but_its_counts_stay(observer: Observer) -> None:
    observer.pipeline.processed("door", 0.1)
    observer.forget_camera("door")
    observer.pipeline.processed("door", 0.1)
    observer.capture.lost("door", "timeout", "late")
    assert observer.status()["cameras"] == {}
    assert scraped(observer, "frames_total") == 0
    assert observer.tally.summary()["frames"]["processed"] == 2
    assert not any("door" in reason for reason in observer.health.ready()[1])


def test_another_cause_is_news_at_once(fake_clock: Clock) -> None:
    changes = Changes(fake_clock)
    told = [changes.failed("camera door", cause) for cause in ("timeout", "timeout", "timeout", "auth", "timeout")]
    assert told == [1, 2, 0, 1, 4]


def test_a_camera_that_comes_and_goes_falls_silent(fake_clock: Clock) -> None:
    changes = Changes(fake_clock, stable_s=60)
    lines = 0
    for _ in range(1000):
        lines += bool(changes.failed("camera door", "timeout"))
        fake_clock.advance(5)
        lines += changes.recovered("camera door")
        fake_clock.advance(5)
    assert lines == 20


def test_after_a_stable_time_the_next_failure_is_the_first_again(fake_clock: Clock) -> None:
    changes = Changes(fake_clock, stable_s=60)
    for _ in range(3):
        changes.failed("camera door", "timeout")
    changes.recovered("camera door")
    fake_clock.advance(60)
    assert changes.failed("camera door", "timeout") == 1


def test_a_switch_of_methods_shows_everywhere(observer: Observer, lines: Lines) -> None:
    observer.tally.know_methods(["regressor", "serfiq"])
    observer.pipeline.method_active("regressor")
    tell = observer.pipeline.switched
    tell(FallbackCause.WEIGHTS, method="serfiq", instead_of="regressor", device="cpu", problem="not here")
    assert scraped(observer, "method_active", method="serfiq") == 1
    assert scraped(observer, "method_active", method="regressor") == 0
    assert scraped(observer, "fallback_total", cause="weights") == 1
    assert observer.status()["method"] == "serfiq"
    assert observer.status()["fallbacks"] == {"weights": 1}
    observer.pipeline.returned(method="regressor", instead_of="serfiq", device="cpu")
    assert scraped(observer, "method_active", method="regressor") == 1
    assert scraped(observer, "fallback_total") == 1
    assert observer.status()["method"] == "regressor"
    assert observer.status()["methods"] == ["regressor", "serfiq"]
    switched, returned = lines.written[1:]
    assert (switched["event"], switched["cause"]) == ("quality_method_switched", "weights")
    assert returned == {
        "event": "quality_method_returned",
        "method": "regressor",
        "instead_of": "serfiq",
        "device": "cpu",
    }


def test_a_device_that_failed_under_a_fallback_does_not_make_that_the_method_in_use(observer: Observer) -> None:
    observer.pipeline.method_active("regressor")
    tell = observer.pipeline.switched
    tell(FallbackCause.DEVICE, method="serfiq", instead_of="serfiq", device="cpu", problem="cuda:0: lost")
    assert observer.status()["method"] == "regressor"
    assert scraped(observer, "fallback_total", cause="device") == 1


def test_every_switch_is_a_line_and_what_goes_on_all_day_takes_a_few(observer: Observer, lines: Lines) -> None:
    for _ in range(10):
        observer.pipeline.switched(
            FallbackCause.DEVICE, method="serfiq", instead_of="serfiq", device="cpu", problem="cuda:0: lost"
        )
    assert [line["event"] for line in lines.written] == ["quality_method_switched"] * 10
    for _ in range(1000):
        observer.pipeline.fallback(FallbackCause.NOT_FINITE, "serfiq gave no number for 1 of 2 faces")
    assert len(lines.written) == 20
    assert scraped(observer, "fallback_total", cause="not_finite") == 1000


def test_what_is_left_out_under_load_shows_everywhere_and_is_a_line_a_change(observer: Observer, lines: Lines) -> None:
    assert scraped(observer, "shedding", what="frames") == 0
    observer.pipeline.shedding(Shed.SECOND_OPINIONS, on=True, lost_share=0.25)
    observer.pipeline.shedding(Shed.FRAMES, on=True, lost_share=0.3)
    for _ in range(100):
        observer.pipeline.shed(Shed.FRAMES, 3)
    assert observer.status()["shedding"] == ["frames", "second_opinions"]
    assert observer.status()["shed"] == {"frames": 300}
    assert scraped(observer, "shedding", what="frames") == 1
    assert scraped(observer, "shed_total", what="frames") == 300
    observer.pipeline.shedding(Shed.FRAMES, on=False, lost_share=0.0)
    assert scraped(observer, "shedding", what="frames") == 0
    assert observer.status()["shedding"] == ["second_opinions"]
    assert [(line["what"], line["on"]) for line in lines.written] == [
        ("second_opinions", True),
        ("frames", True),
        ("frames", False),
    ]
