"""Real processes that are killed, and servers that go away in the middle."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.publish.event import FaceEvent

Make = Callable[..., FaceEvent]
Open = Callable[..., Any]

SLOW_CONSUMER = Path(__file__).with_name("slow_consumer.py")


def start(url: str, consumer: str, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SLOW_CONSUMER), url, consumer, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_what_a_killed_consumer_had_in_hand_another_handles_once(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(*map(make_face, range(6)))
    seen: list[int] = []
    with start(server.url, "victim", 0.05) as victim:
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(5)]
        victim.kill()
        lines += victim.stdout.readlines()
    done = [int(line.split()[1]) for line in lines if line.startswith("done")]
    assert "begun 2\n" in lines
    stream = open_stream(consumer="heir", claim_idle_s=0.3)
    for face in stream:
        seen.append(face.event.seq)
        if server.pending() == 1 and len(done) + len(seen) >= 6:
            stream.stop()
    # A face whose body had come back just before the kill may not have been acknowledged yet.
    assert sorted(set(done) | set(seen)) == [0, 1, 2, 3, 4, 5]
    assert len(seen) == len(set(seen))
    assert set(done) & set(seen) <= {max(done)}
    assert server.pending() == 0


def test_a_server_that_restarts_while_a_consumer_waits_is_taken_up_again(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    stream = open_stream(block_s=5.0)
    server.add(make_face(0))
    seen = []
    restart = threading.Timer(0.2, lambda: (server.stop(), server.start(), server.add(make_face(1))))
    for face in stream:
        seen.append(face.event.seq)
        if face.event.seq == 0:
            restart.start()
        else:
            stream.stop()
    restart.join()
    assert seen == [0, 1]


def test_a_group_that_was_destroyed_is_made_anew_and_repeats_nothing(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(0))
    stream = open_stream()
    seen = []
    for face in stream:
        seen.append(face.event.seq)
        if face.event.seq == 0:
            server.command("XGROUP", "DESTROY", "facegate:faces", "recognizers")
            server.add(make_face(1))
        else:
            stream.stop()
    assert seen == [0, 1]
    assert stream.counts["duplicate"] == 1


def test_a_face_that_is_trimmed_while_its_body_works_is_done_all_the_same(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(0), make_face(1))
    stream = open_stream(prefetch=1)
    faces = iter(stream)
    next(faces)
    server.command("XTRIM", "facegate:faces", "MAXLEN", 0)
    stream.stop()
    assert list(faces) == []
    assert server.pending() == 0
    assert stream.counts["handled"] == 1


def test_what_was_trimmed_before_it_was_given_is_passed_over(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(5)))
    stream = open_stream(prefetch=1)
    faces = iter(stream)
    assert next(faces).event.seq == 0
    server.command("XTRIM", "facegate:faces", "MAXLEN", 1)
    assert next(faces).event.seq == 4


def test_trimmed_entries_of_a_dead_consumer_are_let_go(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(3)))
    next(iter(open_stream(consumer="dead")))
    server.command("XTRIM", "facegate:faces", "MAXLEN", 1)
    stream = open_stream(consumer="alive", claim_idle_s=0.05)
    assert next(iter(stream)).event.seq == 2
    server.add(make_face(3))
    for face in stream:
        if face.event.seq == 3:
            stream.stop()
    assert server.pending() == 0


def test_streams_of_several_slots_of_a_cluster_are_read_in_turns(cluster: Any, open_at: Open, make_face: Make) -> None:
    streams = ["faces:door", "faces:lobby", "faces:yard"]
    for group in ("recognizers", None):
        stream = open_at(cluster.url, stream=streams, group=group, block_s=0.1)
        for number, key in enumerate(streams):
            cluster.add(make_face(number), stream=key)
        seen = []
        for face in stream:
            seen.append(face.event.seq)
            if len(set(seen)) == 3:
                stream.stop()
        assert sorted(set(seen)) == [0, 1, 2]
