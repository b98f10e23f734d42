"""The asyncio twin of a client of `gate.publish.connect`: the same address, checks and options."""

from typing import Any, Protocol

import redis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import SSLConnection as BlockingSSLConnection
from redis.connection import UnixDomainSocketConnection as BlockingUnixConnection

from gate.publish.connect import open_client


class AsyncClient(Protocol):
    """The few doors of `redis.asyncio.Redis` that are used here, which is untyped behind them."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and read its reply; `options` are for redis-py's parser of the reply."""
        ...

    async def disconnect(self) -> None:
        """Close every connection; the next command opens a new one."""
        ...


class AsyncRedisClient:
    """`redis.asyncio.Redis` behind those doors."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._redis: Any = Redis(connection_pool=pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """See `AsyncClient.execute_command`."""
        try:
            return await self._redis.execute_command(*args, **options)
        except redis.ConnectionError as error:
            # Where connecting fails, redis-py says so around what the server answered, such as a refused password.
            if isinstance(error.__cause__, redis.RedisError):
                raise error.__cause__ from None
            raise

    async def disconnect(self) -> None:
        """See `AsyncClient.disconnect`."""
        await self._redis.connection_pool.disconnect()


def open_async_client(url: str, password: str | None = None, timeout_s: float = 5.0) -> AsyncClient:
    """`gate.publish.connect.open_client` for asyncio; nothing is connected yet. Raises as that does."""
    pool = open_client(url, password, timeout_s).pool
    options: dict[str, Any] = dict(pool.connection_kwargs)
    options["retry"] = Retry(NoBackoff(), 0)
    kind: type[Connection | UnixDomainSocketConnection] = Connection
    if issubclass(pool.connection_class, BlockingSSLConnection):
        kind = SSLConnection
    elif issubclass(pool.connection_class, BlockingUnixConnection):
        kind = UnixDomainSocketConnection
    return AsyncRedisClient(ConnectionPool(connection_class=kind, **options))
