import json
import socket
import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from gate.observe.access import Access
from gate.observe.answer import Response
from gate.observe.feed import KEPT, Feed
from gate.observe.http import HttpServer, Limits
from gate.observe.observer import Observer
from gate.observe.routes import build_routes
from tests.conftest import FakeClock

FOLLOW = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_news_are_numbered_bounded_and_given_from_where_one_left(fake_clock: FakeClock) -> None:
    feed = Feed(fake_clock)
    for number in range(KEPT + 5):
        feed.tell("camera_up", camera=f"cam{number}")
    assert len(feed.since(0)) == KEPT
    assert [news["camera"] for _, news in feed.since(KEPT + 3)] == ["cam203", "cam204"]
    assert feed.since(KEPT + 5) == []


def test_a_number_of_an_earlier_process_gives_everything(fake_clock: FakeClock) -> None:
    feed = Feed(fake_clock)
    feed.tell("redis_connected")
    assert [news["kind"] for _, news in feed.since(99)] == ["redis_connected"]


def test_followers_get_server_sent_events(fake_clock: FakeClock) -> None:
    feed = Feed(fake_clock)
    feed.tell("visit", camera="door\n\ndata: forged", best_quality=None)
    head, event = islice(feed.follow(), 2)
    assert head == b"retry: 3000\n\n"
    lines = event.decode().split("\n")
    assert (lines[0], lines[2:]) == ("id: 1", ["", ""])
    assert json.loads(lines[1].removeprefix("data: "))["camera"] == "door\n\ndata: forged"


@pytest.fixture
def observer(fake_clock: FakeClock) -> Observer:
    return Observer(fake_clock)


@pytest.fixture
def server(observer: Observer, fake_clock: FakeClock) -> Iterator[HttpServer]:
    routes = build_routes(observer, Access(fake_clock))
    with HttpServer("127.0.0.1", 0, routes, limits=Limits(answer_s=0.3, streams=2)) as server:
        yield server


def follow(server: HttpServer) -> socket.socket:
    connection = socket.create_connection(server.address, timeout=20)
    connection.sendall(FOLLOW)
    return connection


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    got, deadline_s = b"", time.monotonic() + 60
    while wanted not in got:
        # Signs of life keep a connection from timing out by itself.
        assert time.monotonic() < deadline_s, got
        part = connection.recv(65536)
        assert part, got
        got += part
    return got


def test_a_watcher_hears_what_happens_and_one_that_leaves_makes_room(server: HttpServer, observer: Observer) -> None:
    served = 0
    deadline_s = time.monotonic() + 60
    while served < 5 and time.monotonic() < deadline_s:
        with follow(server) as connection:
            head = read_until(connection, b"\r\n\r\n")
            # It is noticed within a second that the one before has gone.
            if head.startswith(b"HTTP/1.1 503 "):
                time.sleep(0.1)
                continue
            served += 1
            assert b"Content-Type: text/event-stream" in head
            assert b"Content-Length" not in head
            observer.feed.tell("visit", number=served)
            read_until(connection, f'"number": {served}'.encode())
    assert served == 5


def test_more_watchers_than_places_are_asked_to_come_later(server: HttpServer) -> None:
    with follow(server) as first, follow(server) as second:
        read_until(first, b"retry")
        read_until(second, b"retry")
        with follow(server) as third:
            refused = read_until(third, b"already")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 60" in refused


def test_a_watcher_that_reads_too_slowly_is_dropped_and_nobody_waits_for_it(fake_clock: FakeClock) -> None:
    gone = threading.Event()

    def flood() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1_000_000
        finally:
            gone.set()

    routes = {"/events": lambda _request: Response(b"", "text/event-stream", parts=flood)}
    with HttpServer("127.0.0.1", 0, routes, limits=Limits(answer_s=0.3, streams=1)) as server, follow(server) as deaf:
        assert deaf.recv(1) == b"H"
        assert gone.wait(30)


def test_a_server_that_closes_lets_its_watchers_go(observer: Observer, fake_clock: FakeClock) -> None:
    server = HttpServer("127.0.0.1", 0, build_routes(observer, Access(fake_clock)))
    server.start()
    with follow(server) as connection:
        read_until(connection, b"retry")
        server.close()
        while connection.recv(65536):
            continue
