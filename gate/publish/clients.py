"""The few doors of redis-py that are used here: for one server, behind Sentinels, and for a cluster.

None of them sends a command a second time by itself, whatever redis-py would do by default: XADD is not idempotent, and
a retry after a lost reply would store the event twice.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection

from gate.names import NAMES

_node: Callable[[str, int], Any] = ClusterNode


class _BoundedName:
    """A connection that looks its host's name up within the time-out for connecting; redis-py's own lookup has none."""

    host: str
    socket_connect_timeout: float | None

    def _connect(self) -> Any:
        NAMES.check(self.host, self.socket_connect_timeout)
        connect: Callable[[], Any] = super()._connect  # type: ignore[misc]
        return connect()


@cache
def _bounded(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (_BoundedName, kind), {})


def bound_names(pool: Any) -> None:
    """Have the connections that a pool of redis-py will make look names up within their time-out."""
    if issubclass(pool.connection_class, Connection):
        pool.connection_class = _bounded(pool.connection_class)


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

    def __init__(self, server: Any) -> None:
        self._redis = server

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


class ClusterClient:
    """`redis.RedisCluster` behind those doors. Which node holds which key is asked when it is first needed."""

    def __init__(self, nodes: Sequence[tuple[str, int]], options: dict[str, Any]) -> None:
        self._nodes = nodes
        self._options = options
        self._lock = threading.Lock()
        self._cluster: Any = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """See `Client.execute_command`."""
        return self.cluster().execute_command(*args, **options)

    def pipeline(self, *, transaction: bool) -> Pipeline:  # noqa: ARG002 - nodes share no transaction
        """See `Client.pipeline`; each node gets its part."""
        return ClusterPipeline(self)

    def disconnect(self) -> None:
        """See `Client.disconnect`. The nodes are asked anew next time: one of them may be gone."""
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def cluster(self) -> Any:
        """The nodes, asked for their slots."""
        with self._lock:
            if self._cluster is None:
                startup_nodes: list[Any] = [_node(host, port) for host, port in self._found()]
                self._cluster = RedisCluster(startup_nodes=startup_nodes, **self._options)
            return self._cluster

    def _found(self) -> Sequence[tuple[str, int]]:
        """The nodes whose names have an address. Raises what stops the last one where none has."""
        timeout_s = self._options.get("socket_connect_timeout")
        problems = {(host, port): _problem(host, timeout_s) for host, port in self._nodes}
        found = [node for node, problem in problems.items() if problem is None]
        if not found:
            raise next(problem for problem in reversed(problems.values()) if problem is not None)
        return found


def _problem(host: str, timeout_s: float | None) -> OSError | None:
    try:
        NAMES.check(host, timeout_s)
    except OSError as error:
        return error
    return None


class ClusterPipeline:
    """Commands on keys, sent together to each node.

    redis-py's own pipeline of a cluster sends commands again whose reply was lost.
    """

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def execute_command(self, *args: Any) -> Any:
        """See `Pipeline.execute_command`; the key is the first argument."""
        self._commands.append(args)

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        """See `Pipeline.execute`."""
        cluster = self._client.cluster()
        places: dict[str, list[int]] = {}
        nodes: dict[str, Any] = {}
        for place, command in enumerate(self._commands):
            node = cluster.get_node_from_key(command[1])
            if node is None:
                raise redis.ConnectionError("no node of the cluster has the slot")
            nodes[node.name] = node
            places.setdefault(node.name, []).append(place)
        replies: list[Any] = [None] * len(self._commands)
        for name, wanted in places.items():
            pipeline = cluster.get_redis_connection(nodes[name]).pipeline(transaction=False)
            for place in wanted:
                pipeline.execute_command(*self._commands[place])
            for place, reply in zip(wanted, pipeline.execute(raise_on_error=raise_on_error), strict=True):
                replies[place] = reply
        return replies
