"""Reaching Redis: one way to connect for producer and consumer, and what its errors mean.

Exceptions of redis-py never leave this package: their texts may repeat what stood in the URL. They become `SinkError`s
whose message names the address without its secrets and what to do.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection, parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.retry import Retry

from gate.publish.sink import FaultCause, SinkError
from gate.redact import safe_address


class Pipeline(Protocol):
    """Commands that are sent together."""

    def execute_command(self, *args: Any) -> Any:
        """Queue one command."""
        ...

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        """Send what was queued; refusals are exceptions in the list when `raise_on_error` is false."""
        ...


class Client(Protocol):
    """The few doors of `redis.Redis` that are used here, which is untyped behind them."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and read its reply; `options` are for redis-py's parser of the reply."""
        ...

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """A new pipeline."""
        ...

    def disconnect(self) -> None:
        """Close every connection; the next command opens a new one."""
        ...


class RedisClient:
    """`redis.Redis` behind those doors."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self._redis: Any = redis.Redis(connection_pool=pool)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """See `Client.execute_command`."""
        return self._redis.execute_command(*args, **options)

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """See `Client.pipeline`."""
        pipeline: Pipeline = self._redis.pipeline(transaction=transaction)
        return pipeline

    def disconnect(self) -> None:
        """See `Client.disconnect`."""
        self._redis.connection_pool.disconnect()


SCHEMES = ("redis", "rediss", "unix")

FAULTS = (redis.RedisError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What a call of redis-py may raise: its own errors, and whatever its parser trips over when bytes were corrupted."""

_REMEDIES = {
    FaultCause.AUTH: "wrong or missing user or password; correct the password file or the URL",
    FaultCause.DENIED: "the user may not run a command that is needed; extend its ACL",
    FaultCause.REFUSED: "nothing listens there; start Redis or correct the address",
    FaultCause.UNREACHABLE: "the host cannot be found or reached; correct the address or the network",
    FaultCause.TIMEOUT: "no answer in time; the server is overloaded, paused or behind a firewall",
    FaultCause.DISCONNECTED: "the connection was lost",
    FaultCause.TLS: "no secure connection; check the certificate, the CA and that the port speaks TLS",
    FaultCause.LOADING: "the server is still loading its data",
    FaultCause.FULL: "the server is out of memory (maxmemory); raise it or keep fewer events",
    FaultCause.READ_ONLY: "the server refuses writes (replica, or its disk is full)",
    FaultCause.WRONG_TYPE: "the stream's key holds something that is not a stream; choose another key",
    FaultCause.OTHER: "the server did not do what was asked",
}

_REPLY_CAUSES = {
    "NOAUTH": FaultCause.AUTH,
    "WRONGPASS": FaultCause.AUTH,
    "NOPERM": FaultCause.DENIED,
    "OOM": FaultCause.FULL,
    "READONLY": FaultCause.READ_ONLY,
    "MISCONF": FaultCause.READ_ONLY,
    "WRONGTYPE": FaultCause.WRONG_TYPE,
    "LOADING": FaultCause.LOADING,
}


def open_client(url: str, password: str | None = None, timeout_s: float = 5.0) -> RedisClient:
    """A client for `redis://`, `rediss://` or `unix://`; nothing is connected yet.

    redis-py's own retries are off, whatever the URL says: XADD is not idempotent, and a retry after a lost reply
    would store the event twice. Replies are bytes in the RESP2 form. `password` wins over the one in the URL.

    Raises:
        SinkError: the URL cannot be understood.
    """
    options = _options(url)
    for name in ("retry", "retry_on_timeout", "retry_on_error", "decode_responses", "protocol", "max_connections"):
        options.pop(name, None)
    if password is not None:
        options["password"] = password
    options.setdefault("socket_timeout", timeout_s)
    options.setdefault("socket_connect_timeout", timeout_s)
    connection_class = options.pop("connection_class", None) or redis.Connection
    if issubclass(connection_class, SSLConnection):
        # redis-py 5 does not check the host's name by default.
        options.setdefault("ssl_check_hostname", True)
    options.update(protocol=2, retry=Retry(NoBackoff(), 0))
    try:
        # Options of the URL that no connection knows are found here, not in the publisher's thread.
        connection_class(**options)
    except (TypeError, ValueError, redis.RedisError):
        raise _bad_address(url, "an option behind the ? is unknown or malformed") from None
    return RedisClient(ConnectionPool(connection_class=connection_class, **options))


def _options(url: str) -> dict[str, Any]:
    try:
        scheme = urlsplit(url).scheme
        if scheme not in SCHEMES:
            raise _bad_address(url, f"expected {', '.join(f'{known}://' for known in SCHEMES)}")
        parse: Callable[[str], dict[str, Any]] = parse_url
        options = parse(url)
    except ValueError:
        raise _bad_address(url, "malformed; percent-encode special characters of user and password") from None
    if scheme == "unix" and not options.get("path"):
        raise _bad_address(url, "the path of the socket is missing, as in unix:///run/redis.sock")
    return options


def _bad_address(url: str, problem: str) -> SinkError:
    return SinkError(f"Redis address {shown(url)}: {problem}", cause=FaultCause.BAD_ADDRESS)


def shown(url: str) -> str:
    """What may be shown of a Redis URL; nothing of a text that is not a URL, for it may be all secret."""
    return safe_address(url) if "://" in url else "(not a URL)"


def fault(error: Exception, url: str) -> SinkError:
    """What `error` of redis-py means, without anything secret in it."""
    cause = _cause(error)
    return SinkError(f"Redis at {shown(url)}: {_REMEDIES[cause]}", cause=cause)


def _cause(error: BaseException) -> FaultCause:
    if isinstance(error, (AuthenticationError, AuthorizationError)):
        return FaultCause.AUTH
    by_type = {
        NoPermissionError: FaultCause.DENIED,
        OutOfMemoryError: FaultCause.FULL,
        ReadOnlyError: FaultCause.READ_ONLY,
        BusyLoadingError: FaultCause.LOADING,
    }
    for kind, cause in by_type.items():
        if isinstance(error, kind):
            return cause
    if isinstance(error, ResponseError):
        return _REPLY_CAUSES.get(str(error).partition(" ")[0], FaultCause.OTHER)
    return _connection_cause(error)


def _connection_cause(error: BaseException) -> FaultCause:
    # redis-py wraps the socket's error; the wrapped one says more.
    inner = error.__cause__ or error.__context__
    for candidate in (inner, error):
        if isinstance(candidate, ssl.SSLError):
            return FaultCause.TLS
        if isinstance(candidate, (ConnectionRefusedError, FileNotFoundError)):
            return FaultCause.REFUSED
        if isinstance(candidate, (redis.TimeoutError, TimeoutError, socket.timeout)):
            return FaultCause.TIMEOUT
        if isinstance(candidate, (ConnectionError, BrokenPipeError)):
            return FaultCause.DISCONNECTED
        if isinstance(candidate, OSError):
            return FaultCause.UNREACHABLE
    return FaultCause.DISCONNECTED if isinstance(error, redis.ConnectionError) else FaultCause.OTHER
