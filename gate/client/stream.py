"""`FaceStream`: accepted faces as a Python iterator."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, final

from gate.client.base import BaseStream
from gate.client.lag import GroupLag
from gate.client.received import Received, ReceivedFace
from gate.client.steps import Command, Pause, Step, perform, send
from gate.publish.connect import FAULTS, Client, fault, open_client


@final
class FaceStream(BaseStream[Client]):
    """Iterate over accepted faces as they come.

    ::

        for face in FaceStream("redis://…", group="recognizers", consumer="r1"):
            print(face.camera, face.quality, face.crop.shape)

    With a `group`, every face goes to one consumer of the group and is acknowledged when the loop comes back for the
    next one. A body that raises leaves its face unacknowledged: the same consumer gets it again when it iterates
    again, or another one takes it over after `claim_idle_s`. The same goes for `break`, for a loop cannot tell the
    two apart; leave with `stop()`, or use the stream as a context manager, to have the last face acknowledged.

    Every face reaches a body at least once. One that comes twice, because a consumer died between doing and
    acknowledging or a producer could not know whether the first copy arrived, is dropped by its `event_id`, as far
    back as `remember` events of this process, and with `remember_s` for that long in the whole group. A body that was
    killed before it came back runs again; only what it wrote itself under the `event_id` can tell.

    A face that was given `max_deliveries` times without being acknowledged, and entries that are no events, are copied
    to the stream `KEY:dead:GROUP` with the reason, and acknowledged.

    Without a group every face from now on is seen, nothing is acknowledged and what is no event is skipped.

    A lost connection is taken up again for ever. Iterating raises `gate.errors.PublishError` where trying again is
    of no use (password, permissions, TLS, wrong key), and `gate.publish.event.UnknownSchemaError` when the producer
    is newer than this reader. `counts` says what became of every entry.

    An ACL user needs `+ping +xgroup|create +xreadgroup +xack +xautoclaim +xpending +xclaim`, for dead letters `+xadd`,
    with `remember_s` `+set +get`, for `lag` `+xinfo`; without a group `+ping +xread +xrevrange`.
    """

    _connect = staticmethod(open_client)

    def __iter__(self) -> Iterator[ReceivedFace]:
        for received in self.events():
            if isinstance(received, ReceivedFace):
                yield received

    def events(self) -> Iterator[Received]:
        """Faces and visit ends; acknowledged as faces are."""
        self._consumer.begin()
        while (received := perform(self._consumer.following(), self._do)) is not None:
            yield received

    def lag(self) -> list[GroupLag]:
        """How far the group is behind, a stream at a time; safe to call from another thread.

        Raises:
            PublishError: the server cannot be asked.
            ValueError: there is no group.
        """
        steps = self._lag()
        try:
            return perform(steps, self._do)
        except FAULTS as error:
            raise fault(error, self._url) from None

    def check(self) -> None:
        """Reach the server once. Raises `gate.errors.PublishError`."""
        try:
            perform(send("PING"), self._do)
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
        try:
            if error is None:
                perform(self._consumer.finish(), self._do)
        finally:
            self.close()

    def _do(self, step: Step) -> Any:
        if isinstance(step, Command):
            return self._client.execute_command(*step.words, **step.options)
        if isinstance(step, Pause):
            return self._stopped.wait(step.seconds)
        return self._client.disconnect()
