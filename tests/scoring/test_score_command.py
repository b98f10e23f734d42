"""`gate score` with real methods, as a user types it."""

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from gate.errors import GateError, NotCalibratedError, QualityError
from gate.quality import load_method
from gate.scoring import read_scores
from gate.types import Image

Score = Callable[..., int]

COMMAND = """
import argparse, sys
from gate.commands import score
import torch
torch.set_num_threads(1)
parser = argparse.ArgumentParser()
score.add_arguments(parser.add_subparsers())
args = parser.parse_args(sys.argv[1:])
sys.exit(args.run(args))
"""


@pytest.fixture
def crops(tmp_path: Path, noise_png: Callable[[int], bytes]) -> Path:
    """Ten crops with spaces and umlauts in their paths, and one file that is none."""
    folder = tmp_path / "crops"
    for number in range(10):
        path = folder / f"person {number % 3}" / f"{number} ü.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise_png(number))
    (folder / "readme.md").write_text("not an image")
    return folder


@pytest.fixture
def sharp(gate_score: Score) -> Score:
    """The command with the method that needs no weights."""

    def run(*arguments: object) -> int:
        return gate_score("--method", "sharpness", "--device", "cpu", "--aligned", *arguments)

    return run


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def expected(folder: Path) -> dict[str, float]:
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    images = np.stack([np.asarray(PIL.Image.open(path).convert("RGB")) for path in paths])
    return dict(zip(paths, map(float, load_method("sharpness").score(images)), strict=True))


@pytest.mark.parametrize("extension", ["txt", "csv", "jsonl", "pickle"])
def test_every_format_holds_what_the_method_says(sharp: Score, crops: Path, tmp_path: Path, extension: str) -> None:
    out = tmp_path / f"scores.{extension}"
    assert sharp(crops, "-o", out) == 0
    scores = read_scores(out)
    assert list(scores) == list(expected(crops))
    assert scores == pytest.approx(expected(crops), rel=1e-6)
    assert files_in(tmp_path) == sorted(["crops", out.name])


def test_text_is_a_path_and_a_score_a_line_on_standard_output(
    sharp: Score, crops: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert sharp(crops) == 0
    out, err = capfdbinary.readouterr()
    lines = out.decode().splitlines()
    assert len(lines) == 10
    assert {line.rpartition(" ")[0] for line in lines} == set(expected(crops))
    assert b"scored 10 images" in err
    assert b"passed over 1" in err


def test_format_and_value_can_be_chosen(sharp: Score, crops: Path, tmp_path: Path) -> None:
    assert sharp(crops, "-o", tmp_path / "a.dat", "--format", "pickle", "--value", "raw") == 0
    with (tmp_path / "a.dat").open("rb") as file:
        scores = pickle.load(file)  # noqa: S301 - what we have just written
    assert {type(score) for score in scores.values()} == {float}
    assert sharp(crops, "-o", tmp_path / "q.txt", "--value", "quality") == 0
    assert all(0 <= quality <= 100 for quality in read_scores(tmp_path / "q.txt").values())
    with pytest.raises(GateError, match="column for each"):
        sharp(crops, "-o", tmp_path / "a.csv", "--value", "raw")
    with pytest.raises(GateError, match="need -o"):
        sharp(crops, "--format", "pickle")


def test_a_table_has_score_raw_and_quality(sharp: Score, crops: Path, tmp_path: Path) -> None:
    assert sharp(crops, "-o", tmp_path / "s.csv") == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "score", "raw", "quality"]
    assert all(row["score"] == row["raw"] for row in rows)


