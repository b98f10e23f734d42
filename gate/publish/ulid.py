"""ULIDs: 26 characters that sort by time and need no coordination (Crockford base32, 48 bit ms + 80 bit random)."""

import secrets
import threading
from collections.abc import Callable

from gate.clock import Clock

ULID_PATTERN = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
"""What a ULID looks like; the first character holds only 3 bits."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80
_RANDOM_BYTES = _RANDOM_BITS // 8


class UlidFactory:
    """Makes ULIDs that strictly increase within this factory, also within a millisecond and when the clock jumps back.

    Safe to call from many threads.
    """

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._last = -1

    def new(self) -> str:
        """The next ULID."""
        with self._lock:
            fresh = int.from_bytes(self._random_bytes(_RANDOM_BYTES), "big")
            candidate = (max(self._clock.unix_ms(), 0) << _RANDOM_BITS) | fresh
            if candidate >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
                # Adding one carries from the random part into the time when the random part is full.
                candidate = self._last + 1
            self._last = candidate
        return _base32(candidate)


def _base32(number: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
