"""Why an image has no score."""

from dataclasses import dataclass
from enum import Enum


class Why(str, Enum):
    """Kinds of faults, as they are counted."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too large"
    WRONG_SIZE = "wrong size"
    NO_FACE = "no face"
    DUPLICATE = "duplicate"
    UNUSABLE_NAME = "unusable name"
    NOT_FINITE = "no finite score"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one image."""

    why: Why

    detail: str
    """In words; the same words whenever the same image is looked at again."""

    def __str__(self) -> str:
        return f"{self.why.value}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An image, or a part of the inputs, without a score."""

    path: str
    """As the inputs name it, before any prefix is replaced."""

    fault: Fault
