"""A small HTTP server for a handful of routes of our own: one request a connection, nothing but GET and HEAD.

prometheus_client's server answers every path, binds every address, and one idle client that began a TLS handshake
blocks it. Here each connection has a thread, a deadline for its whole request (a client that drips a byte a second
gains nothing), TLS handshake included, and a place among a bounded number; when all are taken, the connection that has
waited longest without a complete request makes room.
"""

import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import final

from gate.config_http import is_loopback
from gate.errors import GateError
from gate.observe.answer import Response, encode, words
from gate.observe.logging import get_logger
from gate.observe.request import MAX_HEAD_BYTES, MAX_LINE_BYTES, BadRequestError, Request, parse_head
from gate.observe.same_host import is_our_host
from gate.observe.tls import Tls

_ACCEPT_POLL_S = 0.2
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 18


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may take."""

    request_s: float = 5.0
    """A request must be complete within this time."""

    answer_s: float = 10.0
    """An answer must be taken within this time."""

    connections: int = 64
    """Most connections at once."""

    streams: int = 16
    """Most answers without an end at once: they hold their places for as long as somebody watches."""


@final
class HttpServer:
    """Serves `routes` on one address; `start`, `close`, or a `with` block.

    Args:
        host: name or address to bind.
        port: port to bind; 0 takes a free one.
        routes: exact path → handler. Handlers run in many threads at once.
        limits: how much a client may take.
        tls: speaks HTTPS; None speaks HTTP.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Handler],
        *,
        limits: Limits | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._routes = dict(routes)
        self._limits = limits or Limits()
        self._log = get_logger("gate.observe.http")
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}
        self._streams = threading.Semaphore(self._limits.streams)
        self._closing = threading.Event()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are really bound. Raises `GateError` before `start`."""
        if self._listener is None:
            raise GateError("http: the server is not started. Call start() first.")
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """Address for a browser on this machine. Raises `GateError` before `start`."""
        host, port = self.address
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{shown}]:{port}/" if ":" in shown else f"{scheme}://{shown}:{port}/"

    def start(self) -> None:
        """Bind and serve in a thread. Raises `GateError` when the address cannot be bound."""
        self._listener = _bind(self._host, self._port)
        self._listener.settimeout(_ACCEPT_POLL_S)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and cut every connection. Safe to call twice."""
        self._closing.set()
        if self._listener is not None:
            # Wakes the accepting thread at once on Linux; elsewhere it looks up by itself soon.
            _cut(self._listener)
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()
        with self._lock:
            for connection in self._open:
                _cut(connection)

    def __enter__(self) -> "HttpServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if self._closing.is_set():
                    return
                # Out of descriptors, or the client was gone already: neither may end or spin the loop.
                self._log.warning("http_connection_refused", cause=errno.errorcode.get(error.errno or 0, "unknown"))
                self._closing.wait(_ACCEPT_POLL_S)
                continue
            secured = self._secured(connection)
            if secured is None:
                continue
            if self._admit(secured):
                self._spawn(secured)
            else:
                secured.close()

    def _secured(self, connection: socket.socket) -> socket.socket | None:
        """The connection as it is spoken on, its handshake left to its own thread; None where the client has gone."""
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap(connection)
        except (OSError, ValueError):
            connection.close()
            return None

    def _admit(self, connection: socket.socket) -> bool:
        """Take a connection in; when all places are taken, the one that reads longest makes room."""
        with self._lock:
            if len(self._open) >= self._limits.connections:
                slowest = next((other for other, reading in self._open.items() if reading), None)
                if slowest is None:
                    return False
                del self._open[slowest]
                _cut(slowest)
            self._open[connection] = True
            return True

    def _spawn(self, connection: socket.socket) -> None:
        try:
            threading.Thread(target=self._serve, args=(connection,), name="http-client", daemon=True).start()
        except RuntimeError:
            self._log.warning("http_connection_refused", cause="no_threads")
            with self._lock:
                self._open.pop(connection, None)
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection)
        except OSError:
            # The client went away or was too slow. That is its right, and it happens too often to be logged.
            return
        finally:
            with self._lock:
                self._open.pop(connection, None)

    def _converse(self, connection: socket.socket) -> None:
        head_only = refused = False
        deadline_s = time.monotonic() + self._limits.request_s
        certified = _shake_hands(connection, self._limits.request_s)
        try:
            head = _read_head(connection, deadline_s)
            if head is None:
                return
            request = replace(parse_head(head), has_certificate=certified)
            head_only = request.method == "HEAD"
            response = self._answer(request)
        except BadRequestError as error:
            refused = True
            response = words(error.status, str(error), {"Allow": "GET, HEAD"} if error.status == 405 else {})
        with self._lock:
            if connection in self._open:
                self._open[connection] = False
        connection.settimeout(self._limits.answer_s)
        if response.parts is not None and not head_only:
            self._stream(connection, response)
        else:
            connection.sendall(encode(response, head_only=head_only))
        if refused:
            _linger(connection)
        _say_goodbye(connection)

    def _stream(self, connection: socket.socket, response: Response) -> None:
        """Send an answer without an end until the client leaves, or takes a part of it too slowly."""
        if response.parts is None or not self._streams.acquire(blocking=False):
            busy = words(HTTPStatus.SERVICE_UNAVAILABLE, "too many watch already", {"Retry-After": "60"})
            connection.sendall(encode(busy, head_only=False))
            return
        try:
            connection.sendall(encode(response, head_only=False))
            heard = select.poll()
            heard.register(connection, select.POLLIN)
            for part in response.parts():
                # A watcher has nothing more to say: what can be read is its end.
                if self._closing.is_set() or heard.poll(0):
                    return
                if part:
                    connection.sendall(part)
        finally:
            self._streams.release()

    def _answer(self, request: Request) -> Response:
        host, _ = self.address
        if is_loopback(host) and not is_our_host(request.headers.get("host", ""), self._host):
            # A name that a stranger's web page has pointed at this machine (DNS rebinding).
            return words(HTTPStatus.MISDIRECTED_REQUEST, "this host name is not served here")
        handler = self._routes.get(request.path)
        if handler is None:
            return words(HTTPStatus.NOT_FOUND, "not found")
        try:
            return handler(request)
        except Exception:  # noqa: BLE001 - the client learns nothing about the inside; the log does
            self._log.error("http_handler_failed", path=request.path, exc_info=True)
            return words(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except socket.gaierror:
        raise GateError(f"http.host: {host!r} is not an address of this machine. Try 127.0.0.1.") from None
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} of {host} is in use. Set http.port to a free one; 0 takes any.",
            errno.EACCES: f"port {port} needs more rights. Set http.port above 1023.",
            errno.EADDRNOTAVAIL: f"{host} is not an address of this machine. Set http.host to one that is.",
        }
        reason = reasons.get(error.errno or 0, f"cannot bind {host} port {port}: {error.strerror}.")
        raise GateError(f"http: {reason}") from None


