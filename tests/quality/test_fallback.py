import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gate.errors import ConfigError, DeviceError, QualityError, WeightsError
from gate.quality import load_method
from gate.quality.calibration import CalibrationKey, CalibrationTable, fit
from gate.quality.fallback import FallbackMethod
from gate.quality.method import QualityMethod
from gate.quality.rung import BAD_BATCHES, COOL_DOWN_S, Load, Rung
from gate.types import Image
from gate.weights.convert import write_safetensors
from gate.weights.sums import sha256_of
from gate.weights.table import load_table
from gate.weights.zoo import Zoo
from tests.conftest import FakeClock
from tests.quality.scripted import Scripted, Stage, Told, breaking, crops_of, methods_of, not_a_number


@pytest.fixture
def weights(tmp_path: Path, regressor_state: dict[str, torch.Tensor]) -> Path:
    """A file in the place and the form of the shipped one."""
    write_safetensors(regressor_state, tmp_path / "facegate-t.safetensors")
    return tmp_path / "facegate-t.safetensors"


def real_chain(weights: Path, clock: FakeClock, told: Told) -> FallbackMethod:
    """The regressor, calibrated for these weights as they are now, and sharpness; checksums as `Zoo` checks them."""
    row = replace(load_table()["facegate-t"], sha256=sha256_of(weights), bytes=weights.stat().st_size)
    zoo = Zoo(weights.parent / "empty", table={row.name: row}, bundled=weights.parent)
    key = CalibrationKey.of("regressor", {}, f"facegate-t@{sha256_of(weights)[:8]}")
    table = CalibrationTable((fit(np.linspace(-5, 5, 50), key),), "made").over(CalibrationTable.shipped())

    def loader(name: str) -> Load:
        def load(device: str, *, fetch: bool) -> QualityMethod:
            return load_method(name, device=device, zoo=zoo, calibration=table)

        return load

    rungs = [Rung(name, loader(name), device="cpu", clock=clock) for name in ("regressor", "sharpness")]
    return FallbackMethod(rungs, clock=clock, report=told)


def test_whole_weights_score_and_nothing_is_told(weights: Path, fake_clock: FakeClock, portable_crops: Image) -> None:
    told = Told()
    chain = real_chain(weights, fake_clock, told)
    chain.start()
    assert {rating.model for rating in chain.rate(portable_crops)} == {f"facegate-t@{sha256_of(weights)[:8]}"}
    assert (told.switches, told.causes, told.unready) == ([], [], {})


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x40
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [(Path.unlink, "does not exist; it ships with"), (truncate, "bytes where"), (flip_a_bit, "damaged or another")],
)
def test_a_file_that_is_missing_or_damaged_makes_way_for_the_next_method(
    damage: Callable[[Path], None], problem: str, weights: Path, fake_clock: FakeClock, portable_crops: Image
) -> None:
    whole, told = weights.read_bytes(), Told()
    chain = real_chain(weights, fake_clock, told)
    damage(weights)
    chain.start()
    assert told.switches == [("weights", "sharpness on cpu", "regressor")]
    assert problem in told.problems[0]
    assert methods_of(chain, portable_crops) == ["sharpness"] * 2
    assert (chain.name, chain.model) == ("sharpness", "")
    assert chain.quality(portable_crops) == pytest.approx(load_method("sharpness").quality(portable_crops))
    weights.write_bytes(whole)
    fake_clock.advance(COOL_DOWN_S)
    assert methods_of(chain, portable_crops) == ["regressor"] * 2
    assert told.returns == [("regressor on cpu", "sharpness")]


def test_weights_that_are_not_numbers_fail_the_self_test(
    weights: Path, fake_clock: FakeClock, regressor_state: dict[str, torch.Tensor], portable_crops: Image
) -> None:
    nothing = torch.full_like(regressor_state["mlp.l1.weight"], math.nan)
    write_safetensors({**regressor_state, "mlp.l1.weight": nothing}, weights)
    told = Told()
    chain = real_chain(weights, fake_clock, told)
    chain.start()
    assert told.switches == [("self_test", "sharpness on cpu", "regressor")]
    assert "not numbers" in told.problems[0]
    assert methods_of(chain, portable_crops) == ["sharpness"] * 2


# What else may go wrong at the start.


@pytest.mark.parametrize("rule", [np.ones_like, breaking(RuntimeError("out of order"))])
def test_a_method_that_fails_its_self_test_is_not_used(stage: Stage, rule: Callable[[Any], Any]) -> None:
    stage.methods["first"] = Scripted("first")
    stage.methods["first"].rule = rule
    chain = stage.chain("first", "second")
    assert methods_of(chain, crops_of(10)) == ["second"]
    assert stage.told.switches == [("self_test", "second on cpu", "first")]


def test_a_fallback_that_is_not_ready_is_told_and_left_out(stage: Stage) -> None:
    stage.broken["second"] = WeightsError("second is not here")
    stage.methods["first"] = Scripted("first")
    chain = stage.chain("first", "second", "third")
    assert stage.told.unready == {"second": "second is not here"}
    assert stage.told.switches == []
    stage.methods["first"].rule = not_a_number(10)
    assert methods_of(chain, crops_of(10, 20)) == ["third", "first"]


def test_without_any_method_the_start_says_why_for_each(stage: Stage) -> None:
    stage.broken = {"first": WeightsError("first is gone"), "second": WeightsError("second is torn")}
    with pytest.raises(WeightsError, match="first is gone; second is torn"):
        stage.chain("first", "second")


@pytest.mark.parametrize("name", ["first", "second"])
def test_each_method_must_be_calibrated(stage: Stage, name: str) -> None:
    stage.methods[name] = Scripted(name)
    stage.methods[name].calibrated = False
    with pytest.raises(ConfigError, match=f"each method of a chain must be calibrated: no map to 0..100 for {name}"):
        stage.chain("first", "second")


