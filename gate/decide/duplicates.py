"""The same person again: recently published faces of a group of cameras, compared by embedding.

Embeddings stay in memory until their time is over and are written nowhere.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gate.types import FloatArray, Image

Embed = Callable[[Image], FloatArray]
"""(N, 112, 112, 3) uint8 RGB crops to (N, D) float32 embeddings of any length."""

MOST_REMEMBERED = 4096
"""Faces a group remembers; beyond it the oldest is forgotten. 8 MB of 512-d embeddings."""


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    at_s: float
    camera: str
    track: int
    embedding: FloatArray


class DuplicateBook:
    """What a group of cameras has published lately. Used by the engine's thread alone."""

    def __init__(self, embed: Embed) -> None:
        self.embed = embed
        """The network that compares."""
        self._memory: deque[_Memory] = deque(maxlen=MOST_REMEMBERED)
        self._last: tuple[Image, FloatArray] | None = None
        self._longest_s = 0.0
        """How far back some camera of the group has looked; what is older nobody asks for."""

    def __len__(self) -> int:
        """Faces it remembers."""
        return len(self._memory)

    def is_duplicate(
        self, crop: Image, *, camera: str, track: int, now_s: float, within_s: float, similarity: float
    ) -> bool:
        """Whether the person was published lately in another visit.

        Args:
            crop: (112, 112, 3) uint8 RGB, a face that would be published.
            camera: Its camera.
            track: Its track; a visit is no duplicate of itself.
            now_s: Monotonic seconds.
            within_s: How far back to look.
            similarity: Cosine from which two embeddings are of one person.
        """
        self._longest_s = max(self._longest_s, within_s)
        self._forget(now_s - self._longest_s)
        others = [
            known
            for known in self._memory
            if known.at_s >= now_s - within_s and (known.camera, known.track) != (camera, track)
        ]
        if not others:
            return False
        embedding = self._embedding(crop)
        return bool((np.stack([known.embedding for known in others]) @ embedding).max() >= similarity)

    def remember(self, crop: Image, *, camera: str, track: int, now_s: float) -> None:
        """A face was published."""
        self._memory.append(_Memory(now_s, camera, track, self._embedding(crop)))

    def _forget(self, before_s: float) -> None:
        while self._memory and self._memory[0].at_s < before_s:
            self._memory.popleft()

    def _embedding(self, crop: Image) -> FloatArray:
        # A face is asked about and then remembered: one pass of the network is enough.
        if self._last is None or self._last[0] is not crop:
            embedding = self.embed(crop[None])[0]
            length = float(np.linalg.norm(embedding))
            # An embedding that is no number is like nobody's.
            usable = np.isfinite(length) and length > 0
            self._last = (crop, embedding / length if usable else np.zeros_like(embedding))
        return self._last[1]
