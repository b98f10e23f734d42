import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.assembly import check_weights
from gate.baseline import Baseline, Baselines, histogram_of
from gate.cli import main
from gate.config import GateConfig, build_config
from gate.daemon import Daemon
from gate.errors import ConfigError
from gate.lab.embeddings import Embeddings
from gate.lab.evaluate import Material, Provenance, evaluate
from gate.lab.pairs import Comparisons
from gate.lab.results import EvaluationResult, Recognizer
from gate.lab.scores import MethodScores
from gate.lab.trial import Settings
from gate.quality.calibration import Calibration, CalibrationKey, CalibrationTable
from gate.thresholds import lowest_bar, resolve
from gate.types import FloatArray

NET = "net@12345678"
PHI = "block2"


def config_of(min_quality: Any, *, method: str = "grafiqs", **decide: Any) -> GateConfig:
    return build_config(
        {
            "cameras": [{"name": "door", "url": "virtual:"}, {"name": "desk", "url": "virtual:"}],
            "quality": {"method": method, **decide.pop("quality", {})},
            "decide": {"min_quality": min_quality, **decide},
        }
    )


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """The door is twice as good as the desk."""
    file = tmp_path / "baseline.json"
    cameras = {
        name: Baseline("grafiqs", NET, "2026-02-11", histogram_of(best), len(best), best)
        for name, best in (("door", (20.0, 40.0, 60.0, 80.0)), ("desk", (10.0, 20.0, 30.0, 40.0)))
    }
    file.write_text(Baselines(cameras, str(file)).to_text())
    return file


def bars(config: GateConfig) -> list[float]:
    return [config.rules_of(camera).quality_bar for camera in config.cameras]


def test_numbers_stay_as_they_are() -> None:
    config = config_of(42)
    assert resolve(config).config is config
    assert resolve(config).pairings == ()


def test_a_rate_is_another_number_at_each_camera(baseline: Path) -> None:
    found = resolve(config_of({"accept_rate": 0.75, "baseline": str(baseline)}))
    assert bars(found.config) == [40.0, 20.0]
    assert [entry.camera for entry in found.resolved] == ["door", "desk"]
    assert "accepts 0.75 of visits, by 4 visits of 2026-02-11" in found.resolved[0].why


def test_the_baseline_of_the_rules_serves_the_rate_too(baseline: Path) -> None:
    assert bars(resolve(config_of({"accept_rate": 0.5}, baseline=str(baseline))).config) == [60.0, 30.0]


def test_an_unresolved_wish_is_never_taken_for_a_bar(baseline: Path) -> None:
    config = config_of({"accept_rate": 0.5, "baseline": str(baseline)})
    with pytest.raises(ValueError, match=r"no number before gate\.thresholds\.resolve"):
        bars(config)


@pytest.mark.parametrize(
    ("wish", "rules", "message"),
    [
        ({"accept_rate": 0.75}, {}, r"camera 'door': decide: .*needs a baseline.*gate tune"),
        ({"accept_rate": 0.75}, {"method": "serfiq"}, r"made with grafiqs, and quality\.method is serfiq"),
        (30, {"method": "serfiq"}, r"made with grafiqs, and quality\.method is serfiq"),
        ({"accept_rate": 0.75}, {"keep_quality": 50}, r"keep_quality 50 must not be above min_quality 40"),
    ],
)
def test_a_wish_that_does_not_fit_is_refused(wish: Any, rules: dict[str, Any], message: str, baseline: Path) -> None:
    named = {} if rules == {} else {"baseline": str(baseline)}
    with pytest.raises(ConfigError, match=message):
        resolve(config_of(wish, **rules, **named))


def test_a_rate_out_of_reach_and_an_unknown_camera_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    half = Baseline("grafiqs", NET, "2026-02-11", histogram_of([50.0]), 4, (40.0, 50.0))
    file.write_text(Baselines({"door": half}, "").to_text())
    with pytest.raises(ConfigError, match=r"no bar accepts 0\.75 of visits: .*0\.5 of 4 have a face"):
        resolve(config_of({"accept_rate": 0.75, "baseline": str(file)}))
    with pytest.raises(ConfigError, match=r"camera 'desk': decide: .*nothing about camera 'desk'; it has door"):
        resolve(config_of({"accept_rate": 0.5, "baseline": str(file)}))