def test_a_mistake_in_the_configuration_is_no_reason_to_fall_back(stage: Stage) -> None:
    stage.broken["first"] = QualityError("first: unknown option 'fi'")
    with pytest.raises(QualityError, match="unknown option 'fi'"):
        stage.chain("first", "second")


# Faces without a number.


def test_only_the_faces_without_a_number_are_scored_again(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    stage.methods["first"].rule = not_a_number(20, 40)
    stage.methods["second"].rule = lambda numbers: numbers + 1
    ratings = chain.rate(crops_of(10, 20, 30, 40), seeds=[1, 2, 3, 4])
    assert [(r.method, r.model, r.raw, r.quality) for r in ratings] == [
        ("first", "first@00000000", 10, 10),
        ("second", "second@00000000", 21, 21),
        ("first", "first@00000000", 30, 30),
        ("second", "second@00000000", 41, 41),
    ]
    assert stage.methods["second"].batches[-1] == [20, 40]
    assert stage.methods["second"].seeds == [2, 4]
    assert stage.told.causes == ["not_finite"]
    assert stage.told.switches == []


def test_a_face_that_nobody_can_score_has_no_number(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    stage.methods["first"].rule = stage.methods["second"].rule = not_a_number(20)
    ratings = chain.rate(crops_of(10, 20))
    assert ratings[0].raw == 10
    assert math.isnan(ratings[1].raw)
    assert math.isnan(ratings[1].quality)
    assert stage.told.causes == []


def test_a_method_without_numbers_batch_after_batch_is_benched(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    first = stage.methods["first"]
    first.rule = not_a_number(20)
    for batch in range(BAD_BATCHES - 1):
        assert methods_of(chain, crops_of(20)) == ["second"], batch
    assert methods_of(chain, crops_of(10)) == ["first"]
    for batch in range(BAD_BATCHES):
        assert stage.told.switches == [], batch
        assert methods_of(chain, crops_of(10, 20)) == ["first", "second"]
    assert stage.told.switches == [("keeps_failing", "second on cpu", "first")]
    asked = len(first.batches)
    assert methods_of(chain, crops_of(10)) == ["second"]
    assert len(first.batches) == asked
    assert chain.name == "second"


def test_a_method_that_breaks_off_is_stood_in_for(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    stage.methods["first"].rule = breaking(RuntimeError("out of order"))
    for _ in range(BAD_BATCHES):
        assert methods_of(chain, crops_of(10)) == ["second"]
    assert stage.told.causes == ["failed"] * BAD_BATCHES
    assert stage.told.switches == [("keeps_failing", "second on cpu", "first")]
    assert stage.told.problems == ["first: RuntimeError: out of order"]


def test_the_last_method_is_never_benched_and_its_error_reaches_the_engine(stage: Stage) -> None:
    chain = stage.chain("only")
    stage.methods["only"].rule = breaking(RuntimeError("out of order"))
    for _ in range(3 * BAD_BATCHES):
        with pytest.raises(RuntimeError, match="out of order"):
            chain.rate(crops_of(10))
    stage.methods["only"].rule = lambda numbers: numbers
    assert methods_of(chain, crops_of(10)) == ["only"]


def test_numbers_of_another_count_than_crops_are_a_failure(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    stage.methods["first"].rule = lambda numbers: numbers[1:]
    assert methods_of(chain, crops_of(10, 20)) == ["second"] * 2
    assert stage.told.causes == ["failed"]


# The device.


def test_when_the_device_fails_the_same_method_goes_on_on_the_cpu(stage: Stage) -> None:
    stage.device = "cuda:0"
    chain = stage.chain("first", "second")
    stage.methods["first"].rule = breaking(RuntimeError("CUDA error: an illegal memory access\nCompile with"))
    lost = stage.methods["first"]
    stage.methods["first"] = Scripted("first")
    ratings = chain.rate(crops_of(10, 20))
    assert [(rating.method, rating.raw) for rating in ratings] == [("first", 10), ("first", 20)]
    assert lost.batches[-1] == [10, 20]
    assert stage.loads[-1] == ("first", "cpu", False)
    assert stage.told.switches == [("device", "first on cpu", "first")]
    assert stage.told.problems == ["cuda:0: RuntimeError: CUDA error: an illegal memory access"]
    assert chain.device == "cpu"
    assert stage.told.causes == []


def test_a_method_goes_back_to_its_device_when_that_works_again(stage: Stage) -> None:
    stage.device = "cuda:0"
    chain = stage.chain("first")
    stage.methods["first"].rule = breaking(RuntimeError("CUDA error"))
    stage.methods["first"] = Scripted("first")
    stage.broken["first on cuda:0"] = RuntimeError("CUDA error")
    assert methods_of(chain, crops_of(10)) == ["first"]
    stage.clock.advance(COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["first"]
    assert (chain.device, stage.told.returns) == ("cpu", [])
    stage.broken.clear()
    stage.clock.advance(2 * COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["first"]
    assert (chain.device, stage.told.returns) == ("cuda:0", [("first on cuda:0", "first")])


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: no kernel image"), DeviceError("first: cuda:0 has too little free memory")]
)
def test_a_device_that_fails_in_the_self_test_makes_way_for_the_cpu(error: Exception, stage: Stage) -> None:
    stage.device = "cuda:0"
    stage.broken["first on cuda:0"] = error
    chain = stage.chain("first", "second")
    assert methods_of(chain, crops_of(10)) == ["first"]
    assert stage.told.switches == [("device", "first on cpu", "first")]
