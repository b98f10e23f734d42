import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gate.baseline import Baselines, histogram_of
from gate.config import DecideConfig, GateConfig, build_config
from gate.decide.bars import Circumstances
from gate.reasons import Reason
from gate.thresholds import resolve
from gate.tuning.propose import Tuned, tune
from gate.tuning.records import FaceRecord, judge
from gate.tuning.report import patched, write
from gate.types import Face, Signals

PLAIN = Signals(
    inter_eye_px=60.0,
    yaw_deg=0.0,
    pitch_deg=0.0,
    roll_deg=0.0,
    sharpness=70.0,
    luminance=50.0,
    luminance_spread=20.0,
    contrast=50.0,
    dynamic_range=80.0,
    under_exposed_share=0.1,
    over_exposed_share=0.0,
    under_exposure_prevention=100.0,
    over_exposure_prevention=100.0,
    occlusion=10.0,
)


def a_record(visit: str, quality: float | None = 50.0, *, in_zone: bool = True, **signals: float) -> FaceRecord:
    measured = {name: getattr(PLAIN, name) for name in Signals.__slots__}
    face = Face(np.array([10, 10, 100, 120], np.float32), np.zeros((5, 2), np.float32), 0.9)
    return FaceRecord(
        camera="door",
        visit=visit,
        time_ms=1_700_000_000_000,
        face=face,
        signals=Signals(**{**measured, **signals}),
        at=Circumstances(age_s=0.0, outside_share=0.0, in_zone=in_zone),
        quality=quality,
        raw=quality,
        method="serfiq",
        model="net@12345678",
    )


def visits_of(*best: float) -> list[FaceRecord]:
    """A visit for each, whose other face is worse."""
    return [a_record(f"v{n}", q) for n, best_q in enumerate(best) for q in (best_q / 2, best_q)]


def tuned(records: list[FaceRecord], accept_rate: float = 0.9, **rules: Any) -> Tuned:
    return tune("door", records, DecideConfig(**rules), accept_rate, "2026-02-11")


def test_the_quality_bar_accepts_the_share_of_visits_and_not_of_faces() -> None:
    found = tuned(visits_of(*range(5, 105, 5)), accept_rate=0.8)
    (proposal,) = found.proposals
    assert (proposal.key, proposal.today, proposal.value) == ("min_quality", 30.0, 25.0)
    assert proposal.outcome.accepted_visits == 16
    assert proposal.outcome.accepted_faces == 27
    assert found.today.accepted_visits == 15
    assert found.together == proposal.outcome
    assert 5 <= proposal.low < 25 < proposal.high <= 60


def test_the_interval_narrows_with_the_number_of_visits() -> None:
    rng = np.random.default_rng(3)
    widths = []
    for count in (30, 1000):
        (proposal,) = tuned(visits_of(*rng.uniform(0, 100, count).tolist())).proposals
        assert proposal.low <= proposal.value <= proposal.high
        widths.append(proposal.high - proposal.low)
    assert widths[1] < widths[0] / 3


def test_a_rate_that_no_quality_bar_reaches_is_said_and_not_proposed() -> None:
    blurred = [a_record(f"b{n}", 80.0, sharpness=10.0) for n in range(5)]
    found = tuned([*visits_of(50, 60, 70, 80, 90), *blurred])
    assert found.proposals == ()
    assert found.together == found.today
    assert any("0.9 of visits is out of reach: 50% have a face" in note for note in found.notes)
    assert found.today.reasons["blurred"] == 5


def test_a_bar_of_size_that_alone_costs_visits_is_proposed_lower() -> None:
    small = [a_record(f"s{n}", 70.0, inter_eye_px=14.0 + n) for n in range(10)]
    found = tuned([*visits_of(*[60] * 10), *small], accept_rate=0.9)
    size, quality = found.proposals
    assert (size.key, size.today, size.value) == ("min_inter_eye_px", 24.0, 14.0)
    assert size.low <= size.value <= size.high <= 23
    assert size.outcome.accepted_visits == 20
    assert quality.key == "min_quality"
    assert found.together.accepted_visits >= 18
    assert found.baseline.visits == 20
    assert found.baseline.faces == 30


