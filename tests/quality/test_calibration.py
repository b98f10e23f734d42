from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import NotCalibratedError, QualityError
from gate.quality.calibration import Calibration, CalibrationKey, CalibrationTable, fit

KEY = CalibrationKey.of("grafiqs", {"phi": "block2", "literal": False}, "net@12345678")
finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)


def test_quality_is_the_share_of_the_reference_that_scores_worse() -> None:
    scores = np.random.Generator(np.random.PCG64(1)).gamma(2.0, size=5000).astype(np.float32)
    quality = fit(scores, KEY).quality_of(scores)
    share = 100 * np.argsort(np.argsort(scores)) / len(scores)
    assert np.abs(quality - share).max() < 1.0
    assert quality.dtype == np.float32


def test_beyond_the_reference_quality_ends_at_0_and_100() -> None:
    quality = fit([1.0, 2.0], KEY).quality_of(np.asarray([-9.0, 1.0, 1.5, 2.0, 9.0], dtype=np.float32))
    assert quality.tolist() == [0.0, 0.0, 50.0, 100.0, 100.0]


@given(st.lists(finite, min_size=2, max_size=40), st.lists(finite, min_size=2, max_size=20))
def test_quality_never_falls_as_the_score_rises(reference: list[float], scores: list[float]) -> None:
    quality = fit(reference, KEY).quality_of(np.sort(np.asarray(scores, dtype=np.float32)))
    assert (np.diff(quality) >= 0).all()
    assert ((quality >= 0) & (quality <= 100)).all()


def test_a_saturated_number_maps_to_the_middle_of_its_run() -> None:
    saturated = fit([0.0] * 50 + [1.0] * 50, KEY)
    low, high = saturated.quality_of(np.asarray([0.0, 1.0], dtype=np.float32))
    assert low == pytest.approx(25, abs=1)
    assert high == pytest.approx(75, abs=1)
    assert saturated.quality_of(np.asarray([-1.0, 2.0], dtype=np.float32)).tolist() == [0.0, 100.0]


def test_map_survives_its_file(tmp_path: Path) -> None:
    made = fit(np.linspace(-3, 5, 400), KEY, description="a ramp", seed=7)
    (tmp_path / "c.json").write_text(CalibrationTable((made,), "made").to_text(), encoding="utf-8")
    table = CalibrationTable.load(tmp_path / "c.json")
    read = table.find(KEY)
    assert (read.count, read.description, read.seed, read.key) == (400, "a ramp", 7, KEY)
    np.testing.assert_allclose(read.quantiles, made.quantiles, rtol=1e-7, atol=1e-7)
    assert table.to_text() == CalibrationTable((made,), "made").to_text()


def test_wrong_pairing_is_refused_and_what_there_is_is_named() -> None:
    table = CalibrationTable((fit([1.0, 2.0], KEY),), "door.json")
    for other in (
        CalibrationKey.of("grafiqs", {"phi": "block3", "literal": False}, "net@12345678"),
        CalibrationKey.of("grafiqs", {"phi": "block2", "literal": False}, "net@00000000"),
    ):
        with pytest.raises(NotCalibratedError) as caught:
            table.find(other)
        assert str(other) in str(caught.value)
        assert "door.json; it has grafiqs(literal=False, phi=block2) on net@12345678" in str(caught.value)


def test_option_order_does_not_matter() -> None:
    assert CalibrationKey.of("m", {"a": 1, "b": 2}, "") == CalibrationKey.of("m", {"b": 2, "a": 1}, "")


def test_a_new_map_takes_the_place_of_its_pairings_old_one() -> None:
    table = CalibrationTable((fit([1.0, 2.0], KEY),), "t").with_map(fit([3.0, 4.0], KEY))
    assert len(table.maps) == 1
    assert table.find(KEY).quantiles[0] == 3.0


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_a_map_needs_finite_numbers(values: list[float]) -> None:
    with pytest.raises(QualityError, match="at least two finite numbers"):
        fit(values, KEY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a calibration file"),
        ('{"format": 9, "maps": []}', "format 1"),
        ('{"format": 1, "maps": [{"method": "x"}]}', "not a calibration: KeyError"),
        ('{"format": 1, "maps": [3]}', "not a calibration: TypeError"),
    ],
)
def test_files_that_are_no_calibration_are_explained(text: str, message: str) -> None:
    with pytest.raises(QualityError, match=f"odd.json: .*{message}"):
        CalibrationTable.from_text(text, "odd.json")


@pytest.mark.parametrize("quantiles", [[0.0] * 100, [1.0] + [0.0] * 100, [float("nan")] * 101])
def test_quantiles_that_are_none_are_refused(quantiles: list[float]) -> None:
    data = fit([1.0, 2.0], KEY).to_json() | {"quantiles": quantiles}
    with pytest.raises(QualityError, match="101 finite quantiles in ascending order"):
        Calibration.from_json(data)


def test_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(QualityError, match=r"absent\.json: cannot be read"):
        CalibrationTable.load(tmp_path / "absent.json")


def test_shipped_maps_say_what_they_were_made_of() -> None:
    table = CalibrationTable.shipped()
    assert {"serfiq", "grafiqs"} <= {made.key.method for made in table.maps}
    for made in table.maps:
        # FaceQAN takes a second a crop, so its reference set is smaller; either half is stated.
        assert made.count == (500 if made.key.method == "faceqan" else 2000)
        assert made.seed is not None
        assert f"{made.count // 2} " in made.description
    assert CalibrationTable.shipped().to_text() == table.to_text()


def test_a_table_over_another_keeps_its_own_maps() -> None:
    mine = fit([1.0, 2.0], CalibrationKey.of("sharpness", {}, ""), description="mine")
    table = CalibrationTable((mine,), "mine.json").over(CalibrationTable.shipped())
    assert table.find(mine.key).description == "mine"
    assert len(table.maps) == len(CalibrationTable.shipped().maps)
    assert table.where == "mine.json and the shipped calibration"
