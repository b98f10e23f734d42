"""The proxy that the reliability runs rely on does the harm it promises, and no other."""

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.reliability.proxy import Fault, Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that answers every chunk with itself in upper case."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data.upper())
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo, marker=b"pay") as one:
        yield one


def dial(proxy: Proxy, timeout_s: float = 10.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout_s)


def test_without_a_fault_everything_passes(proxy: Proxy) -> None:
    with dial(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(99) == b"HELLO"
    assert proxy.harmed == 0


def test_a_cut_ends_old_and_new_connections(proxy: Proxy) -> None:
    with dial(proxy) as old:
        proxy.fault = Fault.CUT
        assert old.recv(99) == b""
    with dial(proxy) as new:
        assert new.recv(99) == b""


def test_a_reset_is_one(proxy: Proxy) -> None:
    with dial(proxy) as client:
        client.sendall(b"hello")
        client.recv(99)
        proxy.fault = Fault.RESET
        with pytest.raises(ConnectionResetError):
            client.recv(99)


def test_what_was_stalled_arrives_later(proxy: Proxy) -> None:
    proxy.fault = Fault.STALL
    with dial(proxy, 0.3) as client:
        client.sendall(b"hello")
        with pytest.raises(TimeoutError):
            client.recv(99)
        proxy.fault = Fault.NONE
        client.settimeout(10)
        assert client.recv(99) == b"HELLO"


def test_what_a_black_hole_took_never_arrives_and_its_connections_end_with_it(proxy: Proxy) -> None:
    proxy.fault = Fault.BLACK_HOLE
    with dial(proxy, 0.3) as client:
        client.sendall(b"hello")
        with pytest.raises(TimeoutError):
            client.recv(99)
        proxy.fault = Fault.NONE
        client.settimeout(10)
        assert client.recv(99) == b""


def test_only_the_reply_to_a_marked_request_is_lost(proxy: Proxy) -> None:
    proxy.fault = Fault.LOST_REPLY
    with dial(proxy) as client:
        client.sendall(b"look")
        assert client.recv(99) == b"LOOK"
        client.sendall(b"pay")
        assert client.recv(99) == b""
    assert proxy.harmed == 1


@pytest.mark.parametrize("fault", [Fault.CORRUPT_REPLIES, Fault.CORRUPT_REQUESTS])
def test_corruption_changes_one_byte_of_a_chunk(proxy: Proxy, fault: Fault) -> None:
    proxy.fault = fault
    with dial(proxy) as client:
        client.sendall(b"1234567890")
        answer = client.recv(99)
    assert len(answer) == 10
    assert sum(got != sent for got, sent in zip(answer, b"1234567890", strict=True)) == 1


def test_a_slow_loris_gives_a_byte_at_a_time_and_the_rest_when_it_is_over(proxy: Proxy) -> None:
    proxy.fault = Fault.SLOW_LORIS
    with dial(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(99) == b"H"
        proxy.fault = Fault.NONE
        rest = b""
        while len(rest) < 4:
            rest += client.recv(99)
    assert rest == b"ELLO"
