"""What `FaceStream` and `AsyncFaceStream` have in common: their parameters and the parts made of them."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Literal, TypeVar

from gate.client.consumer import Consumer, Rules
from gate.client.dead import DeadLetters
from gate.client.lag import GroupLag, LagProbe, group_lag
from gate.client.memory import GroupMemory
from gate.client.outcomes import Counts
from gate.client.readers import GroupReader, Reader, TailReader
from gate.client.steps import Steps
from gate.publish.connect import Tls, open_client
from gate.publish.retry import RetryDelays

C = TypeVar("C")


class BaseStream(Generic[C]):
    """A consumer over a client of kind `C`, and whether it was stopped."""

    def __init__(
        self,
        url: str,
        *,
        group: str | None = None,
        consumer: str | None = None,
        stream: str | Sequence[str] = "facegate:faces",
        password: str | None = None,
        tls: Tls | None = None,
        sentinel_password: str | None = None,
        from_start: bool = False,
        block_s: float = 1.0,
        timeout_s: float = 5.0,
        prefetch: int = 16,
        claim_idle_s: float = 60.0,
        max_deliveries: int | None = 5,
        remember: int = 10_000,
        remember_s: float | None = None,
        skip_superseded: bool = False,
        unknown_schema: Literal["raise", "dead-letter"] = "raise",
        retry: RetryDelays | None = None,
        connect: Callable[[str, str | None, float], C] | None = None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: as `redis.url` of the gate's configuration.
            group: name of the consumer group, created where it is missing; None just follows along.
            consumer: name of this consumer, unique in the group and the same after a restart; needed with `group`.
            stream: key of the stream, or several keys.
            password: wins over the one in `url`.
            tls: files for `rediss://`.
            sentinel_password: of the Sentinels themselves.
            from_start: begin with the oldest entry instead of now; has no effect on a group that exists.
            block_s: longest wait for an entry, and so for `stop` to take effect.
            timeout_s: for connecting and for each reply.
            prefetch: most entries fetched at once.
            claim_idle_s: faces that another consumer has held for so long without acknowledging are taken over;
                longer than the loop's body ever takes.
            max_deliveries: a face that was given so often and never acknowledged is written to the stream of dead
                letters; None gives it for ever.
            remember: how many handled `event_id`s this process keeps to drop what comes twice.
            remember_s: also keep them in Redis for so many seconds, so that a restart or another consumer of the group
                does not handle an event again; None keeps them in this process only.
            skip_superseded: drop a face when a better one of its visit has been fetched already.
            unknown_schema: `raise` ends the iteration at an event of a newer producer; `dead-letter` writes it off.
            retry: delays between attempts to reach the server.
            connect: makes the client.

        Raises:
            PublishError: `url` cannot be understood.
            ValueError: a group without a consumer, no stream, or a number that is not positive.
        """
        streams = [stream] if isinstance(stream, str) else list(stream)
        if not streams or any("{camera}" in key for key in streams):
            raise ValueError("name the streams themselves: one key, or one for each camera")
        if group is not None and not consumer:
            raise ValueError("a group needs a consumer: a name that is unique in the group and survives a restart")
        if max_deliveries is not None and max_deliveries < 1:
            raise ValueError(f"max_deliveries must be at least 1 or None, got {max_deliveries}")
        if group is None and remember_s is not None:
            raise ValueError("remember_s needs a group: without one there is nobody to share with")
        self._url, self._streams, self._group = url, streams, group
        self._stopped = threading.Event()
        secrets = {"tls": tls, "sentinel_password": sentinel_password}
        self._client = (connect or partial(self._connect, **secrets))(url, password, timeout_s + block_s)
        self._open_probe = partial(open_client, url, password, timeout_s, tls=tls, sentinel_password=sentinel_password)
        reader: Reader
        if group is None or not consumer:
            reader = TailReader(streams, block_s=block_s, prefetch=prefetch, from_start=from_start)
        else:
            reader = GroupReader(
                streams,
                group=group,
                consumer=consumer,
                block_s=block_s,
                prefetch=prefetch,
                claim_idle_s=claim_idle_s,
                from_start=from_start,
            )
        shared = None
        if group is not None and remember_s is not None:
            shared = GroupMemory(group, keep_s=remember_s, lease_s=claim_idle_s)
        self._consumer = Consumer(
            reader,
            Rules(remember, skip_superseded, max_deliveries, forgive_schema=unknown_schema == "dead-letter"),
            url=url,
            retry=retry if retry is not None else RetryDelays(),
            stopped=self._stopped.is_set,
            group_memory=shared,
            dead_letters=DeadLetters(group, consumer) if group is not None and consumer else None,
        )

    _connect: Callable[..., C]
    """Makes the client where no other way is given."""

    @property
    def counts(self) -> Counts:
        """What became of the entries so far."""
        return self._consumer.counts

    @property
    def group(self) -> str:
        """The consumer group. Raises `ValueError` where there is none."""
        if self._group is None:
            raise ValueError("this stream just follows along; a lag is that of a group")
        return self._group

    def lag_probe(self) -> LagProbe:
        """Measures the group's lag from any thread. Raises `ValueError` where there is no group."""
        return LagProbe(self._open_probe(), self._url, streams=self._streams, group=self.group)

    def _lag(self) -> Steps[list[GroupLag]]:
        return group_lag(self._streams, self.group)