def test_folder_list_and_archive_score_alike(
    sharp: Score, crops: Path, tmp_path: Path, make_tar: Callable[..., Path]
) -> None:
    paths = list(expected(crops))
    (tmp_path / "list.txt").write_text("\n".join(paths) + "\n")
    make_tar(tmp_path / "x.tar.gz", [(path, Path(path).read_bytes()) for path in paths], "gz")
    outputs = []
    ways: dict[str, list[object]] = {"a": [crops], "b": ["--list", tmp_path / "list.txt"], "c": [tmp_path / "x.tar.gz"]}
    for name, inputs in ways.items():
        assert sharp(*inputs, "-o", tmp_path / name) == 0
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_prefixes_are_replaced_in_the_output_only(sharp: Score, crops: Path, tmp_path: Path) -> None:
    (crops / "broken.png").write_bytes(b"broken")
    out, errors = tmp_path / "s.txt", tmp_path / "e.csv"
    assert sharp(crops, "-o", out, "--errors", errors, "--path-replace", f"{crops}/=/data/") == 0
    assert set(read_scores(out)) == {path.replace(f"{crops}/", "/data/") for path in expected_paths(crops)}
    assert f"{crops}/broken.png,unreadable" in errors.read_text()
    before = out.read_bytes()
    assert sharp(crops, "-o", out, "--path-replace", f"{crops}/=/data/") == 0
    assert out.read_bytes() == before