def test_other_weights_are_refused_once_they_are_known(baseline: Path) -> None:
    found = resolve(config_of(30, baseline=str(baseline)))
    found.check("grafiqs", NET)
    with pytest.raises(ConfigError, match=r"grafiqs with net@12345678, and this gate scores with grafiqs with net@0"):
        found.check("grafiqs", "net@00000000")


def evaluation(random: np.random.Generator) -> EvaluationResult:
    """Two hundred people, six crops each; the lower the score the noisier the embedding."""
    people = np.repeat(np.arange(200), 6)
    scores = random.uniform(0, 1, len(people)).astype(np.float32)
    noise = random.standard_normal((len(people), 32)) * (2.2 * (1 - scores[:, None]))
    vectors: FloatArray = (random.standard_normal((200, 32))[people] + noise).astype(np.float32)
    a, b = np.triu_indices(len(people), k=1)
    same = people[a] == people[b]
    kept = same | (random.random(len(same)) < 0.05)
    pairs = Comparisons(a[kept].astype(np.int32), b[kept].astype(np.int32), same[kept])
    embeddings = Embeddings(Recognizer("net", NET, "12345678", "onnx", 32, 1.0), vectors, None)
    names = tuple(f"p{person}" for person in people)
    paths = tuple(f"{name}/{place}.jpg" for place, name in enumerate(names))
    methods = [
        MethodScores("grafiqs:phi=block2", scores, "grafiqs", NET, {"phi": PHI}, 2.5, "cpu"),
        MethodScores("flat", np.zeros(len(people), dtype=np.float32)),
    ]
    material = Material("toy", paths, names, "c" * 64, pairs, embeddings, methods)
    settings = Settings(fmr_targets=(1e-2, 1e-3), modes=("iso",), bootstrap=0)
    return evaluate(material, settings, Provenance("gate evaluate toy", 1_700_000_000_000))


@pytest.fixture(scope="module")
def evaluated() -> EvaluationResult:
    return evaluation(np.random.default_rng(0))


@pytest.fixture
def results(evaluated: EvaluationResult, tmp_path: Path) -> Path:
    return evaluated.save(tmp_path / "evaluation")


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    """Quality is a hundred times the score."""
    file = tmp_path / "calibration.json"
    maps = tuple(
        Calibration(
            CalibrationKey.of("grafiqs", {"phi": phi, "literal": False}, NET),
            tuple(i / 100 * by for i in range(101)),
            101,
        )
        for phi, by in ((PHI, 1), ("block3", 7))
    )
    file.write_text(CalibrationTable(maps, "").to_text())
    return file


def outcome(results: Path, calibration: Path, *, fmr: float = 1e-3, target: float = 0.05, phi: str = PHI) -> GateConfig:
    wish = {"fnmr_at": {"fmr": fmr, "target": target}, "evaluation": str(results)}
    return config_of(wish, quality={"calibration": str(calibration), "options": {"phi": phi}})


def test_an_outcome_is_the_lowest_bar_whose_kept_pairs_have_few_enough_errors(
    evaluated: EvaluationResult, results: Path, calibration: Path
) -> None:
    bar, other = bars(resolve(outcome(results, calibration)).config)
    assert bar == other
    samples = evaluated.samples
    assert samples is not None
    quality = 100 * samples.scores["grafiqs:phi=block2"]
    threshold = np.float32(evaluated.methods[0].curve("iso", "fnmr", 1e-3).threshold)

    def fnmr(at: float) -> float:
        kept = samples.same & (quality[samples.first] >= at) & (quality[samples.second] >= at)
        return float(np.mean(samples.similarity[kept] <= threshold))

    assert fnmr(0.0) > 0.2
    assert fnmr(bar) <= 0.05 < fnmr(bar - 1.0)
    assert all(fnmr(at) > 0.05 for at in np.arange(0.0, bar - 1.0, 1.0))


