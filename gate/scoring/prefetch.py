"""Images decoded ahead of their use, in order, a bounded number of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def ahead(
    items: Iterable[In], work: Callable[[In], "Callable[[], Out] | None"], executor: Executor, depth: int
) -> Iterator[tuple[In, Out | None]]:
    """Run work for items in a pool and hand out the results in the items' order.

    Args:
        items: taken from their iterator by the caller's thread, at most `depth` ahead.
        work: what is to be done for an item; None where there is nothing to do.
        executor: where it is done.
        depth: most items in flight or waiting.
    """
    waiting: deque[tuple[In, Future[Out] | None]] = deque()
    for item in items:
        task = work(item)
        waiting.append((item, None if task is None else executor.submit(task)))
        if len(waiting) >= depth:
            first, future = waiting.popleft()
            yield first, None if future is None else future.result()
    for first, future in waiting:
        yield first, None if future is None else future.result()
