"""What the HTTP server answers, and its form on the wire."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

_COMMON_HEADERS = {
    "Server": "facegate",
    "Connection": "close",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers; they win over the server's own."""

    parts: Callable[[], Iterator[bytes]] | None = None
    """For an answer without an end: what follows `body`. It must yield at least once a second, if only nothing, so
    that a client that has gone is noticed."""

    def __post_init__(self) -> None:
        for name, value in (*self.headers.items(), ("Content-Type", self.content_type)):
            if not f"{name}{value}".isprintable():
                raise ValueError(f"header {name!r} has control characters")


def words(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """A line of plain text."""
    return Response(f"{text}\n".encode(), status=status, headers=headers or {})


def encode(response: Response, *, head_only: bool) -> bytes:
    """The bytes of an answer; of one without an end, its beginning."""
    headers = {
        **_COMMON_HEADERS,
        "Date": formatdate(usegmt=True),
        "Content-Type": response.content_type,
        **({} if response.parts else {"Content-Length": str(len(response.body))}),
        **response.headers,
    }
    lines = [f"HTTP/1.1 {int(response.status)} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join((*lines, "", "")).encode("latin-1")
    return head if head_only else head + response.body
