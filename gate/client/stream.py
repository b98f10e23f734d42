"""`FaceStream`: accepted faces as a Python iterator."""

import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import final

import redis

from gate.client.readers import GroupReader, Reader, TailReader
from gate.client.received import Entry, Received, ReceivedFace, ReceivedVisitEnd
from gate.errors import EventError, PublishError
from gate.publish.connect import FAULTS, Client, fault, open_client
from gate.publish.event import Event, FaceEvent, UnknownSchemaError, decode
from gate.publish.retry import RetryDelays
from gate.publish.sink import FaultCause

_log = logging.getLogger(__name__)

_NO_USE_TO_RETRY = {FaultCause.AUTH, FaultCause.DENIED, FaultCause.TLS, FaultCause.WRONG_TYPE, FaultCause.BAD_ADDRESS}


@final
class FaceStream:
    """Iterate over accepted faces as they come.

    ::

        for face in FaceStream("redis://…", group="recognizers", consumer="r1"):
            print(face.camera, face.quality, face.crop.shape)

    With a `group`, every face goes to one consumer of the group and is acknowledged when the loop comes back for the
    next one. A body that raises leaves its face unacknowledged: the same consumer gets it again when it iterates
    again, or another one takes it over after `claim_idle_s`. The same goes for `break`, for a loop cannot tell the
    two apart; leave with `stop()`, or use the stream as a context manager, to have the last face acknowledged.

    Faces that come twice, because a consumer died between doing and acknowledging or a producer could not know
    whether the first copy arrived, are dropped by their `event_id`, as far back as `remember` events of this process.

    Without a group every face from now on is seen and nothing is acknowledged.

    A lost connection is taken up again for ever. Iterating raises `gate.errors.PublishError` where trying again is
    of no use (password, permissions, TLS, wrong key), and `gate.publish.event.UnknownSchemaError` when the producer
    is newer than this reader. Entries that are no events are logged and skipped.

    An ACL user needs `+ping +xgroup|create +xreadgroup +xack +xautoclaim`, without a group `+ping +xread +xrevrange`.
    """

    def __init__(
        self,
        url: str,
        *,
        group: str | None = None,
        consumer: str | None = None,
        stream: str | Sequence[str] = "facegate:faces",
        password: str | None = None,
        from_start: bool = False,
        block_s: float = 1.0,
        timeout_s: float = 5.0,
        prefetch: int = 16,
        claim_idle_s: float = 60.0,
        remember: int = 10_000,
        retry: RetryDelays | None = None,
        connect: Callable[[str, str | None, float], Client] = open_client,
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            group: name of the consumer group, created where it is missing; None just follows along.
            consumer: name of this consumer, unique in the group and the same after a restart; needed with `group`.
            stream: key of the stream, or several keys.
            password: wins over the one in `url`.
            from_start: begin with the oldest entry instead of now; has no effect on a group that exists.
            block_s: longest wait for an entry, and so for `stop` to take effect.
            timeout_s: for connecting and for each reply.
            prefetch: most entries fetched at once.
            claim_idle_s: faces that another consumer has held for so long without acknowledging are taken over;
                longer than the loop's body ever takes.
            remember: how many handled `event_id`s are kept to drop what comes twice.
            retry: delays between attempts to reach the server.
            connect: makes the client.

        Raises:
            PublishError: `url` cannot be understood.
            ValueError: a group without a consumer, or no stream.
        """
        streams = [stream] if isinstance(stream, str) else list(stream)
        if not streams or any("{camera}" in key for key in streams):
            raise ValueError("name the streams themselves: one key, or one for each camera")
        self._url = url
        self._client = connect(url, password, timeout_s + block_s)
        self._reader: Reader
        if group is None:
            self._reader = TailReader(self._client, streams, block_s=block_s, prefetch=prefetch, from_start=from_start)
        else:
            if not consumer:
                raise ValueError("a group needs a consumer: a name that is unique in the group and survives a restart")
            self._reader = GroupReader(
                self._client,
                streams,
                group=group,
                consumer=consumer,
                block_s=block_s,
                prefetch=prefetch,
                claim_idle_s=claim_idle_s,
                from_start=from_start,
            )
        self._retry = retry if retry is not None else RetryDelays()
        self._rng = random.Random()
        self._stopped = threading.Event()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._remember = remember
        self._open: Entry | None = None
        self._open_id = ""
        self.unreadable = 0
        """How many entries were skipped because they are no events, or were trimmed away before they were handled."""

    def __iter__(self) -> Iterator[ReceivedFace]:
        for received in self.events():
            if isinstance(received, ReceivedFace):
                yield received

    def events(self) -> Iterator[Received]:
        """Faces and visit ends; acknowledged as faces are."""
        self._reader.restart()
        failures = 0
        while not self._stopped.is_set():
            try:
                entries = self._reader.read()
            except FAULTS as error:
                failures += 1
                self._await_return(error, failures)
                continue
            failures = 0
            yield from self._handle(entries)

    def check(self) -> None:
        """Reach the server once. Raises `gate.errors.PublishError`."""
        try:
            self._client.execute_command("PING")
        except FAULTS as error:
            self._client.disconnect()
            raise fault(error, self._url) from None

    def stop(self) -> None:
        """End the iteration when its body comes back; safe to call from anywhere, for good."""
        self._stopped.set()

    def close(self) -> None:
        """Stop and disconnect, without acknowledging a face whose body has not come back."""
        self.stop()
        self._client.disconnect()

    def __enter__(self) -> "FaceStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self.close()

    def _handle(self, entries: Sequence[Entry]) -> Iterator[Received]:
        for entry in entries:
            if self._stopped.is_set():
                return
            if self._reader.overdue():
                # The body was slow; what is left of this batch may be another consumer's by now.
                self._reader.restart()
                return
            event = self._event_of(entry)
            self._open, self._open_id = entry, "" if event is None else event.event_id
            if event is not None and event.event_id not in self._done:
                yield ReceivedFace(event, entry) if isinstance(event, FaceEvent) else ReceivedVisitEnd(event, entry)
            self._finish()

    def _event_of(self, entry: Entry) -> Event | None:
        if not entry.fields:
            self.unreadable += 1
            _log.warning("entry %s of %s was trimmed away before it was handled", entry.entry_id, entry.stream)
            return None
        try:
            return decode(entry.fields)
        except UnknownSchemaError:
            raise
        except EventError as error:
            self.unreadable += 1
            _log.warning("entry %s of %s is skipped: %s", entry.entry_id, entry.stream, error)
            return None

    def _finish(self) -> None:
        """Remember and acknowledge the entry that was given last."""
        entry, self._open = self._open, None
        if entry is None:
            return
        if self._open_id:
            self._done[self._open_id] = None
            if len(self._done) > self._remember:
                self._done.popitem(last=False)
        try:
            self._reader.ack(entry)
        except FAULTS:
            # It comes again after the reconnection, is known as done, and is acknowledged then.
            self._client.disconnect()
            self._reader.restart()

    def _await_return(self, error: Exception, failures: int) -> None:
        self._client.disconnect()
        self._reader.restart()
        problem = fault(error, self._url)
        unknown = isinstance(error, redis.ResponseError) and problem.cause is FaultCause.OTHER
        if unknown or problem.cause in _NO_USE_TO_RETRY:
            raise PublishError(str(problem)) from None
        if failures & (failures - 1) == 0:
            _log.warning("%s (attempt %d)", problem, failures)
        self._stopped.wait(self._retry.after(failures, self._rng))
