import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.clock import Clock
from gate.config_http import is_loopback
from gate.errors import GateError
from gate.observe.access import Access
from gate.observe.answer import Response
from gate.observe.health import Health
from gate.observe.http import HttpServer, Limits
from gate.observe.observer import Observer
from gate.observe.request import MAX_HEAD_BYTES, BadRequestError, Request, parse_head
from gate.observe.routes import build_routes
from gate.observe.same_host import is_our_host

OK_HEAD = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


def hello(request: Request) -> Response:
    return Response(f"hello {request.query}".encode())


def fail(_request: Request) -> Response:
    raise RuntimeError("rtsp://admin:s3cret@door/")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    limits = Limits(request_s=2.0, connections=4)
    with HttpServer("127.0.0.1", 0, {"/hello": hello, "/fail": fail}, limits=limits) as server:
        yield server


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=10)


def everything(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def ask(server: HttpServer, request: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(request)
        return everything(connection)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_route_answers_with_safe_headers(server: HttpServer) -> None:
    head, _, body = ask(server, b"GET /hello?a=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert body == b"hello a=1"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Server"] == "facegate"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Content-Length"] == "9"
    assert not [name for name in headers if name.startswith("Access-Control")]


def test_head_answers_without_the_body(server: HttpServer) -> None:
    answer = ask(server, b"HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /hello/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /hello%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", 405),
        (b"DELETE /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", 413),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET  /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost/hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /hel\xfflo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /hello HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /hello HTTP/1.0\r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /hello HTTP/1.1\r\n" + b"X: a\r\n" * 500_000, 431),
    ],
)
def test_each_kind_of_request_gets_its_status(server: HttpServer, request_bytes: bytes, status: int) -> None:
    with connect(server) as connection:
        # A request far beyond the limits is cut off while it is still being sent.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request_bytes)
        try:
            answer = everything(connection)
        except ConnectionError:
            assert len(request_bytes) > 1_000_000
            return
    assert status_of(answer) == status
    assert b"Traceback" not in answer


