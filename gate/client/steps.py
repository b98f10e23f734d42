"""What a consumer does, as steps that somebody else carries out: the same decisions for threads and for asyncio.

A program is a generator. It yields a `Step`, is sent the reply or thrown the error, and returns its result; it never
touches a socket or a clock.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from gate.publish.connect import FAULTS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command:
    """Send this to Redis; the reply is the answer."""

    words: tuple[Any, ...]
    options: Mapping[str, Any]
    """For redis-py's parser of the reply."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, but not longer than until somebody stops the stream."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection; the next command opens a new one."""


Step: TypeAlias = Command | Pause | HangUp
Steps: TypeAlias = Generator[Step, Any, T]


def send(*words: Any, **options: Any) -> Steps[Any]:
    """One command and its reply."""
    return (yield Command(words, options))


def perform(steps: Steps[T], do: Callable[[Step], Any]) -> T:
    """Carry out a program, step by step. Raises what it raises, and at once what `do` raises beyond `FAULTS`."""
    answer: Any = None
    error: Exception | None = None
    try:
        while True:
            step = steps.send(answer) if error is None else steps.throw(error)
            answer = error = None
            try:
                answer = do(step)
            except FAULTS as raised:
                error = raised
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


async def perform_async(steps: Steps[T], do: Callable[[Step], Awaitable[Any]]) -> T:
    """`perform` where each step is awaited."""
    answer: Any = None
    error: Exception | None = None
    try:
        while True:
            step = steps.send(answer) if error is None else steps.throw(error)
            answer = error = None
            try:
                answer = await do(step)
            except FAULTS as raised:
                error = raised
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
