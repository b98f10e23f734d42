import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from gate.cli import main
from gate.commands.distill import _stop_on_interrupt, diffusion_plan_of, plan_of
from gate.errors import GateError, WeightsError
from gate.lab.distill.plan import LabelRequest, Plan
from gate.lab.distill.recipe import adjusted, recipe
from gate.lab.distill.run import distill
from gate.lab.distill.start import load_start
from gate.lab.distill.telling import Telling
from gate.lab.distill.train import CHECKPOINT
from gate.quality import load_method
from gate.weights import checkpoint

TINY_TEACHERS = """
import torch
from torch import nn
from gate.quality.contract import InputContract

class Tiny(nn.Module):
    input_contract = InputContract()
    def __init__(self, seed):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 16, stride=16)
        self.linear = nn.Linear(8 * 49, 32)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in self.parameters():
                value.normal_(0, 0.1, generator=generator)
    def trunk(self, x):
        return self.conv(x).relu().flatten(1)
    def head(self, features):
        return self.linear(features)
    def forward(self, x):
        return self.head(self.trunk(x))

def one():
    return Tiny(1)

def other():
    return Tiny(2)
"""


def arguments(folder: Path, out: Path, start: Path, *more: str) -> list[str]:
    usual = ["--identities", str(folder / "who.csv"), "--start", str(start), "--device", "cpu", "--threads", "1"]
    return ["distill", str(folder / "crops"), "-o", str(out), *usual, *more]


@pytest.fixture
def people(crop_folder: Path, tmp_path: Path) -> Path:
    """A folder where one person has ten of the best fifth: 60 crops, so that the fifth is twelve."""
    folder = tmp_path / "people"
    (folder / "crops").mkdir(parents=True)
    for number in range(60):
        shutil.copy(crop_folder / "crops" / f"{number % 40:03d}.png", folder / "crops" / f"{number:03d}.png")
    rows = [f"{i:03d}.png,person {0 if i < 12 else 1 + i // 20}" for i in range(60)]
    (folder / "who.csv").write_text("path,identity\n" + "\n".join(rows) + "\n")
    (folder / "scores.csv").write_text("path,score\n" + "".join(f"{i:03d}.png,{60 - i}\n" for i in range(60)))
    return folder


def ediffiqa_t(people: Path, out: Path, start: Path, *more: str) -> list[str]:
    chosen = ["--recipe", "ediffiqa-t", "--label", f"scores:{people / 'scores.csv'}", "--held-back", "0.0"]
    return arguments(people, out, start, *chosen, "--set", "batch=4", "epochs=0.7", *more)


def test_ediffiqa_t_is_trained_from_crops_to_weights_that_score(
    people: Path, mobilefacenet_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(ediffiqa_t(people, out, mobilefacenet_file)) == 0
    assert capsys.readouterr().out == f"{out / 'facegate.safetensors'}\n"
    assert {"facegate.safetensors", "model-card.md", "curves.csv", "curves.png", "recipe.json"} <= {
        path.name for path in out.iterdir()
    }
    state = checkpoint.load_state_dict(out / "facegate.safetensors")
    assert {"base_model.conv1.conv.weight", "mlp.l2.bias"} <= state.keys()
    assert {str(tensor.dtype) for tensor in state.values()} == {"torch.float16"}
    assert (out / "facegate.safetensors").stat().st_size < 5e6
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    assert np.isfinite(load_method("ediffiqa-t", weights=out / "facegate.safetensors").raw(crops)).all()
    card = (out / "model-card.md").read_text()
    assert "ediffiqa-t" in card
    assert "scores of `scores.csv`, weight 1" in card
    assert "| lr_head | 0.001 |" in card
    assert str(tmp_path) not in card
    assert json.loads((out / "recipe.json").read_text())["recipe"]["batch"] == 4
    rows = (out / "curves.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2"]


def test_a_finished_folder_is_left_alone_and_another_run_refused(
    people: Path, mobilefacenet_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(ediffiqa_t(people, out, mobilefacenet_file, "--set", "epochs=0.3")) == 0
    (people / "scores.csv").unlink()  # would be missed by anything but doing nothing
    shutil.rmtree(people / "crops")
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != "recipe.json"}
    capsys.readouterr()
    assert main(ediffiqa_t(people, out, mobilefacenet_file, "--set", "epochs=0.3")) == 0
    assert "is finished already, nothing to do" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}
    assert main(ediffiqa_t(people, out, mobilefacenet_file, "--set", "epochs=0.3", "--seed", "4")) == 1
    assert "holds a run with another seed (0, not 4)" in capsys.readouterr().err
    assert main(ediffiqa_t(people, out, mobilefacenet_file, "--set", "epochs=0.3", "batch=8")) == 1
    assert "another recipe (batch 4, not 8)" in capsys.readouterr().err


