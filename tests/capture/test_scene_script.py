import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.capture import scene_script
from gate.capture.scene import ROUND_S, VISITS_PER_ROUND, visits_of_round
from gate.capture.scene_script import Act, Effect, Move, Spot, Visit

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
ROUNDS = st.integers(min_value=0, max_value=10_000)


@given(SEEDS, ROUNDS)
def test_the_same_seed_gives_the_same_visits(seed: int, number: int) -> None:
    assert visits_of_round(seed, number) == visits_of_round(seed, number)


def test_another_seed_and_another_round_give_other_visits() -> None:
    rounds = {visits_of_round(seed, number) for seed in range(3) for number in range(3)}
    assert len(rounds) == 9


@given(SEEDS, ROUNDS)
def test_nobody_comes_twice_in_a_row(seed: int, number: int) -> None:
    visits = visits_of_round(seed, number) + visits_of_round(seed, number + 1)
    assert all(a.person_id != b.person_id for a, b in itertools.pairwise(visits))


@given(SEEDS, ROUNDS)
def test_every_act_occurs_in_every_round(seed: int, number: int) -> None:
    assert set().union(*(visit.acts for visit in visits_of_round(seed, number))) == set(Act)


@given(SEEDS, ROUNDS)
def test_visits_are_numbered_and_a_slot_apart_and_at_most_two_people_are_there_at_once(seed: int, number: int) -> None:
    visits = visits_of_round(seed, number) + visits_of_round(seed, number + 1)
    assert [visit.index for visit in visits] == [number * VISITS_PER_ROUND + i for i in range(2 * VISITS_PER_ROUND)]
    assert visits[VISITS_PER_ROUND].start_s == pytest.approx((number + 1) * ROUND_S)
    assert all(b.start_s - a.start_s == pytest.approx(scene_script.SLOT_S) for a, b in itertools.pairwise(visits))
    assert all(a.end_s < c.start_s for a, c in zip(visits, visits[2:], strict=False))


def test_a_round_lasts_twenty_to_thirty_seconds() -> None:
    assert 20 <= ROUND_S <= 30


@given(SEEDS, ROUNDS)
def test_visitors_come_nearer_while_they_enter_straight_from_the_door(seed: int, number: int) -> None:
    opener = visits_of_round(seed, number)[0]
    poses = [opener.pose(opener.start_s + 0.1 * i) for i in range(29)]
    sizes = [pose.spot.eye_px for pose in poses if pose is not None]
    assert len(sizes) == 29
    assert sizes[0] == pytest.approx(12.0)
    assert all(a < b for a, b in itertools.pairwise(sizes))


def test_walking_is_even_on_the_floor_and_therefore_not_in_the_picture() -> None:
    visit = Visit("somebody", 0.0, Spot(0.5, 10.0), (Move(Act.ENTER, 2.0, Spot(0.5, 90.0)),))
    halfway = visit.pose(1.0)
    assert halfway is not None
    # Distance is 1 / size: half-way between 1/10 and 1/90.
    assert halfway.spot.eye_px == pytest.approx(18.0)


def test_nobody_is_there_before_and_after_the_visit() -> None:
    visit = Visit("somebody", 5.0, Spot(0.5, 10.0), (Move(Act.ENTER, 2.0, Spot(0.5, 90.0)),))
    assert visit.pose(4.999) is None
    assert visit.pose(5.0) is not None
    assert visit.pose(7.0) is None


@given(st.floats(min_value=-10, max_value=20, allow_nan=False))
def test_an_effect_is_nothing_outside_its_time_and_never_more_than_its_amount(t_s: float) -> None:
    amount = Effect(Act.TURN_AWAY, 2.0, 4.0, -60.0).at(t_s)
    assert -60.0 <= amount <= 0.0
    assert (amount == 0.0) == (t_s <= 2.0 or t_s >= 4.0) or abs(amount) < 1e-6
    if 2.3 <= t_s <= 3.7:
        assert amount == pytest.approx(-60.0)
