import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gate.errors import GateError
from gate.lab.distill.diary import Diary
from gate.lab.distill.lessons import Lesson, Timetable
from gate.lab.distill.recipe import recipe
from gate.lab.distill.start import CONTRACT, start_head
from gate.lab.distill.student import Student
from gate.lab.distill.train import CHECKPOINT, Progress, checkpoint_step, train
from gate.nets.heads import DiffiqaR, Ediffiqa
from gate.nets.iresnet import IResNet
from gate.nets.mobilefacenet import mobilefacenet

Settle = Callable[[nn.Module], nn.Module]

OURS = replace(recipe("recognizers"), batch=4, epochs=4 * 4 / 108, ema_decay=0.5, faceless=0.25)


@pytest.fixture
def student(settle: Settle) -> Student:
    net = Ediffiqa(settle(mobilefacenet()))
    start_head(net, 0.5, seed=0)
    return Student(net, OURS.dropout_p)


def weights(student: Student) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in student.state_dict().items()}


def test_a_run_that_was_stopped_ends_with_the_weights_of_an_unbroken_one(
    student: Student, lesson: Lesson, tmp_path: Path
) -> None:
    assert Timetable(lesson, OURS).steps == 4
    torch.manual_seed(1)
    whole = train(copy.deepcopy(student), lesson, OURS, CONTRACT, tmp_path / "whole")
    told: list[int] = []

    def report(progress: Progress) -> None:
        told.append(progress.step)

    torch.manual_seed(2)  # what else has drawn from the global generator must not matter
    broken = train(
        copy.deepcopy(student), lesson, OURS, CONTRACT, tmp_path / "broken", report=report, stop=lambda: len(told) == 2
    )
    assert checkpoint_step(tmp_path / "broken" / CHECKPOINT) == 2
    torch.manual_seed(3)
    again = train(copy.deepcopy(student), lesson, OURS, CONTRACT, tmp_path / "broken", report=report)
    assert told == [1, 2, 3, 4]
    expected, found = weights(whole), weights(again)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert any(not torch.equal(weights(broken)[name], found[name]) for name in expected)
    assert any(not torch.equal(weights(student)[name], found[name]) for name in expected)
    finished = train(copy.deepcopy(student), lesson, OURS, CONTRACT, tmp_path / "broken", report=report)
    assert told == [1, 2, 3, 4]
    assert all(torch.equal(tensor, found[name]) for name, tensor in weights(finished).items())


def test_training_leaves_the_global_generator_alone(student: Student, lesson: Lesson, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(student, lesson, replace(OURS, epochs=0.01), CONTRACT, tmp_path)
    torch.testing.assert_close(torch.rand(3), expected)


def test_losses_fall(student: Student, lesson: Lesson, tmp_path: Path) -> None:
    eager = replace(
        OURS, epochs=16 * 8 / 108, batch=8, lr_head=2e-3, lr_base=1e-3, consistency=0.0, ranking=0.0, faceless=0.0
    )
    told: list[float] = []
    train(student, lesson, eager, CONTRACT, tmp_path, report=lambda p: told.append(p.losses.closeness))
    assert np.mean(told[-4:]) < 0.8 * np.mean(told[:4])


def test_only_the_last_tensors_of_the_trunk_learn_where_the_recipe_says_so(
    settle: Settle, lesson: Lesson, tmp_path: Path
) -> None:
    published = replace(recipe("diffiqa-r"), batch=2, epochs=0.01, base_tensors=5)
    net = DiffiqaR(settle(IResNet((1, 1, 1, 1))))
    start_head(net, 0.5, seed=0)
    student = Student(net, 0.0)
    before = weights(student)
    after = weights(train(student, replace(lesson, embeddings=None), published, CONTRACT, tmp_path))
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    last = {f"trunk.{name}" for name in [name for name, _ in net.base.named_parameters()][-5:]}
    assert changed <= last | {"mlp.weight", "mlp.bias"}
    assert "mlp.weight" in changed
    assert "trunk.fc.weight" in changed


def test_a_checkpoint_of_another_recipe_is_refused(student: Student, lesson: Lesson, tmp_path: Path) -> None:
    short = replace(OURS, epochs=0.01)
    train(copy.deepcopy(student), lesson, short, CONTRACT, tmp_path)
    with pytest.raises(GateError, match="of another recipe"):
        train(student, lesson, replace(short, ranking=0.3), CONTRACT, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_a_damaged_checkpoint_is_told(content: bytes, student: Student, lesson: Lesson, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    assert checkpoint_step(tmp_path / CHECKPOINT) == 0
    with pytest.raises(GateError, match=r"cannot be read as a checkpoint .*remove it"):
        train(student, lesson, OURS, CONTRACT, tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(student: Student, lesson: Lesson, tmp_path: Path) -> None:
    with torch.no_grad():
        next(student.mlp.parameters()).fill_(float("nan"))
    with pytest.raises(GateError, match="the loss of step 1 is not a number"):
        train(student, lesson, OURS, CONTRACT, tmp_path)


def test_the_diary_of_a_continued_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    diary = Diary(tmp_path, ("total",), 0)
    for step in (1, 2, 3):
        diary.note(step, {"total": step / 10})
    diary.note(2, {"spearman": 0.5})
    diary.write(picture=False)
    again = Diary(tmp_path, ("total",), 2)
    again.note(3, {"total": 0.7})
    again.write(picture=True)
    assert (tmp_path / "curves.csv").read_text() == "step,total,spearman\n1,0.1,\n2,0.2,0.5\n3,0.7,\n"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert again.recent("total", 2) == pytest.approx(0.45)
    assert Diary(tmp_path, ("total",), 0).recent("total") != again.recent("total")


def test_a_file_that_is_no_diary_is_told(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text("a,b\n1,2\n")
    with pytest.raises(GateError, match=r"curves\.csv cannot be read"):
        Diary(tmp_path, ("total",), 1)