def plan(people: Path, out: Path, start: Path) -> Plan:
    return Plan(
        sources=(str(people / "crops"),),
        output=out,
        recipe=adjusted(recipe("ediffiqa-t"), {"batch": "4", "epochs": "1.0"}),
        identities=(people / "who.csv",),
        labels=(LabelRequest.parse(f"scores:{people / 'scores.csv'}"),),
        start=str(start),
        held_back=0.0,
    )


def test_a_stopped_run_says_how_to_go_on_and_ends_with_the_same_weights(
    people: Path,
    mobilefacenet_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = ["--set", "epochs=1.0"]
    assert main(ediffiqa_t(people, tmp_path / "whole", mobilefacenet_file, *usual)) == 0
    from gate.lab.distill.diary import Diary

    note = Diary.note

    def interrupted(self: Diary, step: int, values: dict[str, float]) -> None:
        note(self, step, values)
        if step == 2 and "total" in values:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Diary, "note", interrupted)
    assert main(ediffiqa_t(people, tmp_path / "broken", mobilefacenet_file, *usual)) == 130
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is before
    told = capsys.readouterr().err
    assert "stopped, with a checkpoint in" in told
    assert "The same command goes on where it was" in told
    assert not (tmp_path / "broken" / "facegate.safetensors").exists()
    assert main(ediffiqa_t(people, tmp_path / "broken", mobilefacenet_file, *usual)) == 0
    one, other = (tmp_path / name / "facegate.safetensors" for name in ("whole", "broken"))
    assert one.read_bytes() == other.read_bytes()
    whole, broken = ((tmp_path / name / "curves.csv").read_text() for name in ("whole", "broken"))
    assert whole == broken
    assert len(whole.splitlines()) == 4


