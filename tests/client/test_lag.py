"""How far a group is behind, from the server itself and as Prometheus sees it."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gate.client.base import BaseStream
from gate.client.lag import GroupLag
from gate.client.metrics import CONSUMER_DESIGN, ConsumerMetrics
from gate.client.stream import FaceStream
from gate.errors import PublishError
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import FaceEvent, encode

Make = Callable[..., FaceEvent]
Open = Callable[..., Any]
STREAM = "facegate:faces"


def add_at(server: Any, entry_id: str, event: FaceEvent) -> None:
    server.command("XADD", STREAM, entry_id, *[part for pair in encode(event).items() for part in pair])


def test_a_stream_that_is_not_there_yet_has_no_lag(open_stream: Open) -> None:
    assert open_stream().lag() == [GroupLag(STREAM, 0, 0, 0.0, 0)]


def test_before_its_first_read_a_group_is_behind_by_the_whole_stream(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    add_at(server, "5000-0", make_face(0))
    add_at(server, "7500-0", make_face(1))
    assert open_stream().lag() == [GroupLag(STREAM, 2, 0, 2.5, 0)]


def test_what_was_given_is_pending_and_what_was_not_is_behind(server: Any, open_stream: Open, make_face: Make) -> None:
    for number in range(4):
        add_at(server, f"{1000 * (number + 1)}-0", make_face(number))
    stream = open_stream(prefetch=1)
    faces = iter(stream)
    next(faces)
    (lag,) = stream.lag()
    assert (lag.pending, lag.behind_s, lag.consumers) == (1, 3.0, 1)
    assert lag.waiting in {None, 3}
    for _ in range(3):
        next(faces)
    stream.stop()
    assert list(faces) == []
    assert stream.lag() == [GroupLag(STREAM, 0, 0, 0.0, 1)]


def test_a_group_whose_unread_entries_were_trimmed_away_is_behind_by_what_is_left(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    add_at(server, "1000-0", make_face(0))
    stream = open_stream()
    next(iter(stream))
    for number in range(1, 4):
        add_at(server, f"{1000 * (number + 1)}-0", make_face(number))
    server.command("XTRIM", STREAM, "MAXLEN", 1)
    (lag,) = stream.lag()
    assert (lag.waiting, lag.behind_s) == (1, 0.0)


def base_of(stream: Any) -> BaseStream[Any]:
    return stream if isinstance(stream, FaceStream) else stream.stream


@pytest.fixture
def new_server() -> Iterator[str]:
    """A server from 7.0 where one is installed, for the lag that it counts itself."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed; scripts/servers.sh installs it where apt is")
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.partition("v=")[2].partition(".")[0]) < 7:
        pytest.skip("this redis-server counts no lag")
    with EmbeddedRedis(binary=binary) as server:
        yield server.url


def test_a_newer_server_says_how_many_entries_wait(new_server: str, make_face: Make) -> None:
    from gate.publish.connect import open_client

    client = open_client(new_server)
    for number in range(4):
        words = [part for pair in encode(make_face(number)).items() for part in pair]
        client.execute_command("XADD", STREAM, "*", *words)
    with FaceStream(new_server, group="g", consumer="c", from_start=True, prefetch=1) as stream:
        next(iter(stream))
        assert stream.lag()[0].waiting == 3
    client.disconnect()


def test_a_server_that_is_away_is_told(server: Any, open_stream: Open) -> None:
    stream = open_stream()
    server.stop()
    with pytest.raises(PublishError, match="nothing listens"):
        stream.lag()


def test_without_a_group_there_is_no_lag(open_stream: Open) -> None:
    with pytest.raises(ValueError, match="that of a group"):
        open_stream(group=None).lag()


def test_prometheus_sees_counts_and_lag_and_whether_the_server_is_there(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    stream = open_stream(prefetch=1)
    registry = CollectorRegistry()
    metrics = ConsumerMetrics(base_of(stream), registry)
    try:
        server.add(make_face(0), make_face(0), make_face(1))
        server.add_entry({"hello": b"world"})
        faces = iter(stream)
        next(faces)
        next(faces)
        labels = {"stream": STREAM, "group": "recognizers"}
        assert registry.get_sample_value("facegate_consumer_entries_total", {"outcome": "handled"}) == 1
        assert registry.get_sample_value("facegate_consumer_entries_total", {"outcome": "duplicate"}) == 1
        assert registry.get_sample_value("facegate_consumer_entries_total", {"outcome": "dead"}) == 0
        assert registry.get_sample_value("facegate_consumer_pending_entries", labels) == 1
        assert registry.get_sample_value("facegate_consumer_up") == 1
        behind_s = registry.get_sample_value("facegate_consumer_behind_seconds", labels)
        assert behind_s is not None
        assert behind_s >= 0
        server.stop()
        assert registry.get_sample_value("facegate_consumer_up") == 0
        assert registry.get_sample_value("facegate_consumer_pending_entries", labels) is None
    finally:
        metrics.close()


def test_every_metric_is_in_the_table(open_stream: Open) -> None:
    registry = CollectorRegistry()
    stream = open_stream()
    metrics = ConsumerMetrics(base_of(stream), registry)
    shown = generate_latest(registry).decode()
    metrics.close()
    assert {line.split()[2] for line in shown.splitlines() if line.startswith("# HELP")} == {
        spec.name for spec in CONSUMER_DESIGN
    }