def test_a_refused_method_names_the_allowed_ones(server: HttpServer) -> None:
    assert b"\r\nAllow: GET, HEAD\r\n" in ask(server, b"PUT /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_a_handler_that_fails_tells_the_client_nothing(server: HttpServer) -> None:
    answer = ask(server, b"GET /fail HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status_of(answer) == 500
    assert answer.endswith(b"\r\n\r\ninternal error\n")
    assert status_of(ask(server, OK_HEAD)) == 200


def test_idle_clients_block_nobody_even_when_they_take_every_place(server: HttpServer) -> None:
    with contextlib.ExitStack() as idle:
        for _ in range(12):
            idle.enter_context(connect(server))
        for _ in range(3):
            assert status_of(ask(server, OK_HEAD)) == 200


def test_a_client_that_drips_is_cut_off_at_its_deadline() -> None:
    limits = Limits(request_s=0.3, connections=4)
    with HttpServer("127.0.0.1", 0, {"/hello": hello}, limits=limits) as server, connect(server) as connection:
        connection.settimeout(0.02)
        closed = False
        # Each byte comes well within any time-out between bytes; only a deadline for the whole ends this.
        for byte in OK_HEAD[:-1] * 20:
            try:
                connection.sendall(bytes([byte]))
                closed = connection.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
            if closed:
                break
        assert closed
        assert status_of(ask(server, OK_HEAD)) == 200


def test_a_client_that_does_not_take_its_answer_holds_its_place_for_a_while_only() -> None:
    limits = Limits(answer_s=0.2, connections=1)
    big = Response(b"x" * 50_000_000)
    with HttpServer("127.0.0.1", 0, {"/big": lambda _: big, "/hello": hello}, limits=limits) as server:
        with connect(server) as deaf:
            deaf.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert deaf.recv(1) == b"H"
            give_up_s = time.monotonic() + 10
            while not (answer := refused_or_answered(server)) and time.monotonic() < give_up_s:
                time.sleep(0.02)
        assert status_of(answer) == 200


def refused_or_answered(server: HttpServer) -> bytes:
    try:
        return ask(server, OK_HEAD)
    except ConnectionError:
        return b""


def test_many_clients_at_once_all_get_their_answer() -> None:
    answers: list[int] = []

    def client(server: HttpServer) -> None:
        answers.append(status_of(ask(server, OK_HEAD)))

    with HttpServer("127.0.0.1", 0, {"/hello": hello}) as server:
        threads = [threading.Thread(target=client, args=(server,)) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 30


def test_a_port_in_use_is_told_in_words(server: HttpServer) -> None:
    host, port = server.address
    with pytest.raises(GateError, match=f"port {port} of 127.0.0.1 is in use. Set http.port"):
        HttpServer(host, port, {}).start()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_told_in_words(host: str) -> None:
    with pytest.raises(GateError, match="is not an address of this machine"):
        HttpServer(host, 0, {}).start()


def test_a_server_that_is_not_started_has_no_address() -> None:
    server = HttpServer("127.0.0.1", 0, {})
    with pytest.raises(GateError, match="not started"):
        _ = server.address
    server.close()


def test_close_frees_the_port_and_cuts_who_is_connected() -> None:
    server = HttpServer("127.0.0.1", 0, {"/hello": hello})
    server.start()
    host, port = server.address
    assert server.url == f"http://127.0.0.1:{port}/"
    with connect(server) as connection:
        assert status_of(ask(server, OK_HEAD)) == 200
        server.close()
        server.close()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    with HttpServer(host, port, {"/hello": hello}) as again:
        assert status_of(ask(again, OK_HEAD)) == 200


def test_control_characters_never_reach_a_header() -> None:
    with pytest.raises(ValueError, match="control characters"):
        Response(b"", headers={"X": "a\r\nSet-Cookie: b"})


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("localhost:8080", True),
        ("LOCALHOST.", True),
        ("gate.localhost", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("10.0.0.7", True),
        ("gate.lan:8080", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[evil]:80", False),
    ],
)
def test_only_names_of_this_machine_are_served_on_loopback(header: str, ours: bool) -> None:
    assert is_our_host(header, "gate.lan") == ours


def test_loopback_is_told_from_other_addresses() -> None:
    assert [is_loopback(address) for address in ("127.0.0.1", "::1", "10.0.0.7", "door")] == [True, True, False, False]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_are_refused_with_a_status(head: bytes) -> None:
    assert outcome(head + b"\r\n\r\n") in {"GET", "HEAD", 400, 405, 413, 414, 431, 505}


def outcome(head: bytes) -> str | int:
    try:
        return parse_head(head).method
    except BadRequestError as error:
        return error.status


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True), st.text("ab c:/=", max_size=12)), max_size=5)
)
def test_headers_are_read_by_small_names_and_joined(pairs: list[tuple[str, str]]) -> None:
    pairs = [(f"x-{name}", value) for name, value in pairs]
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    request = parse_head(f"GET /a?b HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
    assert (request.path, request.query) == ("/a", "b")
    wanted: dict[str, list[str]] = {"host": ["h"]}
    for name, value in pairs:
        wanted.setdefault(name.lower(), []).append(value.strip())
    assert request.headers == {name: ", ".join(values) for name, values in wanted.items()}


def test_the_limit_of_the_head_is_exact() -> None:
    line = b"GET / HTTP/1.0\r\n"
    room = MAX_HEAD_BYTES - 8192
    value = b"a" * (room - len(b"X: \r\n\r\n"))
    assert parse_head(line + b"X: " + value + b"\r\n\r\n").headers["x"] == value.decode()
    with pytest.raises(BadRequestError):
        parse_head(line + b"X: a" + value + b"\r\n\r\n")


@pytest.fixture
def health(fake_clock: Clock) -> Health:
    return Health(fake_clock)


@pytest.fixture
def gate_server(health: Health, fake_clock: Clock) -> Iterator[HttpServer]:
    observer = Observer(fake_clock, health=health)
    with HttpServer("127.0.0.1", 0, build_routes(observer, Access(fake_clock))) as server:
        yield server


def get(server: HttpServer, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
    head, _, body = ask(server, request.encode()).partition(b"\r\n\r\n")
    content_type = next(line[14:] for line in head.decode().split("\r\n") if line.startswith("Content-Type: "))
    return status_of(head), content_type, body.decode()


def test_readiness_is_503_with_its_reasons_until_the_gate_serves(gate_server: HttpServer, health: Health) -> None:
    assert get(gate_server, "/readyz")[::2] == (503, "not ok\nmethod: starting\nredis: starting\n")
    for condition in ("method", "redis"):
        health.set(condition, ok=True)
    assert get(gate_server, "/readyz")[::2] == (200, "ok\n")


def test_liveness_follows_the_heartbeat(gate_server: HttpServer, health: Health, fake_clock: object) -> None:
    health.beat("engine")
    assert get(gate_server, "/livez")[0] == 200
    fake_clock.advance(31)  # type: ignore[attr-defined]
    assert get(gate_server, "/livez")[::2] == (503, "not ok\nengine: no sign of life for 31 s\n")


def test_status_is_json_metrics_are_text_and_the_root_is_the_page(gate_server: HttpServer) -> None:
    status, content_type, body = get(gate_server, "/status")
    assert (status, content_type, json.loads(body)["now_ms"]) == (200, "application/json", 1_700_000_000_000)
    status, content_type, body = get(gate_server, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=0.0.4")
    assert "# TYPE facegate_frames_total counter" in body
    assert get(gate_server, "/metrics", "application/openmetrics-text")[2].endswith("# EOF\n")
    assert get(gate_server, "/")[1] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("offer", "packed"), [("gzip", True), ("deflate, GZIP", True), ("br", False), ("", False)])
def test_a_scrape_is_compressed_for_whoever_takes_it(gate_server: HttpServer, offer: str, packed: bool) -> None:
    request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {offer}\r\n\r\n"
    head, _, body = ask(gate_server, request.encode()).partition(b"\r\n\r\n")
    assert (b"\r\nContent-Encoding: gzip" in head) == packed
    assert b"\r\nVary: Accept-Encoding" in head
    text = gzip.decompress(body) if packed else body
    assert b"# TYPE facegate_frames_total counter" in text
