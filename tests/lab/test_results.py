import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.embeddings import Embeddings
from gate.lab.evaluate import Material, Provenance, evaluate
from gate.lab.pairs import Comparisons
from gate.lab.results import EvaluationResult, Recognizer
from gate.lab.scores import MethodScores
from gate.lab.trial import Settings


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 4)
    a, b = np.triu_indices(80, k=1)
    pairs = Comparisons(a.astype(np.int32), b.astype(np.int32), people[a] == people[b])
    vectors = random.standard_normal((20, 16))[people] + random.standard_normal((80, 16))
    recognizer = Recognizer("net", "net@12345678", "12345678", "onnx", 16, 1.5)
    twice = [vectors.astype(np.float32), vectors[:, ::-1].astype(np.float32)]
    methods = [
        MethodScores("good", random.random(80).astype(np.float32), "grafiqs", "m@1", {"phi": "block2"}, 2.5, "cpu"),
        MethodScores("flat", np.zeros(80, dtype=np.float32)),
    ]
    names = tuple(f"p{person}" for person in people)
    paths = tuple(f"{name}/{place}.jpg" for place, name in enumerate(names))
    material = Material("toy", paths, names, "c" * 64, pairs, Embeddings(recognizer, *twice), methods)
    return evaluate(material, Settings(bootstrap=20), Provenance("gate evaluate toy", 1_700_000_000_000, ("careful",)))


def plain(value: object) -> object:
    """Comparable form: NaN equals NaN."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items() if key != "samples"}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def test_json_keeps_everything_but_the_arrays(result: EvaluationResult) -> None:
    again = EvaluationResult.from_json(result.to_json())
    assert again.samples is None
    assert plain(dataclasses.asdict(dataclasses.replace(again, samples=None))) == plain(
        dataclasses.asdict(dataclasses.replace(result, samples=None))
    )
    assert again.to_json() == result.to_json()


def test_json_is_strict_and_names_its_units(result: EvaluationResult) -> None:
    def refuse(name: str) -> float:
        raise AssertionError(name)

    data = json.loads(result.to_json(), parse_constant=refuse)
    assert data["format"] == 1
    assert data["methods"][1]["ms_per_crop"] is None
    curve = data["methods"][0]["curves"][0]
    assert {"mode", "error", "fmr_target", "threshold", "fnmr0", "false_matches", "paucs", "warning"} <= set(curve)
    assert "samples" not in data


def test_saved_file_is_read_back(result: EvaluationResult, tmp_path: Path) -> None:
    path = result.save(tmp_path / "new" / "folder")
    assert path.name == "results.json"
    assert EvaluationResult.from_json(path.read_text(encoding="utf-8")).command == "gate evaluate toy"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1}', "no json"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(GateError, match="results"):
        EvaluationResult.from_json(text)


def test_curves_and_methods_are_found_by_what_they_are(result: EvaluationResult) -> None:
    curve = result.method("good").curve("beyond-edc", "fnmr", 1e-2)
    assert (curve.mode, curve.error, curve.fmr_target) == ("beyond-edc", "fnmr", 1e-2)
    assert curve.pauc(0.2).limit == 0.2
    assert result.method("good").curve("crfiqa", "fnmr", 1e-3).pauc(0.95).limit == 0.95
    with pytest.raises(KeyError):
        result.method("other")
    with pytest.raises(KeyError):
        result.method("good").curve("crfiqa", "fmr", 1e-3)
    with pytest.raises(KeyError):
        curve.pauc(0.15)
