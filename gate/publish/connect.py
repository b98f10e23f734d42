"""Reaching Redis: one way to connect for producer and consumer, and what its errors mean.

Exceptions of redis-py never leave this package: their texts may repeat what stood in the URL. They become `SinkError`s
whose message names the address without its secrets and what to do.
"""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection, parse_url
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from gate.publish.clients import Client, ClusterClient, RedisClient, bound_names
from gate.publish.sink import FaultCause, SinkError
from gate.redact import safe_address

__all__ = ["FAULTS", "SCHEMES", "Client", "Plan", "Tls", "connection_plan", "fault", "open_client", "shown"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

_PORTS = {"": 6379, "cluster": 6379, "sentinel": 26379}

FAULTS = (redis.RedisError, RedisClusterException, OSError, ValueError, LookupError, TypeError, AttributeError)
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
    FaultCause.NO_MASTER: "no Sentinel names a master of that name that is up",
    FaultCause.MOVED: "the cluster is being changed; the next attempt follows it",
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


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for `rediss://`; None takes the system's CAs, or sends no certificate."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """How a URL is reached, for a client of redis-py with threads or with asyncio. It holds secrets."""

    kind: str
    """Empty, `sentinel` or `cluster`."""

    nodes: tuple[tuple[str, int], ...]
    """Of Sentinels or of a cluster."""

    master: str
    options: dict[str, Any]
    """For each connection; with `connection_class` where there is one server."""

    sentinel_options: dict[str, Any] = field(default_factory=dict)
    """For each connection to a Sentinel."""


@dataclass(frozen=True, slots=True)
class _Address:
    """A Redis URL taken apart."""

    secure: bool
    kind: str
    """Empty, `sentinel` or `cluster`."""

    nodes: tuple[tuple[str, int], ...]
    master: str
    options: dict[str, Any]
    """As redis-py names them: user, password, database, and whatever stood behind the ?."""


def open_client(
    url: str,
    password: str | None = None,
    timeout_s: float = 5.0,
    *,
    tls: Tls | None = None,
    sentinel_password: str | None = None,
) -> Client:
    """A client for a Redis URL; nothing is connected yet.

    Args:
        url: `redis://[user:password@]host:port/db`, `unix://path`,
            `redis+sentinel://[user:password@]host:port,host:port/master[/db]` or
            `redis+cluster://[user:password@]host:port,host:port`; with `rediss` for TLS.
        password: wins over the one in the URL.
        timeout_s: for connecting and for each reply.
        tls: files for `rediss`.
        sentinel_password: of the Sentinels themselves.

    redis-py's own retries are off, whatever the URL says: XADD is not idempotent, and a retry after a lost reply
    would store the event twice. Replies are bytes in the RESP2 form.

    Raises:
        SinkError: the URL or a file cannot be used.
    """
    plan = connection_plan(url, password, timeout_s, tls=tls, sentinel_password=sentinel_password)
    if plan.kind == "cluster":
        return ClusterClient(plan.nodes, plan.options)
    if plan.kind == "sentinel":
        make: Callable[..., Any] = Sentinel
        sentinel = make(plan.nodes, sentinel_kwargs=plan.sentinel_options, **plan.options)
        master = sentinel.master_for(plan.master)
        for server in (master, *sentinel.sentinels):
            bound_names(server.connection_pool)
        return RedisClient(master)
    pool = ConnectionPool(**plan.options)
    bound_names(pool)
    return RedisClient(redis.Redis(connection_pool=pool))


def connection_plan(
    url: str,
    password: str | None = None,
    timeout_s: float = 5.0,
    *,
    tls: Tls | None = None,
    sentinel_password: str | None = None,
) -> Plan:
    """What `open_client` makes its client of; parameters and exceptions as there."""
    address = _address(url)
    options = _connection_options(address, url, password, timeout_s, tls or Tls())
    if address.kind == "cluster":
        if options.pop("db", 0):
            raise _bad_address(url, "a cluster has one database only; remove its number")
        return Plan("cluster", address.nodes, "", {**options, "ssl": address.secure})
    if address.kind == "sentinel":
        secure = {"ssl": True} if address.secure else {}
        shared = {name: value for name, value in options.items() if name not in {"db", "username", "password"}}
        secret = {} if sentinel_password is None else {"password": sentinel_password}
        return Plan("sentinel", address.nodes, address.master, {**options, **secure}, {**shared, **secret, **secure})
    return Plan("", (), "", {"connection_class": redis.Connection, **options})


def _connection_options(
    address: _Address, url: str, password: str | None, timeout_s: float, tls: Tls
) -> dict[str, Any]:
    """What each connection is made with, tried out: what no connection knows is found here, not in a thread."""
    options = dict(address.options)
    for name in ("retry", "retry_on_timeout", "retry_on_error", "decode_responses", "protocol", "max_connections"):
        options.pop(name, None)
    if password is not None:
        options["password"] = password
    options.setdefault("socket_timeout", timeout_s)
    options.setdefault("socket_connect_timeout", timeout_s)
    connection_class = options.get("connection_class", redis.Connection)
    if issubclass(connection_class, SSLConnection):
        # redis-py 5 does not check the host's name by default.
        options.setdefault("ssl_check_hostname", True)
        options.update(_tls_options(tls, url))
    options.update(protocol=2, retry=Retry(NoBackoff(), 0))
    plain = {name: value for name, value in options.items() if name != "connection_class"}
    try:
        connection_class(**plain)
    except (TypeError, ValueError, redis.RedisError):
        raise _bad_address(url, "an option behind the ? is unknown or malformed") from None
    if address.kind:
        for name in ("connection_class", "host", "port"):
            options.pop(name, None)
    return options


def _tls_options(tls: Tls, url: str) -> dict[str, Any]:
    options = {"ssl_ca_certs": tls.ca_file, "ssl_certfile": tls.cert_file, "ssl_keyfile": tls.key_file}
    context = ssl.create_default_context()
    try:
        if tls.ca_file is not None:
            context.load_verify_locations(tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except OSError as error:
        # ssl.SSLError is one; neither quotes the files.
        problem = "holds no certificate or key that fits" if isinstance(error, ssl.SSLError) else error.strerror
        raise _bad_address(url, f"a file of redis.ca_file, cert_file or key_file: {problem}") from None
    return {name: str(path) for name, path in options.items() if path is not None}


def _address(url: str) -> _Address:
    scheme, colon, rest = url.partition("://")
    transport, _, kind = scheme.lower().partition("+")
    if not colon or scheme.lower() not in SCHEMES:
        raise _bad_address(url, f"expected {', '.join(f'{known}://' for known in SCHEMES)}")
    try:
        if not kind:
            options = _parsed(url)
            if transport == "unix" and not options.get("path"):
                raise _bad_address(url, "the path of the socket is missing, as in unix:///run/redis.sock")
            return _Address(transport == "rediss", "", (), "", options)
        user, at, places = rest.partition("?")[0].partition("/")[0].rpartition("@")
        nodes = tuple(_node(place, _PORTS[kind]) for place in places.split(","))
        path, mark, query = rest.partition("?")[0].partition("/")[2], *rest.partition("?")[1:]
        master, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
        options = _parsed(f"{transport}://{user}{at}{nodes[0][0]}:{nodes[0][1]}/{database}{mark}{query}")
    except ValueError:
        raise _bad_address(url, "malformed; percent-encode special characters of user and password") from None
    if kind == "sentinel" and not master:
        raise _bad_address(url, "the name of the master is missing, as in redis+sentinel://host:26379/mymaster")
    return _Address(transport == "rediss", kind, nodes, unquote(master), options)


def _parsed(url: str) -> dict[str, Any]:
    parse: Callable[[str], dict[str, Any]] = parse_url
    return parse(url)


def _node(place: str, port: int) -> tuple[str, int]:
    host, colon, number = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, number = place, str(port)
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise ValueError(place)
    return host, int(number)


def _bad_address(url: str, problem: str) -> SinkError:
    return SinkError(f"Redis address {shown(url)}: {problem}", cause=FaultCause.BAD_ADDRESS)


def shown(url: str) -> str:
    """What may be shown of a Redis URL; nothing of a text that is not a URL, for it may be all secret."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        return "(not a URL)"
    if "+" not in scheme:
        return safe_address(url)
    authority, _, path = rest.partition("/")
    hosts = authority.rpartition("@")[2].split(",")
    safe = all(safe_address(f"redis://{host}/{path}") == f"redis://{host}" for host in hosts)
    return f"{scheme.lower()}://{','.join(hosts) if safe else '…'}"


def fault(error: Exception, url: str) -> SinkError:
    """What `error` of redis-py means, without anything secret in it."""
    cause = _cause(error)
    return SinkError(f"Redis at {shown(url)}: {_REMEDIES[cause]}", cause=cause)


def _cause(error: BaseException) -> FaultCause:
    if isinstance(error, (AuthenticationError, AuthorizationError)):
        return FaultCause.AUTH
    by_type: dict[type[Exception] | tuple[type[Exception], ...], FaultCause] = {
        NoPermissionError: FaultCause.DENIED,
        OutOfMemoryError: FaultCause.FULL,
        ReadOnlyError: FaultCause.READ_ONLY,
        BusyLoadingError: FaultCause.LOADING,
        MasterNotFoundError: FaultCause.NO_MASTER,
        (MovedError, AskError, TryAgainError, ClusterDownError): FaultCause.MOVED,
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
