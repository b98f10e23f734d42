import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gate.cli import main
from gate.clock import SystemClock
from gate.config import build_config
from gate.errors import GateError
from gate.tuning.shadow import ShadowRun
from gate.types import Face, FloatArray, Image, Rating
from tests.conftest import FakeClock

LANDMARKS = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)


def a_face(x: float, size: float) -> Face:
    box = np.array([x, 20, 100 * size, 110 * size], np.float32)
    return Face(box, (LANDMARKS * size + np.array([x, 20], np.float32)).astype(np.float32), 0.9)


class Detector:
    """A large face on the left and one that today's bars call too small on the right."""

    name, device = "scripted", "cpu"

    def detect(self, image: Image) -> list[Face]:
        return [a_face(10, 1.0), a_face(300, 0.3)]


class Nobody(Detector):
    def detect(self, image: Image) -> list[Face]:
        return []


class Scorer:
    name, model = "scripted", "net@12345678"

    def __init__(self, quality: float = 55.0) -> None:
        self.quality = quality
        self.scored = 0

    def rate(self, crops: Image) -> Sequence[Rating]:
        self.scored += len(crops)
        return [Rating(self.quality, self.quality, self.name, self.model)] * len(crops)


VIRTUAL = {"name": "door", "url": "virtual:?seed=3&fps=10&seconds=1", "pace": "fast"}
LEFT = [[0, 0], [0.15, 0], [0.15, 1], [0, 1]]


def shadow(scorer: Any, **camera: Any) -> ShadowRun:
    config = build_config({"cameras": [{**VIRTUAL, **camera}]})
    return ShadowRun(config, clock=SystemClock(), detector=Detector(), scorer=scorer)


def test_every_face_is_scored_also_where_todays_bars_reject_it() -> None:
    scorer = Scorer()
    run = shadow(scorer, zones={"include": [LEFT]}, decide={"min_detector_score": 0.99})
    records = run.run(None)
    assert run.frames == 10
    assert len(records) == scorer.scored == 20
    assert {record.quality for record in records} == {55.0}
    assert {record.model for record in records} == {"net@12345678"}
    visits = {record.visit: record.at.in_zone for record in records}
    assert sorted(visits.values()) == [False, True]


def test_a_score_that_is_no_number_is_a_face_without_quality() -> None:
    records = shadow(Scorer(float("nan"))).run(None)
    assert len(records) == 20
    assert {record.quality for record in records} == {None}


def test_a_scorer_that_always_fails_ends_the_run() -> None:
    class Broken(Scorer):
        def rate(self, crops: Image) -> Sequence[Rating]:
            raise RuntimeError("no")

    with pytest.raises(GateError, match="20 frames in a row could not be scored"):
        shadow(Broken(), url="virtual:?seed=3&fps=10&seconds=30").run(None)


def test_the_run_ends_with_its_time(fake_clock: FakeClock) -> None:
    class Slow(Scorer):
        def rate(self, crops: Image) -> Sequence[Rating]:
            fake_clock.advance(1.0)
            return super().rate(crops)

    config = build_config({"cameras": [{**VIRTUAL, "url": "virtual:?seed=3&fps=10&seconds=60"}]})
    run = ShadowRun(config, clock=fake_clock, detector=Detector(), scorer=Slow())
    run.run(5.0)
    assert run.frames == 5


def test_a_file_that_cannot_be_read_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    cameras = [VIRTUAL, {"name": "lost", "url": str(tmp_path / "none.mp4")}]
    config = build_config({"cameras": cameras})
    run = ShadowRun(config, clock=SystemClock(), detector=Detector(), scorer=Scorer())
    assert {record.camera for record in run.run(None)} == {"door"}


class Method:
    """As much of a loaded chain as the command needs."""

    def __init__(self) -> None:
        self.rated = Scorer()
        self.name, self.model, self.rate = self.rated.name, self.rated.model, self.rated.rate

    def raw(self, crops: Image) -> FloatArray:
        return np.zeros(len(crops), np.float32)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.tuning.shadow.load_detector", lambda _config: Detector())
    monkeypatch.setattr("gate.tuning.shadow.load_scorer", lambda *_: Method())


@pytest.mark.usefixtures("scripted")
def test_the_command_writes_what_gate_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gate.yaml"
    wish = {
        "min_quality": {"accept_rate": 0.5, "baseline": "made-by-this-run.json"},
        "min_sharpness": None,
        "min_contrast": None,
    }
    file.write_text(yaml.safe_dump({"cameras": [VIRTUAL], "decide": wish, "quality": {"method": "serfiq"}}))
    out = tmp_path / "out"
    assert main(["tune", "-c", str(file), "--until-eof", "--accept-rate", "0.5", "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "door: 50% of 2 visits accepted; proposed: min_quality 55" in shown
    assert str(out / "report.md") in shown
    (camera,) = yaml.safe_load((out / "patch.yaml").read_text())["cameras"]
    assert camera["decide"]["min_quality"] == 55.0
    known = json.loads((out / "baseline.json").read_text())["cameras"]["door"]
    assert (known["method"], known["visits"], known["faces"], sum(known["histogram"])) == ("scripted", 2, 10, 10)
    assert len((out / "faces.csv").read_text().splitlines()) == 21


@pytest.mark.usefixtures("scripted")
def test_a_run_without_a_face_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gate.tuning.shadow.load_detector", lambda _config: Nobody())
    source = ["--source", VIRTUAL["url"], "--fast"]
    assert main(["tune", *source, "--until-eof", "-o", str(tmp_path / "out")]) == 1
    assert "10 frames and no face in them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_to_the_end_needs_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--source", "webcam:0", "--until-eof", "-o", str(tmp_path)]) == 1
    assert "--until-eof never ends with cam1; use --seconds" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "90", "x", "nan"])
def test_a_rate_is_a_share(share: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--seconds", "1", "-o", str(tmp_path), "--accept-rate", share])
    assert "between 0 and 1" in capsys.readouterr().err
