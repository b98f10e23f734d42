"""`AsyncFaceStream`: accepted faces as an asynchronous iterator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Any, final

from gate.client.async_connect import AsyncClient, open_async_client
from gate.client.base import BaseStream
from gate.client.lag import GroupLag
from gate.client.received import Received, ReceivedFace
from gate.client.steps import Command, Pause, Step, perform_async, send
from gate.publish.connect import FAULTS, fault


@final
class AsyncFaceStream(BaseStream[AsyncClient]):
    """`FaceStream` for asyncio: the same parameters, promises and exceptions.

    ::

        async with AsyncFaceStream("redis://…", group="recognizers", consumer="r1") as stream:
            async for face in stream:
                print(face.camera, face.quality, face.crop.shape)

    A task that is cancelled in its body leaves its face unacknowledged, as one does that raises. `crop` decodes a JPEG
    of 112x112 when first asked for, which takes half a millisecond of the loop's time.
    """

    _connect = staticmethod(open_async_client)

    async def __aiter__(self) -> AsyncIterator[ReceivedFace]:
        async for received in self.events():
            if isinstance(received, ReceivedFace):
                yield received

    async def events(self) -> AsyncIterator[Received]:
        """Faces and visit ends; acknowledged as faces are."""
        self._consumer.begin()
        while (received := await perform_async(self._consumer.following(), self._do)) is not None:
            yield received

    async def lag(self) -> list[GroupLag]:
        """How far the group is behind, a stream at a time. Raises as `FaceStream.lag`."""
        steps = self._lag()
        try:
            return await perform_async(steps, self._do)
        except FAULTS as error:
            raise fault(error, self._url) from None

    async def check(self) -> None:
        """Reach the server once. Raises `gate.errors.PublishError`."""
        try:
            await perform_async(send("PING"), self._do)
        except FAULTS as error:
            await self._client.disconnect()
            raise fault(error, self._url) from None

    def stop(self) -> None:
        """End the iteration when its body comes back, for good; to be called in the loop's own thread."""
        self._stopped.set()
        self._woken.set()

    async def close(self) -> None:
        """Stop and disconnect, without acknowledging a face whose body has not come back."""
        self.stop()
        await self._client.disconnect()

    async def __aenter__(self) -> "AsyncFaceStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await perform_async(self._consumer.finish(), self._do)
        finally:
            await self.close()

    @cached_property
    def _woken(self) -> asyncio.Event:
        return asyncio.Event()

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Command):
            return await self._client.execute_command(*step.words, **step.options)
        if isinstance(step, Pause):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._woken.wait(), step.seconds)
            return None
        return await self._client.disconnect()
