"""Reads the head of an HTTP/1.x request, strictly: what is not plainly right is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_LINE_BYTES = 8 * 1024
MAX_HEAD_BYTES = MAX_LINE_BYTES + 32 * 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[!-~]*")
_VERSION = re.compile(r"HTTP/\d\.\d")
_ONCE = {"host", "content-length", "transfer-encoding"}


class BadRequestError(Exception):
    """The request is refused with this status; the message is plain text for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body."""

    method: str
    """`GET` or `HEAD`."""

    path: str
    """As sent, without the query; begins with `/`."""

    query: str
    """Behind the `?`, as sent."""

    headers: Mapping[str, str]
    """Names in small letters; of a repeated name the values joined by commas, of `cookie` by semicolons."""

    has_certificate: bool = False
    """Whether the client has proved who it is with a certificate of the configured authority."""


def parse_head(head: bytes) -> Request:
    """Read the bytes up to and with the empty line (less where the limits were reached before it).

    Raises:
        BadRequestError: with 400, 405, 413, 414, 431 or 505.
    """
    line, separator, rest = head.partition(b"\r\n")
    if len(line) > MAX_LINE_BYTES:
        raise BadRequestError(414, "the request line is too long")
    if not separator or not head.endswith(b"\r\n\r\n") or len(rest) > MAX_HEAD_BYTES - MAX_LINE_BYTES:
        raise BadRequestError(431, "the headers are too long")
    method, target, version = _request_line(line)
    headers = _headers(rest[:-4].decode("latin-1"))
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise BadRequestError(413, "no body is taken here")
    if version == "HTTP/1.1" and "host" not in headers:
        raise BadRequestError(400, "the Host header is missing")
    path, _, query = target.partition("?")
    return Request(method, path, query, headers)


def _request_line(line: bytes) -> tuple[str, str, str]:
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]):
        raise BadRequestError(400, "this is not an HTTP request")
    method, target, version = parts
    if version not in {"HTTP/1.0", "HTTP/1.1"}:
        raise BadRequestError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method not in {"GET", "HEAD"}:
        raise BadRequestError(405, "only GET and HEAD are allowed here")
    if not _TARGET.fullmatch(target):
        raise BadRequestError(400, "the request target must be a path")
    return method, target, version


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in text.split("\r\n") if text else []:
        name, separator, value = line.partition(":")
        value = value.strip(" \t")
        if not separator or not _TOKEN.fullmatch(name) or not value.replace("\t", " ").isprintable():
            raise BadRequestError(400, "a header is malformed")
        key = name.lower()
        if key in headers and key in _ONCE:
            raise BadRequestError(400, f"the {key} header is there twice")
        between = "; " if key == "cookie" else ", "
        headers[key] = f"{headers[key]}{between}{value}" if key in headers else value
    return headers