def expected_paths(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*ü.png"))


def test_failures_are_listed_counted_and_decide_the_exit_code_when_strict(
    sharp: Score, crops: Path, tmp_path: Path, png: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    (crops / "a cut.png").write_bytes((crops / "person 0" / "0 ü.png").read_bytes()[:5000])
    (crops / "small\x1b[2J.png").write_bytes(png(50, side_px=64))
    errors = tmp_path / "e.csv"
    assert sharp(crops, "-o", tmp_path / "s.txt", "--errors", errors) == 0
    told = capsys.readouterr().err
    assert "2 without a score: 1 unreadable, 1 wrong size" in told
    assert "\x1b" not in told
    with errors.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"]
    assert {path: reason.partition(":")[0] for path, reason in rows[1:]} == {
        f"{crops}/a cut.png": "unreadable",
        f"{crops}/small\x1b[2J.png": "wrong size",
    }
    assert len(read_scores(tmp_path / "s.txt")) == 10
    assert sharp(crops, "-o", tmp_path / "s2.txt", "--strict") == 1


def test_nothing_scored_is_a_failure(sharp: Score, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    assert sharp(tmp_path / "bad.png", "-o", tmp_path / "s.txt") == 1
    assert not (tmp_path / "s.txt").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(GateError, match="no images"):
        sharp(tmp_path / "empty", "-o", tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to score"),
        (("nowhere",), "does not exist"),
        ((".", "--option", "x"), "KEY=VALUE"),
        ((".", "--option", "passes=5"), "unknown option"),
        ((".", "--phi", "all"), "--phi belongs to grafiqs"),
        ((".", "--path-replace", "x"), "OLD=NEW"),
        ((".", "--batch-size", "0"), "--batch-size"),
        ((".", "-o", "/proc/nowhere/x.txt"), "cannot be written"),
        ((".", "-o", "."), "is a folder"),
        ((".", "--errors", "/proc/nowhere/x.csv"), "cannot be written"),
        ((".", "-o", "same", "--errors", "same"), "same file"),
    ],
)
def test_a_mistake_is_one_clear_message(
    sharp: Score, crops: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(crops)
    with pytest.raises(GateError, match=told):
        sharp(*arguments)


def test_option_values_have_the_type_of_their_default(gate_score: Score, crops: Path) -> None:
    with pytest.raises(GateError, match="expected a int"):
        gate_score(crops, "--aligned", "--method", "serfiq", "--option", "passes=many")
    with pytest.raises(QualityError, match="unknown method"):
        gate_score(crops, "--aligned", "--method", "sharpnes")


def test_a_pickle_is_continued_and_never_half_there(sharp: Score, crops: Path, tmp_path: Path) -> None:
    out, part = tmp_path / "s.pkl", tmp_path / "s.pkl.part"
    assert sharp(crops, "-o", out, "--batch-size", 3) == 0
    whole = out.read_bytes()
    lines = [f"{path} {score!r}\n" for path, score in read_scores(out).items()]
    out.unlink()
    part.write_text("".join(lines[:7]) + lines[7][:9])
    assert sharp(crops, "-o", out, "--batch-size", 3) == 0
    assert out.read_bytes() == whole
    assert not part.exists()
    assert sharp(crops, "-o", out, "--batch-size", 3) == 0
    assert out.read_bytes() == whole
    assert not part.exists()


def test_a_pickle_of_other_scores_is_refused_and_left_alone(sharp: Score, crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.pkl"
    out.write_bytes(pickle.dumps({"mine": 1.0}))
    before = out.read_bytes()
    with pytest.raises(GateError, match="--overwrite"):
        sharp(crops, "-o", out)
    assert files_in(tmp_path) == ["crops", "s.pkl"]
    assert out.read_bytes() == before
    assert sharp(crops, "-o", out, "--overwrite") == 0
    assert len(read_scores(out)) == 10


def test_dev_null_and_pipes_can_be_written(sharp: Score, crops: Path) -> None:
    assert sharp(crops, "-o", os.devnull) == 0


@pytest.fixture
def mobilefacenet(weights_folder: Path) -> Path:
    path = weights_folder / "facexzoo-mobilefacenet.safetensors"
    if not path.is_file():
        pytest.skip("gate models pull facexzoo-mobilefacenet fetches these weights")
    return path


@pytest.mark.usefixtures("mobilefacenet")
@pytest.mark.parametrize(("target", "stem"), [("out", "GraFIQs"), ("out/mine.txt", "mine")])
def test_phi_all_writes_the_five_published_files(
    gate_score: Score, crops: Path, tmp_path: Path, target: str, stem: str
) -> None:
    method = ("--method", "grafiqs", "--device", "cpu", "--aligned")
    crops /= "person 1"
    assert gate_score(*method, crops, "--phi", "all", "-o", tmp_path / target) == 0
    names = [f"{stem}_{phi}.txt" for phi in ("image", "block1", "block2", "block3", "block4")]
    assert files_in(tmp_path / "out") == sorted(names)
    assert gate_score(*method, crops, "--phi", "block2", "--value", "raw", "-o", tmp_path / "one.txt") == 0
    published = read_scores(tmp_path / "out" / f"{stem}_block2.txt")
    # One phi alone folds the norms before it, so that activations differ in their last bit. Where one of 100,000 lies
    # so near to a PReLU's kink that it changes sides, the gradient jumps: by 1.5e-4 for one of ten crops of noise (a
    # thousandth of the scores' spread over LFW), while the other nine agree to 3e-6 with this and with float64.
    assert published == pytest.approx(read_scores(tmp_path / "one.txt"), rel=1e-3)
    assert min(published.values()) > 0


def test_phi_all_takes_other_formats_and_values(
    gate_score: Score, mobilefacenet: Path, crops: Path, tmp_path: Path
) -> None:
    method = ("--method", "grafiqs", "--device", "cpu", "--aligned", "--phi", "all")
    crops /= "person 1"
    assert gate_score(*method, crops, "-o", tmp_path / "t", "--format", "csv") == 0
    with (tmp_path / "t" / "GraFIQs_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["score"]) == -float(row["raw"]) for row in rows)
    assert gate_score(*method, crops, "-o", tmp_path / "u", "--value", "score") == 0
    assert max(read_scores(tmp_path / "u" / "GraFIQs_block4.txt").values()) < 0
    with pytest.raises(NotCalibratedError):
        gate_score(*method, crops, "-o", tmp_path / "v", "--value", "quality")
    with pytest.raises(GateError, match="need -o"):
        gate_score(*method, crops)


def test_a_seed_gives_a_crop_its_number_wherever_it_stands(
    gate_score: Score, mobilefacenet: Path, crops: Path, tmp_path: Path
) -> None:
    method = ("--method", "serfiq", "--device", "cpu", "--aligned", "--option", "passes=8", "--value", "raw")
    paths = expected_paths(crops)
    assert gate_score(*method, *paths, "--seed", 3, "-o", tmp_path / "a.txt") == 0
    assert gate_score(*method, *paths[::-1], "--seed", 3, "--batch-size", 4, "-o", tmp_path / "b.txt") == 0
    assert gate_score(*method, *paths, "--seed", 4, "-o", tmp_path / "c.txt") == 0
    one, other, another = (read_scores(tmp_path / f"{name}.txt") for name in "abc")
    assert other == pytest.approx(one, rel=1e-4)
    assert another != pytest.approx(one, rel=1e-4)


@pytest.fixture
def photos(tmp_path: Path, portraits: dict[str, Image], weights_folder: Path) -> Path:
    if not (weights_folder / "yunet_2023mar.onnx").is_file():
        pytest.skip("gate models pull yunet fetches these weights")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, image in portraits.items():
        PIL.Image.fromarray(image).save(folder / f"{name}.jpg", quality=95)
    PIL.Image.new("RGB", (320, 240), (90, 120, 90)).save(folder / "meadow.jpg")
    return folder


def test_faces_are_found_and_aligned(gate_score: Score, photos: Path, tmp_path: Path) -> None:
    from gate.faces.align import align
    from gate.faces.yunet import YuNetDetector
    from gate.weights.zoo import Zoo

    out, errors = tmp_path / "s.jsonl", tmp_path / "e.csv"
    assert gate_score(photos, "--method", "sharpness", "--device", "cpu", "-o", out, "--errors", errors) == 0
    rows = {Path(row["path"]).stem: row for row in map(json.loads, out.read_text().splitlines())}
    assert set(rows) == {"astronaut", "grace_hopper", "group"}
    assert "meadow.jpg,no face: yunet finds none in 320x240 px" in errors.read_text()
    image = np.asarray(PIL.Image.open(photos / "group.jpg"))
    face = max(YuNetDetector(Zoo().path("yunet")).detect(image), key=lambda f: f.box_xywh[2] * f.box_xywh[3])
    crop = align(image, face.landmarks[None])
    assert rows["group"]["score"] == pytest.approx(float(load_method("sharpness").score(crop)[0]))
    box = [rows["group"][name] for name in ("box_x", "box_y", "box_w", "box_h")]
    assert box == pytest.approx(face.box_xywh.tolist(), abs=0.01)
    assert 0.6 <= rows["group"]["det_score"] <= 1
    assert 10 < rows["group"]["inter_eye_px"] < 200


def test_the_best_of_several_faces_can_be_chosen(gate_score: Score, photos: Path, tmp_path: Path) -> None:
    method = ("--method", "sharpness", "--device", "cpu", photos / "group.jpg")
    assert gate_score(*method, "-o", tmp_path / "a.jsonl", "--faces", "best") == 0
    assert gate_score(*method, "-o", tmp_path / "b.jsonl", "--faces", "largest") == 0
    best, largest = (json.loads((tmp_path / f"{name}.jsonl").read_text()) for name in "ab")
    assert best["det_score"] >= largest["det_score"]
    assert best["box_w"] * best["box_h"] <= largest["box_w"] * largest["box_h"]


def test_a_detectors_threshold_can_be_raised(gate_score: Score, photos: Path, tmp_path: Path) -> None:
    method = ("--method", "sharpness", "--device", "cpu", photos, "-o", tmp_path / "s.txt")
    assert gate_score(*method, "--min-detector-score", 1.0) == 1


@pytest.mark.slow
def test_a_killed_run_is_continued_to_the_same_bytes(
    tmp_path: Path, noise_png: Callable[[int], bytes], make_tar: Callable[..., Path]
) -> None:
    kinds = [noise_png(seed) for seed in range(20)]
    broken = kinds[0][:3000]
    members = [(f"face {n}.png", broken if n % 97 == 5 else kinds[n % 20]) for n in range(1500)]
    archive = make_tar(tmp_path / "x.tar", members)
    arguments = ["score", "--method", "sharpness", "--device", "cpu", "--aligned", "--batch-size", "8", str(archive)]
    command = [sys.executable, "-c", COMMAND, *arguments]
    whole = _run_to_the_end(command, tmp_path / "whole.txt")
    out = tmp_path / "out.txt"
    assert _run_until(command, out, int(0.4 * len(whole[0])))
    assert 0 < out.stat().st_size < len(whole[0])
    assert _run_to_the_end(command, out) == whole


def _run_to_the_end(command: list[str], out: Path) -> tuple[bytes, bytes]:
    errors = out.with_suffix(".csv")
    subprocess.run([*command, "-o", str(out), "--errors", str(errors)], check=True, capture_output=True)
    return out.read_bytes(), errors.read_bytes()


def _run_until(command: list[str], out: Path, size_bytes: int) -> bool:
    """Kill the run once it has written this much; returns whether it was still running."""
    with subprocess.Popen([*command, "-o", str(out)], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (out.exists() and out.stat().st_size >= size_bytes):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL
