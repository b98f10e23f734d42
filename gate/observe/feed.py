"""What happens, as it happens: a bounded memory of news that any number of watchers follow."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from gate.clock import Clock

KEPT = 200
"""News that are remembered for whoever comes back after a short break."""

_POLL_S = 1.0
_SIGN_OF_LIFE_S = 15.0
"""Proxies cut connections that are silent for half a minute."""


class Feed:
    """News, oldest first. Safe to use from every thread; telling never waits for a watcher.

    Args:
        clock: Time stamps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._news: deque[tuple[int, dict[str, Any]]] = deque(maxlen=KEPT)
        self._last = 0

    def tell(self, kind: str, **values: Any) -> None:
        """Remember one thing that happened; the values are ready for JSON."""
        with self._changed:
            self._last += 1
            self._news.append((self._last, {"kind": kind, "at_ms": self._clock.unix_ms(), **values}))
            self._changed.notify_all()

    def since(self, last: int, wait_s: float = 0.0) -> list[tuple[int, dict[str, Any]]]:
        """What came after number `last`, as far as it is remembered; waits for the first one at most `wait_s`."""
        with self._changed:
            if last > self._last:
                # Of the process before this one.
                last = 0
            self._changed.wait_for(lambda: self._last > last, wait_s)
            return [(number, news) for number, news in self._news if number > last]

    def follow(self, last: int = 0) -> Iterator[bytes]:
        """Server-sent events without an end, after number `last`; nothing at least once a second."""
        yield b"retry: 3000\n\n"
        silent_s = 0.0
        while True:
            news = self.since(last, _POLL_S)
            silent_s = 0.0 if news else silent_s + _POLL_S
            if news:
                last = news[-1][0]
                yield b"".join(_event(number, values) for number, values in news)
            elif silent_s >= _SIGN_OF_LIFE_S:
                silent_s = 0.0
                yield b": still here\n\n"
            else:
                yield b""


def _event(number: int, values: dict[str, Any]) -> bytes:
    return f"id: {number}\ndata: {json.dumps(values, allow_nan=False)}\n\n".encode()
