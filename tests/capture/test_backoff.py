"""A lost camera is tried again soon, then rarely, never in step, and never against a locked account."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.capture.backoff import Backoff
from gate.capture.causes import Cause


class Still:
    """A clock that does not move."""

    def monotonic_s(self) -> float:
        return 0.0

    def unix_ms(self) -> int:
        return 0


@given(st.integers(0, 2**32), st.lists(st.sampled_from(list(Cause)), max_size=60))
def test_delays_stay_under_their_doubling_ceiling(seed: int, causes: list[Cause]) -> None:
    backoff = Backoff(Still(), base_s=0.5, cap_s=20, seed=seed)

    denials = 0
    for n, cause in enumerate(causes):
        delay_s = backoff.next_delay_s(cause)
        if cause is Cause.AUTH:
            ceiling_s = min(1800, 60 * 2**denials)
            denials += 1
            assert ceiling_s / 2 <= delay_s <= ceiling_s
        else:
            assert 0 <= delay_s <= min(20, 0.5 * 2 ** (n - denials))


def test_a_wrong_password_is_tried_at_most_six_times_in_half_an_hour() -> None:
    for seed in range(200):
        backoff = Backoff(Still(), seed=seed)
        at_s = [0.0]
        while at_s[-1] <= 1800:
            at_s.append(at_s[-1] + backoff.next_delay_s(Cause.AUTH))

        assert sum(second <= 1800 for second in at_s) <= 6


def test_silence_before_a_loss_is_no_stable_running(fake_clock: Any) -> None:
    backoff = Backoff(fake_clock, base_s=1, cap_s=4096, reset_after_s=60, seed=3)
    for _ in range(12):
        backoff.next_delay_s(Cause.REFUSED)
    longest_s = 0.0
    for _ in range(20):
        backoff.running()
        fake_clock.advance(120)
        longest_s = max(longest_s, backoff.next_delay_s(Cause.STALLED))

    assert longest_s > 1024


def test_jitter_is_full() -> None:
    delays = [Backoff(Still(), base_s=1, cap_s=30, seed=seed).next_delay_s(Cause.REFUSED) for seed in range(200)]

    assert min(delays) < 0.1
    assert max(delays) > 0.9
    assert 0.4 < sum(delays) / 200 < 0.6


def test_a_seed_repeats_itself_and_differs_from_others() -> None:
    def delays(seed: int) -> list[float]:
        backoff = Backoff(Still(), seed=seed)
        return [backoff.next_delay_s(Cause.TIMEOUT) for _ in range(5)]

    assert delays(1) == delays(1) != delays(2)


@pytest.mark.parametrize(("ran_s", "ceiling_s"), [(59.9, 1024), (60.0, 1.0)])
def test_only_stable_running_starts_over(fake_clock: Any, ran_s: float, ceiling_s: float) -> None:
    longest_s = 0.0
    for seed in range(50):
        backoff = Backoff(fake_clock, base_s=1, cap_s=4096, reset_after_s=60, seed=seed)
        for _ in range(10):
            backoff.next_delay_s(Cause.STALLED)
        backoff.running()
        fake_clock.advance(ran_s / 2)
        backoff.running()
        fake_clock.advance(ran_s / 2)
        backoff.running()
        longest_s = max(longest_s, backoff.next_delay_s(Cause.STALLED))

    assert ceiling_s * 0.8 < longest_s <= ceiling_s


def test_time_away_does_not_count_as_running(fake_clock: Any) -> None:
    backoff = Backoff(fake_clock, base_s=1, cap_s=4096, reset_after_s=60, seed=3)
    backoff.running()
    for _ in range(12):
        backoff.next_delay_s(Cause.REFUSED)
        fake_clock.advance(1000)

    assert max(backoff.next_delay_s(Cause.REFUSED) for _ in range(20)) > 60


def test_hundreds_of_losses_do_not_overflow() -> None:
    backoff = Backoff(Still(), seed=0)

    assert all(backoff.next_delay_s(Cause.UNREACHABLE) <= 30 for _ in range(3000))


@pytest.mark.parametrize(("base_s", "cap_s"), [(0, 1), (-1, 1), (2, 1)])
def test_senseless_limits_are_refused(base_s: float, cap_s: float) -> None:
    with pytest.raises(ValueError, match="base_s"):
        Backoff(Still(), base_s=base_s, cap_s=cap_s)
