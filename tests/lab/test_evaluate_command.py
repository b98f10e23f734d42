import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gate.commands import evaluate as command
from gate.errors import GateError, QualityError
from gate.lab.cache import Cache
from gate.lab.datasets import load_crops
from gate.lab.results import EvaluationResult
from gate.lab.run import Plan, prepare
from gate.lab.scores import MethodRequest, _typed, compute_scores, load_scores
from gate.lab.trial import Settings
from gate.types import FloatArray

PEOPLE, EACH = 6, 5


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser.add_subparsers())
    return parser.parse_args(["evaluate", *arguments])


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People as coloured stripes, blurred a little more from image to image."""
    folder = tmp_path_factory.mktemp("people")
    random = np.random.default_rng(0)
    for person in range(PEOPLE):
        face = random.integers(0, 256, size=(14, 14, 3), dtype=np.uint8)
        large = cv2.resize(face, (112, 112), interpolation=cv2.INTER_NEAREST)
        (folder / f"person-{person}").mkdir()
        for number in range(EACH):
            noisy = large + random.normal(0, 30, size=large.shape)
            image = cv2.GaussianBlur(np.clip(noisy, 0, 255).astype(np.uint8), (0, 0), 0.5 + 1.5 * number)
            cv2.imwrite(str(folder / f"person-{person}" / f"{number}.png"), image)
    return folder


@pytest.fixture(scope="module")
def embeddings(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embeddings") / "e.npz"
    found = load_crops(str(crops))
    pixels = [cv2.resize(found.image(name), (8, 8)).reshape(-1).astype(np.float32) - 127 for name in found.paths]
    np.savez(path, names=np.array(found.paths), embeddings=np.array(pixels))
    return path


def test_command_writes_its_files_and_prints_the_table(
    crops: Path, embeddings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [str(crops), "--embeddings", str(embeddings), "--method", "sharpness", "--cache", str(tmp_path / "c")]
    statistics = ["--fmr", "0.1", "--limits", "0.3", "--bootstrap", "20", "--impostors", "200", "--device", "cpu"]
    args = parsed(*arguments, *statistics, "--modes", "iso", "-o", str(out))
    assert command.run(args) == 0
    result = EvaluationResult.from_json((out / "results.json").read_text(encoding="utf-8"))
    assert (result.dataset.n_genuine, result.dataset.n_impostor) == (PEOPLE * EACH * (EACH - 1) // 2, 200)
    assert result.recognizer.kind == "embeddings"
    assert result.methods[0].curve("iso", "fnmr", 0.1).pauc(0.3).limit == 0.3
    assert result.methods[0].ms_per_crop > 0
    assert {"report.html", "results.json", "scores.csv", "table.csv"} <= {path.name for path in out.iterdir()}
    printed = capsys.readouterr().out
    assert "| sharpness |" in printed
    assert "report.html" in printed


def prepared(crops: Path, tmp_path: Path, **wishes: Any) -> Any:
    usual = {"methods": (MethodRequest.parse("sharpness"),), "device": "cpu", "cache": tmp_path / "cache"}
    return prepare(Plan(crops=str(crops), **{**usual, **wishes}))


def test_only_images_of_the_pair_file_take_part(crops: Path, embeddings: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("person-3/0.png person-3/1.png 1\nperson-3/0.png person-5/4.png 0\n", encoding="utf-8")
    material = prepared(crops, tmp_path, embeddings=embeddings, pairs=file).material
    assert material.paths == ("person-3/0.png", "person-3/1.png", "person-5/4.png")
    assert list(zip(material.pairs.first, material.pairs.second, material.pairs.same, strict=True)) == [
        (0, 1, True),
        (0, 2, False),
    ]


def test_sampled_impostors_take_the_place_of_the_files_and_come_from_all_images(
    crops: Path, embeddings: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("person-3/0.png person-3/1.png 1\nperson-3/0.png person-5/4.png 0\n", encoding="utf-8")
    material = prepared(crops, tmp_path, embeddings=embeddings, pairs=file, impostors=300).material
    assert len(material.paths) == PEOPLE * EACH
    assert (material.pairs.n_genuine, material.pairs.n_impostor) == (1, 300)
    assert "300 impostor pairs of all images" in material.description


def test_missing_images_and_contradicting_labels_are_told(crops: Path, embeddings: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    lines = ["person-0/0.png person-1/0.png 1", "person-0/0.png person-2/0.png 0", "person-9/0.png person-0/1.png 0"]
    file.write_text("\n".join(lines), encoding="utf-8")
    made = prepared(crops, tmp_path, embeddings=embeddings, pairs=file)
    assert any("1 of 3 pairs are left out" in warning for warning in made.warnings)
    assert any("1 pairs contradict" in warning for warning in made.warnings)
    people = dict(zip(made.material.paths, made.material.identities, strict=True))
    assert people["person-0/0.png"] == people["person-1/0.png"] != people["person-2/0.png"]


def test_a_pair_file_of_other_images_is_refused(crops: Path, embeddings: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("Ann\t1\t2\n", encoding="utf-8")
    with pytest.raises(GateError, match=r"none of its images .* Ann/Ann_0001"):
        prepared(crops, tmp_path, embeddings=embeddings, pairs=file)


def test_people_can_come_from_a_column(crops: Path, embeddings: Path, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    rows = [f"person-{person}/{number}.png,name-{person // 2}" for person in range(PEOPLE) for number in range(EACH)]
    table.write_text("file,who\n" + "\n".join(rows), encoding="utf-8")
    made = prepared(crops, tmp_path, embeddings=embeddings, metadata=table, identity_column="who")
    assert set(made.material.identities) == {"name-0", "name-1", "name-2"}
    assert made.material.pairs.n_genuine == 3 * (2 * EACH) * (2 * EACH - 1) // 2


def test_a_mode_that_needs_mirrored_embeddings_is_told(crops: Path, embeddings: Path, tmp_path: Path) -> None:
    made = prepared(crops, tmp_path, embeddings=embeddings)
    assert any("crfiqa" in warning for warning in made.warnings)
    quiet = prepared(crops, tmp_path, embeddings=embeddings, settings=Settings(modes=("iso",)))
    assert quiet.warnings == ()


def test_score_files_stand_beside_methods(crops: Path, embeddings: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    names = load_crops(str(crops)).paths
    file.write_text("".join(f"/elsewhere/{name} {place}\n" for place, name in enumerate(names)), encoding="utf-8")
    made = prepared(crops, tmp_path, embeddings=embeddings, scores=(("mine", file),))
    mine, sharpness = made.material.methods
    assert mine.scores.tolist() == list(range(PEOPLE * EACH))
    assert (mine.name, mine.method) == ("mine", "")
    assert mine.model.startswith("mine.txt@")
    assert sharpness.method == "sharpness"


def test_a_score_file_without_an_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("path,score\na/1.png,0.5\n", encoding="utf-8")
    with pytest.raises(GateError, match=r"1 of 2 images have none, such as a/2\.png"):
        load_scores("mine", file, ["a/1.png", "a/2.png"])


class CountingMethod:
    name = "sharpness"
    model = ""
    device = "cpu"

    def __init__(self, number: float = 1.0) -> None:
        self.crops = 0
        self.seeds: set[object] = set()
        self.number = number

    def score(self, crops: "np.ndarray[Any, Any]", *, seeds: int | Sequence[int] | None = None) -> FloatArray:
        self.crops += len(crops)
        self.seeds.add(seeds)
        return np.full(len(crops), self.number, dtype=np.float32)


def test_scores_are_computed_once_for_each_method_option_and_seed(crops: Path, tmp_path: Path) -> None:
    found, cache, method = load_crops(str(crops)), Cache(tmp_path), CountingMethod()
    request = MethodRequest.parse("sharpness")
    for seed in (0, 0, 7):
        compute_scores(request, method, found, cache, seed=seed, progress=None)  # type: ignore[arg-type] # a part of one
    assert method.crops == 2 * len(found.paths)
    assert method.seeds == {0, 7}


def test_a_score_that_is_no_number_is_told_with_its_image(crops: Path, tmp_path: Path) -> None:
    found = load_crops(str(crops))
    method = CountingMethod(float("nan"))
    with pytest.raises(GateError, match=r"30 image\(s\) have no finite score, such as person-0/0\.png"):
        compute_scores(
            MethodRequest.parse("sharpness"),
            method,  # type: ignore[arg-type] # the part of a method that is used
            found,
            Cache(tmp_path),
            seed=0,
            progress=None,
        )


def test_options_of_a_method_stand_behind_its_name() -> None:
    request = MethodRequest.parse("grafiqs:phi=block3,backbone=iresnet50:/a/b.pt?contract=magface")
    assert request.method == "grafiqs"
    assert request.options == {"phi": "block3", "backbone": "iresnet50:/a/b.pt?contract=magface"}
    assert MethodRequest.parse("faceqan:epsilon=1e-3").options == {"epsilon": "1e-3"}
    assert _typed("epsilon", "1e-3", 0.001) == 0.001
    assert _typed("passes", "20", 100) == 20
    assert _typed("literal", "true", default=False) is True
    assert _typed("weights", "1e5", None) == "1e5"
    with pytest.raises(GateError, match="name=value"):
        MethodRequest.parse("grafiqs:block3")
    with pytest.raises(QualityError, match="unknown method"):
        MethodRequest.parse("sharpnes").load("cpu")
    with pytest.raises(QualityError, match="unknown option"):
        MethodRequest.parse("sharpness:size=3").load("cpu")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "nothing to evaluate"),
        (["--method", "sharpness", "--recognizer", "a", "--embeddings", "b"], "exclude each other"),
        (["--method", "sharpness", "--bias", "age"], "--metadata"),
        (["--scores", "file.txt"], "expected NAME=FILE"),
    ],
)
def test_parts_that_do_not_fit_are_told(arguments: list[str], told: str) -> None:
    with pytest.raises(GateError, match=told):
        command.plan_of(parsed("crops", "-o", "out", *arguments))


@pytest.mark.parametrize(
    "arguments",
    [["--fmr", "0"], ["--fmr", "2"], ["--limits", "x"], ["--impostors", "0"], ["--bootstrap", "-1"], ["--seed", "1.5"]],
)
def test_numbers_out_of_range_are_refused_by_the_parser(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("crops", "-o", "out", *arguments)


def test_wishes_are_put_in_order() -> None:
    wishes = ["--fmr", "1e-4", "1e-2", "1e-2", "--limits", "0.3", "0.1", "--modes", "beyond-edc", "iso"]
    settings = command.plan_of(parsed("crops", "-o", "out", "--method", "sharpness", *wishes)).settings
    assert settings.fmr_targets == (1e-2, 1e-4)
    assert settings.limits == (0.1, 0.3)
    assert settings.modes == ("iso", "beyond-edc")


def test_labels_are_reported_without_a_recognizer(crops: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "labels.csv", tmp_path / "out"
    rows = [
        f"person-{person}/{number}.png,{number},{'left' if person < 3 else 'right'}"
        for person in range(PEOPLE)
        for number in range(EACH)
    ]
    table.write_text("file,blur,side\n" + "\n".join(rows), encoding="utf-8")
    labels = ["--metadata", str(table), "--attributes", "blur", "--bias", "side"]
    usual = ["--method", "sharpness", "--bootstrap", "20", "--device", "cpu", "--cache", str(tmp_path / "cache")]
    assert command.run(parsed(str(crops), *usual, *labels, "--degradations", "2", "-o", str(out))) == 0
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["recognizer"]["kind"] == "none"
    levels = [line.split(",") for line in (out / "attributes.csv").read_text(encoding="utf-8").splitlines()]
    mean_at, level_at = levels[0].index("mean"), levels[0].index("level")
    means = [float(line[mean_at]) for line in sorted(levels[1:], key=lambda line: float(line[level_at]))]
    assert means == sorted(means, reverse=True)
    assert "left" in (out / "bias.csv").read_text(encoding="utf-8")
    assert "gaussian" in (out / "degradations.csv").read_text(encoding="utf-8")