@pytest.mark.parametrize(
    "small",
    [
        pytest.param([a_record(f"s{n}", 10.0, inter_eye_px=18.0) for n in range(10)], id="of low quality"),
        pytest.param([a_record(f"s{n}", 70.0, inter_eye_px=18.0, sharpness=5.0) for n in range(10)], id="blurred too"),
        pytest.param([a_record("v0", 70.0, inter_eye_px=18.0)] * 10, id="of a visit that passes anyway"),
        pytest.param([a_record(f"s{n}", 70.0, inter_eye_px=18.0) for n in range(2)], id="too few"),
    ],
)
def test_a_bar_is_left_alone_where_lowering_it_would_not_help(small: list[FaceRecord]) -> None:
    found = tuned([*visits_of(*[60] * 20), *small])
    assert all(proposal.key == "min_quality" for proposal in found.proposals)


def test_a_good_score_is_no_reason_to_accept_blur_or_glare() -> None:
    lost = [a_record(f"s{n}", 90.0, over_exposed_share=0.9) for n in range(10)]
    lost += [a_record(f"t{n}", 90.0, sharpness=5.0) for n in range(10)]
    assert tuned([*visits_of(*[60] * 10), *lost]).proposals == ()


def test_who_was_never_where_faces_count_is_no_visit() -> None:
    passing = [a_record(f"p{n}", 90.0, in_zone=False) for n in range(30)]
    found = tuned([*visits_of(40, 50, 60, 70), *passing], accept_rate=0.75)
    assert found.today.visits == 4
    assert found.proposals[0].value == 50.0


def test_verdicts_follow_the_two_bars_of_a_visit() -> None:
    records = [a_record("a", quality) for quality in (45, 55, 45, 39)] + [a_record("b", 45)]
    verdicts = judge(records, DecideConfig(min_quality=50, keep_quality=40))
    low = (Reason.LOW_QUALITY,)
    assert verdicts == [low, (), (), low, low]


def test_what_could_not_be_scored_is_low_and_said() -> None:
    found = tuned([*visits_of(*[60] * 30), a_record("none", None)])
    assert found.today.reasons == {"low_quality": 1}
    assert any("1 faces have no quality" in note for note in found.notes)


def config_of(**decide: Any) -> GateConfig:
    # As the records say that they were scored.
    camera = {"name": "door", "url": "virtual:", "decide": decide}
    return build_config({"cameras": [camera], "quality": {"method": "serfiq"}})


def test_the_files_are_accepted_by_gate_and_hold_no_picture(tmp_path: Path) -> None:
    records = visits_of(*range(2, 102, 2))
    config = config_of(keep_quality=28, max_yaw_deg=40)
    found = tune("door", records, config.rules_of(config.cameras[0]), 0.9, "2026-02-11")
    page = write(tmp_path / "out", [found], records, config, "Two minutes.")
    assert {file.name for file in page.parent.iterdir()} == {"report.md", "patch.yaml", "baseline.json", "faces.csv"}
    patch = yaml.safe_load((page.parent / "patch.yaml").read_text())
    assert patch["cameras"][0]["decide"]["min_quality"] == 12.0
    (camera,) = (changed := patched(build_config(config.model_dump(exclude_unset=True)), patch)).cameras
    rules = changed.rules_of(camera)
    assert (rules.min_quality, rules.keep_quality, rules.max_yaw_deg) == (12.0, 12.0, 40.0)
    assert rules.baseline is not None
    assert Baselines.load(rules.baseline).of("door") == found.baseline
    assert resolve(changed).config == changed
    text = page.read_text()
    assert "| today | 36 of 50, 72%" in text
    assert "`min_quality: 12`" in text
    rows = list(csv.DictReader(io.StringIO((page.parent / "faces.csv").read_text())))
    assert len(rows) == 100
    assert rows[0]["reasons"] == "low_quality"
    assert float(rows[-1]["quality"]) == 100.0
    assert float(rows[0]["sharpness"]) == 70.0


def test_the_baseline_of_a_live_camera_knows_the_hours_and_that_of_a_file_does_not() -> None:
    records = [a_record(f"v{hour}", 50.0 + hour) for hour in range(3)]
    later = [replace(record, time_ms=record.time_ms + hour * 3_600_000) for hour, record in enumerate(records)]
    rules = DecideConfig()
    found = tune("door", later, rules, 0.9, "2026-02-11", by_hour=True)
    assert found.baseline.hours == {22: histogram_of([50.0]), 23: histogram_of([51.0]), 0: histogram_of([52.0])}
    assert tuned(later).baseline.hours == {}