def _shake_hands(connection: socket.socket, within_s: float) -> bool:
    """Begin TLS, where it is spoken; whether the client has shown a certificate. Raises `OSError`."""
    if not isinstance(connection, ssl.SSLSocket):
        return False
    # The standard library counts this time-out for the whole handshake, however slowly its bytes drip.
    connection.settimeout(within_s)
    connection.do_handshake()
    return bool(connection.getpeercert())


def _read_head(connection: socket.socket, deadline_s: float) -> bytes | None:
    """All up to and with the empty line; None when the client sent nothing in time or left."""
    head = bytearray()
    while (end := head.find(b"\r\n\r\n")) < 0:
        if len(head) > MAX_HEAD_BYTES or (len(head) > MAX_LINE_BYTES and b"\r\n" not in head):
            break
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return None
        connection.settimeout(left_s)
        more = connection.recv(4096)
        if not more:
            return None
        head += more
    return bytes(head) if end < 0 else bytes(head[: end + 4])


def _linger(connection: socket.socket) -> None:
    """Read on for a moment: closing with unread bytes makes the kernel reset the connection and lose our answer."""
    if isinstance(connection, ssl.SSLSocket):
        return
    connection.shutdown(socket.SHUT_WR)
    deadline_s = time.monotonic() + _LINGER_S
    left_bytes = _LINGER_BYTES
    while left_bytes > 0 and (left_s := deadline_s - time.monotonic()) > 0:
        connection.settimeout(left_s)
        more = connection.recv(65536)
        if not more:
            return
        left_bytes -= len(more)


def _say_goodbye(connection: socket.socket) -> None:
    """Tell a TLS client that the answer was whole; it is not waited for."""
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(0)
        with suppress(OSError, ValueError):
            connection.unwrap()


def _cut(connection: socket.socket) -> None:
    """Wake the thread that waits on a socket; it closes."""
    with suppress(OSError):
        # Not the TLS socket's own, which would take the state of TLS away from the thread that works with it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
