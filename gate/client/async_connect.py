"""The asyncio twin of `gate.publish.connect.open_client`: the same addresses, checks and options."""

from collections.abc import Callable
from typing import Any, Protocol

import redis
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.connection import SSLConnection as BlockingSSLConnection
from redis.connection import UnixDomainSocketConnection as BlockingUnixConnection

from gate.publish.connect import Plan, Tls, connection_plan


class AsyncClient(Protocol):
    """The few doors of `redis.asyncio.Redis` that are used here, which is untyped behind them."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and read its reply; `options` are for redis-py's parser of the reply."""
        ...

    async def disconnect(self) -> None:
        """Close every connection; the next command opens a new one."""
        ...


class AsyncRedisClient:
    """One server, or a cluster, behind those doors. It is made at the first command, in the loop that sends it."""

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        """`make` gives what commands go to, and behind it whatever else is to be closed with it."""
        self._make = make
        self._parts: list[Any] = []

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """See `AsyncClient.execute_command`."""
        if not self._parts:
            self._parts = self._make()
        try:
            return await self._parts[0].execute_command(*args, **options)
        except redis.ConnectionError as error:
            # Where connecting fails, redis-py says so around what the server answered, such as a refused password.
            if isinstance(error.__cause__, redis.RedisError):
                raise error.__cause__ from None
            raise

    async def disconnect(self) -> None:
        """See `AsyncClient.disconnect`. The nodes of a cluster are asked anew next time: one of them may be gone."""
        parts, self._parts = self._parts, []
        for part in parts:
            await part.aclose()


def open_async_client(
    url: str,
    password: str | None = None,
    timeout_s: float = 5.0,
    *,
    tls: Tls | None = None,
    sentinel_password: str | None = None,
) -> AsyncClient:
    """`gate.publish.connect.open_client` for asyncio; nothing is connected yet. Parameters and exceptions as there."""
    plan = connection_plan(url, password, timeout_s, tls=tls, sentinel_password=sentinel_password)
    return AsyncRedisClient(lambda: _parts(plan))


def _parts(plan: Plan) -> list[Any]:
    options = {**plan.options, "retry": Retry(NoBackoff(), 0)}
    if plan.kind == "cluster":
        node: Callable[[str, int], Any] = ClusterNode
        cluster: Callable[..., Any] = RedisCluster
        return [cluster(startup_nodes=[node(host, port) for host, port in plan.nodes], **options)]
    if plan.kind == "sentinel":
        make: Callable[..., Any] = Sentinel
        of_sentinels = {**plan.sentinel_options, "retry": options["retry"]}
        sentinel = make(plan.nodes, sentinel_kwargs=of_sentinels, **options)
        return [sentinel.master_for(plan.master), *sentinel.sentinels]
    blocking = options.pop("connection_class")
    kind: type[Connection | UnixDomainSocketConnection] = Connection
    if issubclass(blocking, BlockingSSLConnection):
        kind = SSLConnection
    elif issubclass(blocking, BlockingUnixConnection):
        kind = UnixDomainSocketConnection
    # From the pool, so that closing the client closes the pool as well.
    return [Redis.from_pool(ConnectionPool(connection_class=kind, **options))]
