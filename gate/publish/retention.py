"""How many entries a stream may keep, from a number of entries and a number of bytes."""

from collections.abc import Iterable

ENTRY_BYTES = 160
"""Memory of the server for an entry on top of its names and values: 150 were measured for faces of 10 kB."""

_MEMORY_EVENTS = 256
"""The mean size follows about so many of the last events."""


class Retention:
    """Turns bytes into entries by the mean size of what is sent, stream by stream.

    Redis trims a stream by number or by age alone. MEMORY USAGE would tell its bytes, and would be one more right
    that the user needs.
    """

    def __init__(self, max_events: int | None, max_bytes: int | None) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._means: dict[str, tuple[int, float]] = {}

    def most_entries(self, key: str, entry: Iterable[str | bytes]) -> int | None:
        """Take note of an entry for a stream; how many that may keep with it, None for all."""
        if self._max_bytes is None:
            return self._max_events
        size_bytes = ENTRY_BYTES + sum(map(len, entry))
        seen, mean_bytes = self._means.get(key, (0, 0.0))
        seen = min(seen + 1, _MEMORY_EVENTS)
        mean_bytes += (size_bytes - mean_bytes) / seen
        self._means[key] = seen, mean_bytes
        most = max(int(self._max_bytes / mean_bytes), 1)
        return most if self._max_events is None else min(most, self._max_events)
