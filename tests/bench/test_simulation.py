from dataclasses import replace
from itertools import pairwise

import pytest

from gate.bench.simulation import Costs, World, simulate

COSTS = Costs(decode_ms=4, convert_ms=4, detect_ms=6, face_ms=0.6, score_ms=6)


def test_an_idle_machine_looks_at_every_frame_as_soon_as_it_is_decoded() -> None:
    outcome = simulate(COSTS, World(cameras=1, analysed_fps=5, faces=0))
    assert outcome.sustained
    assert outcome.looked_at_share > 0.98
    assert outcome.latency_p50_ms == pytest.approx(6, abs=0.01)
    assert outcome.frames_a_step == 1
    assert outcome.cores_used == pytest.approx((25 * 4 + 5 * (4 + 6)) / 1000, rel=0.02)


def test_the_same_seed_gives_the_same_outcome_and_another_a_near_one() -> None:
    world = World(cameras=4, analysed_fps=5)
    assert simulate(COSTS, world, 1) == simulate(COSTS, world, 1)
    assert simulate(COSTS, world, 2).cores_used == pytest.approx(simulate(COSTS, world, 1).cores_used, rel=0.05)


def test_more_cameras_are_never_looked_at_more_often_nor_sooner() -> None:
    outcomes = [simulate(COSTS, World(cameras=n, analysed_fps=5)) for n in (1, 4, 8, 16, 32)]
    shares = [outcome.looked_at_share for outcome in outcomes]
    assert shares[0] > 0.98
    assert shares[-1] < 0.5
    assert all(later <= earlier + 0.01 for earlier, later in pairwise(shares))
    assert outcomes[-1].latency_p50_ms > outcomes[0].latency_p50_ms
    assert all(outcome.cores_used <= 2.001 for outcome in outcomes)


def test_an_engine_that_cannot_keep_up_looks_at_what_its_core_allows() -> None:
    # Decoding costs nothing: the engine has a core for itself, and a frame takes it 10 ms.
    costs = Costs(decode_ms=0.001, convert_ms=0, detect_ms=10, face_ms=0, score_ms=0)
    outcome = simulate(costs, World(cameras=10, analysed_fps=25, faces=0))
    assert outcome.looked_at_share == pytest.approx(100 / 250, rel=0.03)


def test_cameras_that_the_cores_cannot_decode_fall_behind() -> None:
    outcome = simulate(COSTS, World(cameras=40, analysed_fps=1, faces=0))
    assert outcome.decode_lag_p95_ms > 1000
    assert not outcome.sustained


def test_waiting_for_a_larger_batch_pays_only_where_a_batch_costs_much_whatever_its_size() -> None:
    world = World(cameras=30, analysed_fps=10, faces=1, cores=16, sent_fps=10)
    cheap = Costs(decode_ms=1, convert_ms=0, detect_ms=0.5, face_ms=0, score_ms=0.05, batch_ms=0)
    at_once, waited = (simulate(cheap, replace(world, window_s=window_s)) for window_s in (0.0, 0.05))
    assert at_once.latency_p95_ms < waited.latency_p95_ms
    assert at_once.looked_at_share >= waited.looked_at_share - 0.01
    dear = replace(cheap, batch_ms=30)
    # Taking what has come meanwhile makes batches as large as they have to be.
    assert simulate(dear, world).frames_a_step > 5
    assert simulate(dear, world).sustained
