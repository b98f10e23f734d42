"""Servers of this machine that answer a camera's client, and what an exception tells about them."""

import base64
import http.server
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager


def keep_silent(until: threading.Event) -> Callable[[socket.socket], None]:
    def wait(_: socket.socket) -> None:
        until.wait(20)

    return wait


def send_stream(data: bytes, then: Callable[[socket.socket], None] = lambda _: None) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + data)
        then(connection)

    return answer


@contextmanager
def tcp_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accepts connections one after the other, hands each to `answer`, and closes it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with closing(connection):
                    try:
                        answer(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # Only a shutdown wakes a thread that sits in accept.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@contextmanager
def web_server(status: int, body: bytes = b"", wanted: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Answers every request with `status`; with `wanted`, asks for Basic credentials first and notes what came."""
    credentials: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.headers.get("Authorization", "")
            if sent:
                credentials.append(base64.b64decode(sent.removeprefix("Basic ")).decode())
            denied = wanted is not None and wanted not in credentials
            self.send_response(401 if denied or status == 401 else status)
            self.send_header("WWW-Authenticate", 'Basic realm="door"')
            self.send_header("Content-Length", "0" if denied else str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if denied else body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, credentials
        finally:
            server.shutdown()
            thread.join(10)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def whole_story(error: BaseException) -> str:
    """Everything any logger could print of an exception: texts, arguments and tracebacks along both chains."""
    told, seen, queue = [], set(), [error]
    while queue:
        one = queue.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        told += [str(one), repr(one), repr(one.args), repr(vars(one)), *traceback.format_exception(one)]
        queue += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(told)
