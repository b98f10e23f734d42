"""Ids sort by time, never repeat, and look like ULIDs."""

import re
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gate.publish.ulid import ULID_PATTERN, UlidFactory


class Moments:
    """A wall clock that reads out a list, and its last value for ever."""

    def __init__(self, *unix_ms: int) -> None:
        self._left = list(unix_ms)

    def unix_ms(self) -> int:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]

    def monotonic_s(self) -> float:
        return 0.0


def test_the_time_and_the_random_part_stand_where_the_specification_puts_them() -> None:
    # The specification's own example: 1469918176385 ms is 01ARYZ6S41.
    ulid = UlidFactory(Moments(1469918176385), lambda count: b"\xff" * count).new()
    assert ulid == "01ARYZ6S41" + "Z" * 16


@given(st.lists(st.integers(0, 2**48 - 2), min_size=2, max_size=20), st.sampled_from([b"\x00", b"\x7f", b"\xff"]))
def test_ids_increase_whatever_the_clock_does(moments: list[int], byte: bytes) -> None:
    factory = UlidFactory(Moments(*moments), lambda count: byte * count)
    made = [factory.new() for _ in moments]
    assert made == sorted(set(made))
    assert all(re.fullmatch(ULID_PATTERN, ulid) for ulid in made)


def test_threads_never_get_the_same_id(fake_clock: Any) -> None:
    factory = UlidFactory(fake_clock)
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(factory.new() for _ in range(500))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ulid for mine in made for ulid in mine}) == 2000
    assert all(mine == sorted(mine) for mine in made)