def test_a_run_that_fails_while_it_writes_does_not_train_again(
    people: Path, mobilefacenet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = plan(people, tmp_path / "out", mobilefacenet_file)
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr("gate.lab.distill.run.model_card", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            distill(wish, Telling(log))
        monkeypatch.undo()
        saved = (tmp_path / "out" / CHECKPOINT).stat().st_mtime_ns
        assert distill(wish, Telling(log)).state == "done"
        assert (tmp_path / "out" / CHECKPOINT).stat().st_mtime_ns == saved


def test_a_regressor_is_trained_on_with_its_head(people: Path, mobilefacenet_file: Path, tmp_path: Path) -> None:
    assert main(ediffiqa_t(people, tmp_path / "first", mobilefacenet_file, "--set", "epochs=0.3")) == 0
    weights = tmp_path / "first" / "facegate.safetensors"
    start = load_start(str(weights), recipe("ediffiqa-t"))
    assert start.has_head
    state = checkpoint.load_state_dict(weights)
    torch.testing.assert_close(start.net.state_dict()["mlp.l2.bias"], state["mlp.l2.bias"].float())
    assert not load_start(str(mobilefacenet_file), recipe("ediffiqa-t")).has_head
    wrong = recipe("ediffiqa-s")
    with pytest.raises(WeightsError, match="not of a"):
        load_start(str(weights), wrong)


@pytest.mark.parametrize("name", ["diffiqa-r", "ediffiqa-l", "ediffiqa-m", "ediffiqa-s"])
def test_a_preset_whose_start_is_not_here_says_which_weights_to_give(
    name: str, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = [
        "distill",
        str(people / "crops"),
        "-o",
        str(out),
        "--recipe",
        name,
        "--label",
        "sharpness",
        "--device",
        "cpu",
    ]
    assert main(asked) == 1
    told = capsys.readouterr().err
    assert f"recipe {name} starts from a recognition network, {recipe(name).network}" in told
    assert "--start FILE" in told


def test_labels_that_do_not_fit_the_recipe_are_told(
    people: Path, mobilefacenet_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*more: str) -> str:
        assert main(arguments(people, tmp_path / "out", mobilefacenet_file, *more)) == 1
        assert not (tmp_path / "out" / CHECKPOINT).exists()
        return capsys.readouterr().err

    assert "name them with --label" in told("--recipe", "ediffiqa-t")
    assert "leave out --label" in told("--label", "sharpness")
    assert "--teacher: recipe ediffiqa-t asks methods" in told("--recipe", "ediffiqa-t", "--teacher", "w600k-mbf", "x")
    assert "--witness: recipe ediffiqa-t learns scores" in told("--recipe", "ediffiqa-t", "--witness", "serfiq")
    assert "unknown recipe" in told("--recipe", "mine")
    assert "needs class centres" in told("--recipe", "ediffiqa-t", "--label", "sharpness", "--limit", "15")


def test_options_of_the_other_network_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", "crops", "-o", str(tmp_path), "--dim", "16"]) == 1
    assert "--dim belongs to `gate distill diffusion`" in capsys.readouterr().err
    assert main(["distill", "diffusion", "crops", "-o", str(tmp_path), "--recipe", "diffiqa-r"]) == 1
    assert "--recipe is not for `gate distill diffusion`" in capsys.readouterr().err
    assert main(["distill", "diffusion", "-o", str(tmp_path)]) == 1
    assert "no crops to learn from" in capsys.readouterr().err


def parsed(*more: str) -> Plan:
    from gate.cli import build_parser

    return plan_of(build_parser().parse_args(["distill", "a", "b.tar", "-o", "out", "--device", "cpu", *more]))


def test_the_command_line_becomes_a_plan() -> None:
    made = parsed(
        "--set", "epochs=1.5", "batch=8", "--teacher", "x.onnx", "--held-back", "0.2", "--limit", "9", "--seed", "3"
    )
    assert made.sources == ("a", "b.tar")
    assert (made.recipe.name, made.recipe.epochs, made.recipe.batch) == ("recognizers", 1.5, 8)
    assert (made.teachers, made.held_back, made.limit, made.seed) == (("x.onnx",), 0.2, 9, 3)
    assert parsed().teachers == ("w600k-mbf", "facexzoo-mobilefacenet")
    from gate.cli import build_parser

    unet = diffusion_plan_of(build_parser().parse_args(["distill", "diffusion", "a", "-o", "out", "--device", "cpu"]))
    assert (unet.sources, unet.recipe.dim, unet.recipe.batch, unet.steps) == (("a",), 64, 64, 100_000)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--set", "epochs"),
        ("--set", "epochs=0"),
        ("--set", "batch=0"),
        ("--held-back", "1"),
        ("--seed", "-1"),
        ("--limit", "0"),
        ("--threads", "0"),
        ("--label", "serfiq=-1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: tuple[str, str]) -> None:
    with pytest.raises(GateError):
        parsed(*wrong)


def test_before_training_and_the_second_time_an_interrupt_ends_at_once() -> None:
    # A suite that runs in the background of a shell ignores Ctrl-C; a terminal does not.
    with _stop_on_interrupt() as stop:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_ours_is_trained_by_what_recognizers_say(
    mobilefacenet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.lab.distill.conftest import pictures, write_crops

    (tmp_path / "people").mkdir()
    write_crops(tmp_path / "people", pictures(9, 12, seed=4), 12)
    (tmp_path / "tinyteachers.py").write_text(TINY_TEACHERS)
    monkeypatch.syspath_prepend(tmp_path)
    teachers = ["--teacher", "tinyteachers:one", "tinyteachers:other"]
    out = tmp_path / "out"
    numbers = ["--set", "batch=8", "epochs=0.03", "--held-back", "0.3"]
    witness = ["--witness", "sharpness"]
    assert main(arguments(tmp_path / "people", out, mobilefacenet_file, *teachers, *witness, *numbers)) == 0
    card = (out / "model-card.md").read_text()
    assert "- `sharpness`" in card
    assert "| spearman with labels |" in card
    assert "| spoilt below clean |" in card
    with np.load(out / "taught" / "00000000.npz") as said:
        assert set(said) == {"one", "other", "start", "witness sharpness"}
        assert said["witness sharpness"].shape == (9 * 12 * 6, 1)
        assert len(said["one"]) == 9 * 12 * 6
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    assert np.isfinite(load_method("ediffiqa-t", weights=out / "facegate.safetensors").raw(crops)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ediffiqa-s", "diffiqa-r"])
def test_presets_of_iresnets_run_from_end_to_end(
    name: str, people: Path, iresnet18_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from gate.nets.heads import DiffiqaR
    from gate.nets.iresnet import iresnet18
    from gate.quality.loading import fill

    monkeypatch.setattr("gate.lab.distill.run._RESTATED_ON", 4)
    small = replace(recipe(name), network="iresnet18", batch=2, epochs=2 / 60)
    wish = replace(plan(people, tmp_path / "out", iresnet18_file), recipe=small)
    if name == "ediffiqa-s":
        wish = replace(wish, recipe=replace(small, epochs=2 / 12))
    with (tmp_path / "log").open("w") as log:
        assert distill(wish, Telling(log)).state == "done"
    weights = tmp_path / "out" / "facegate.safetensors"
    crops = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    if name == "ediffiqa-s":
        assert np.isfinite(load_method("ediffiqa-s", weights=weights).raw(crops)).all()
    else:
        fill(DiffiqaR(iresnet18()), weights)
