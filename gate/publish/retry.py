"""How long to wait between attempts to reach a server."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """Doubling, capped, with full jitter.

    Full jitter keeps the gates and consumers of a building from knocking in step when their server comes back.
    """

    first_s: float = 0.2
    longest_s: float = 10.0

    def after(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after `failures` (at least 1) failures in a row."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 32)
        return rng.uniform(0, min(doubled, self.longest_s))