def test_a_lower_target_needs_a_higher_bar(results: Path, calibration: Path) -> None:
    found = [bars(resolve(outcome(results, calibration, target=target)).config)[0] for target in (0.2, 0.1, 0.05)]
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"target": 1e-4},
            r"no bar in .* brings the FNMR at an FMR of 0\.001 down to 0\.0001 with 30000 genuine pairs",
        ),
        ({"fmr": 1e-4}, r"nothing at an FMR of 0\.0001; it has 0\.01, 0\.001\. Evaluate with --fmr 0\.0001"),
        ({"phi": "block3"}, r"0 entries for grafiqs with the options of quality\.options"),
    ],
)
def test_an_outcome_that_nothing_shows_is_refused(
    change: dict[str, Any], message: str, results: Path, calibration: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(outcome(results, calibration, **change))


def test_an_evaluation_without_its_map_or_its_curves_is_refused(results: Path, calibration: Path) -> None:
    wish = {"fnmr_at": {"fmr": 1e-3, "target": 0.05}, "evaluation": str(results)}
    with pytest.raises(ConfigError, match=r"no map to 0\.\.100 for grafiqs with net@12345678"):
        resolve(config_of(wish, quality={"options": {"phi": PHI}}))
    data = json.loads(results.read_text())
    for method in data["methods"]:
        del method["kept"]
    results.write_text(json.dumps(data))
    assert EvaluationResult.from_json(results.read_text()).methods[0].kept == ()
    with pytest.raises(ConfigError, match=r"of an older gate\. Run gate evaluate again"):
        resolve(outcome(results, calibration))
    results.write_text("{}")
    with pytest.raises(ConfigError, match=r"no results\.json of an evaluation"):
        resolve(outcome(results, calibration))


def test_scores_that_the_map_makes_equal_pass_together() -> None:
    flat = Calibration(CalibrationKey.of("m", {}, ""), tuple(float(max(50, i)) for i in range(101)), 101)
    curve = {"scores": [10.0, 30.0, 60.0], "fnmr": [0.3, 0.0, 0.0], "pairs": [900, 800, 700]}
    # 10 and 30 both have quality 0: a bar between them would keep both.
    assert lowest_bar(flat, curve, 0.01) == 60.0
    assert lowest_bar(flat, {**curve, "pairs": [900, 800, 200]}, 0.01) is None


def test_check_shows_the_number_that_a_wish_became(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gate.commands.check.probes", lambda *_: ())
    file = tmp_path / "gate.yaml"
    file.write_text(
        "cameras: [{name: door, url: 'virtual:'}]\nquality: {method: grafiqs}\n"
        f"decide: {{min_quality: {{accept_rate: 0.75, baseline: '{baseline}'}}}}\n"
    )
    assert main(["check", "-c", str(file)]) == 0
    assert "ok    camera door: min_quality 40, accepts 0.75 of visits" in capsys.readouterr().out
    file.write_text(file.read_text().replace("0.75", "0.999").replace("door", "gate"))
    assert main(["check", "-c", str(file)]) == 1
    assert "nothing about camera 'gate'" in capsys.readouterr().err


def test_a_running_gate_is_given_numbers_and_watches_its_drift(baseline: Path) -> None:
    daemon = Daemon(config_of({"accept_rate": 0.75}, baseline=str(baseline)))
    assert bars(daemon._config) == [40.0, 20.0]
    assert daemon.observer.drift.values() == {"door": None, "desk": None}


def test_a_gate_on_other_weights_does_not_start(baseline: Path) -> None:
    class Rung:
        method: Any = None

    class Chain:
        rungs = (Rung(),)

    chain: Any = Chain()
    thresholds = resolve(config_of(30, baseline=str(baseline)))
    # A fallback scores, and its quality is calibrated too.
    check_weights(thresholds, chain)
    chain.rungs[0].method = MethodScores("grafiqs", np.zeros(1, np.float32), model="net@00000000")
    with pytest.raises(ConfigError, match="this gate scores with grafiqs with net@00000000"):
        check_weights(thresholds, chain)
