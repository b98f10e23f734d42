import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gate.observe.metrics import DESIGN, Expected, Metrics
from gate.observe.table import OTHER, Outcome, Stage, VisitResult, quality_buckets
from gate.reasons import Reason

Labels = dict[str, str]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(expected=Expected(camera_causes=("timeout", "auth"), methods=("serfiq",)))


def samples(metrics: Metrics) -> Iterator[tuple[str, Labels, float]]:
    for family in parse_text(metrics.render()[0].decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    found = [number for sample, have, number in samples(metrics) if sample == f"facegate_{name}" and have == labels]
    assert len(found) <= 1
    return found[0] if found else None


def exercise(metrics: Metrics, camera: str) -> None:
    metrics.add_camera(camera)
    metrics.frames(camera, Outcome.PROCESSED)
    metrics.frame_age(camera, 0.04)
    metrics.last_frame(camera, 1_700_000_000_500)
    metrics.stage(Stage.DETECT, 0.01)
    metrics.batch(3)
    metrics.face(camera, accepted=True)
    metrics.method_active("serfiq")
    metrics.quality(camera, "serfiq", 61.0)
    metrics.quality_drift(camera, 0.1)
    metrics.visit(camera, VisitResult.PUBLISHED)
    metrics.published(camera, "face", capture_to_publish_s=0.2, publish_s=0.002)
    metrics.spool(events=2, size_bytes=9000)
    metrics.spool_dropped("overflow")
    metrics.camera_up(camera, up=True)
    metrics.reconnect(camera, "timeout")
    metrics.fallback("no_gpu")
    metrics.device_memory(1 << 20)
    metrics.certificate_expiry(1_900_000_000.0)
    metrics.config_loaded(1_700_000_000_000)
    metrics.build(version="1.2.3", python="3.11", torch="")


def test_every_metric_of_the_table_is_scraped_with_its_kind_its_help_and_its_labels(metrics: Metrics) -> None:
    exercise(metrics, "door")
    scrape = metrics.render("application/openmetrics-text")[0].decode()
    families = {
        family.name: family
        for family in parse_openmetrics(scrape)  # type: ignore[no-untyped-call]
        if family.name.startswith("facegate_")
    }
    assert set(families) == {spec.name.removesuffix("_total") for spec in DESIGN}
    for spec in DESIGN:
        family = families[spec.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (spec.kind, spec.help)
        assert family.samples
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(spec.labels), spec.name


def test_series_of_a_new_camera_start_at_zero(metrics: Metrics) -> None:
    metrics.add_camera("door")
    for outcome in Outcome:
        assert value(metrics, "frames_total", camera="door", outcome=outcome.value) == 0
    for reason in Reason:
        assert value(metrics, "faces_total", camera="door", verdict="rejected", reason=reason.value) == 0
    assert value(metrics, "faces_total", camera="door", verdict="accepted", reason="") == 0
    assert value(metrics, "reconnects_total", camera="door", cause="auth") == 0
    assert value(metrics, "camera_up", camera="door") == 0
    assert value(metrics, "capture_to_publish_seconds_count", camera="door") == 0


def test_a_camera_without_a_frame_has_no_time_of_its_last_frame(metrics: Metrics) -> None:
    metrics.add_camera("door")
    assert value(metrics, "last_frame_timestamp_seconds", camera="door") is None
    metrics.last_frame("door", 1_700_000_000_500)
    assert value(metrics, "last_frame_timestamp_seconds", camera="door") == 1_700_000_000.5


def test_a_forgotten_camera_is_gone_and_a_late_report_does_not_bring_it_back(metrics: Metrics) -> None:
    exercise(metrics, "door")
    exercise(metrics, "lobby")
    metrics.forget_camera("door")
    metrics.frames("door", Outcome.DROPPED)
    metrics.quality("door", "serfiq", 10)
    metrics.forget_camera("never-known")
    cameras = {labels["camera"] for _, labels, _ in samples(metrics) if "camera" in labels}
    assert cameras == {"lobby"}


def test_a_camera_that_comes_back_counts_from_zero(metrics: Metrics) -> None:
    exercise(metrics, "door")
    metrics.forget_camera("door")
    metrics.add_camera("door")
    assert value(metrics, "frames_total", camera="door", outcome="processed") == 0


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_a_label_of_rejections(metrics: Metrics, reason: Reason) -> None:
    metrics.add_camera("door")
    metrics.face("door", accepted=False, reason=reason)
    metrics.face("door", accepted=False, reason=reason.value)
    assert value(metrics, "faces_total", camera="door", verdict="rejected", reason=reason.value) == 2


def test_an_accepted_face_has_no_reason_and_a_rejected_one_always_has(metrics: Metrics) -> None:
    metrics.add_camera("door")
    metrics.face("door", accepted=True, reason=Reason.YAW)
    metrics.face("door", accepted=False)
    metrics.face("door", accepted=False, reason="no such reason")
    assert value(metrics, "faces_total", camera="door", verdict="accepted", reason="") == 1
    assert value(metrics, "faces_total", camera="door", verdict="rejected", reason=OTHER) == 2


def test_only_one_method_is_active(metrics: Metrics) -> None:
    metrics.add_camera("door")
    for method in ("serfiq", "cr-fiqa"):
        metrics.method_active(method)
    assert value(metrics, "method_active", method="serfiq") == 0
    assert value(metrics, "method_active", method="cr-fiqa") == 1
    assert value(metrics, "quality_count", camera="door", method="cr-fiqa") == 0


@pytest.mark.parametrize("hostile", ["rtsp://u:p@h/x", "", "a b", "x" * 49, "zeile\n"])
def test_what_is_not_a_word_never_becomes_a_label(metrics: Metrics, hostile: str) -> None:
    metrics.add_camera("door")
    metrics.reconnect("door", hostile)
    metrics.spool_dropped(hostile)
    metrics.fallback(hostile)
    metrics.stage(hostile, 0.1)
    assert value(metrics, "reconnects_total", camera="door", cause=OTHER) == 1
    assert value(metrics, "fallback_total", cause=OTHER) == 1
    assert {labels.get("cause") for _, labels, _ in samples(metrics)} == {None, OTHER, "timeout", "auth"}


def test_identifiers_as_causes_cannot_flood_the_registry(metrics: Metrics) -> None:
    metrics.add_camera("door")
    for number in range(1000):
        metrics.reconnect("door", f"cause{number}")
    causes = {labels["cause"] for _, labels, _ in samples(metrics) if "cause" in labels}
    assert len(causes) == 2 + 32 + 1
    total = sum(number for name, _, number in samples(metrics) if name == "facegate_reconnects_total")
    assert total == 1000


def test_a_thousand_cameras_with_every_reason_stay_within_bounds(metrics: Metrics) -> None:
    for number in range(1000):
        camera = f"camera-{number}"
        exercise(metrics, camera)
        for reason in Reason:
            metrics.face(camera, accepted=False, reason=reason)
    text = metrics.render()[0].decode()
    lines = [line for line in text.splitlines() if line.startswith("facegate_")]
    per_camera = sum('camera="camera-7"' in line for line in lines)
    assert per_camera < 85
    assert len(lines) < 1000 * per_camera + 300
    assert all("_created" not in line for line in lines)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_does_not_poison_a_sum(metrics: Metrics, number: float) -> None:
    metrics.add_camera("door")
    metrics.quality("door", "serfiq", number)
    metrics.quality("door", "serfiq", 40)
    assert value(metrics, "quality_sum", camera="door", method="serfiq") == 40


def test_the_quality_buckets_lie_on_the_bar(metrics: Metrics) -> None:
    assert {25.0, 30.0, 35.0} < set(quality_buckets())
    assert quality_buckets([97.0])[-1] == 100.0
    metrics.add_camera("door")
    metrics.quality("door", "serfiq", 30.0)
    assert value(metrics, "quality_bucket", camera="door", method="serfiq", le="30.0") == 1
    assert value(metrics, "quality_bucket", camera="door", method="serfiq", le="25.0") == 0


def test_threads_lose_no_count(metrics: Metrics) -> None:
    metrics.add_camera("door")

    def count() -> None:
        for _ in range(500):
            metrics.frames("door", Outcome.PROCESSED)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "frames_total", camera="door", outcome="processed") == 2000


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("text/html", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
        ("application/openmetrics-text; version=9\x00; escaping=x", "application/openmetrics-text"),
    ],
)
def test_the_scrape_comes_as_asked_for(metrics: Metrics, accept: str, kind: str) -> None:
    body, content_type = metrics.render(accept)
    assert content_type.startswith(kind)
    assert content_type.isprintable()
    assert body.endswith(b"# EOF\n") == (kind == "application/openmetrics-text")


def test_two_gates_in_one_process_do_not_share_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.add_camera("door")
    assert value(second, "camera_up", camera="door") is None


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_promtool_finds_nothing_to_object_to(metrics: Metrics) -> None:
    exercise(metrics, "door")
    ours = b"".join(line for line in metrics.render()[0].splitlines(keepends=True) if b"facegate_" in line)
    lint = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, check=False)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, b"")
