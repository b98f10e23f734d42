import io
from pathlib import Path

import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.distill.material import Material
from gate.lab.distill.teach import Samples, plan_samples, taught
from gate.lab.distill.telling import Telling
from gate.types import FloatArray, Image
from tests.conftest import FakeClock


class Counting:
    """Tells the mean colour of a picture, and how many it has seen."""

    def __init__(self, name: str = "counting", most: int | None = None) -> None:
        self.name = name
        self.model = f"{name}@00000000"
        self.seen = 0
        self._most = most

    def embed(self, crops: Image) -> FloatArray:
        self.seen += len(crops)
        if self._most is not None and self.seen > self._most:
            raise KeyboardInterrupt
        return np.asarray(crops.mean(axis=(1, 2)), dtype=np.float32)


@pytest.fixture
def samples(material: Material, monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.setattr("gate.lab.distill.teach.SHARD", 20)
    return plan_samples(material, [1] * len(material))


def test_a_stopped_run_asks_only_for_what_is_missing(material: Material, samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        taught([Counting(most=50)], material, samples, seed=0, folder=tmp_path)
    told: list[int] = []
    teacher = Counting()
    said = taught([teacher], material, samples, seed=0, folder=tmp_path, progress=told.append)
    assert teacher.seen == len(samples) - 40
    assert told[-1] == len(samples)
    fresh = taught([Counting()], material, samples, seed=0, folder=tmp_path / "fresh", workers=2)
    np.testing.assert_array_equal(said["counting"], fresh["counting"])
    pictures = np.stack([samples.picture(material, row, 0) for row in (0, 1, 57)])
    np.testing.assert_allclose(said["counting"][[0, 1, 57]], pictures.mean(axis=(1, 2)), atol=0.1)


def test_what_other_teachers_said_is_not_taken_for_these(material: Material, samples: Samples, tmp_path: Path) -> None:
    taught([Counting()], material, samples, seed=0, folder=tmp_path)
    for teacher, seed in ((Counting("other"), 0), (Counting(), 1)):
        with pytest.raises(GateError, match="other teachers or crops"):
            taught([teacher], material, samples, seed=seed, folder=tmp_path)
    with pytest.raises(GateError, match="other teachers or crops"):
        taught([Counting()], material, plan_samples(material, [2] * len(material)), seed=0, folder=tmp_path)


def test_progress_tells_the_rate_of_this_run_alone(fake_clock: FakeClock) -> None:
    stream = io.StringIO()
    telling = Telling(stream, fake_clock)
    telling.begin("teaching", 100)
    telling.update(100, 400)
    fake_clock.advance(20)
    telling.update(200, 400)
    telling.say("step 3")
    telling.update(200, 400)
    fake_clock.advance(10)
    telling.update(300, 400)
    telling.close()
    assert stream.getvalue().splitlines() == [
        "gate: teaching",
        "gate: 200 of 400 images, 5.0/s, 0:40 left",
        "gate: step 3",
        "gate: 300 of 400 images, 10/s, 0:10 left",
    ]
