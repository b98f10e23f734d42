from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gate.lab.distill.recipe import recipe
from gate.lab.distill.start import CONTRACT, refed, start_head
from gate.lab.distill.student import RegressorNet, Student, base_of, head_of, published, restated
from gate.nets.heads import DiffiqaR, Ediffiqa
from gate.nets.iresnet import IResNet
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality.contract import InputContract

Settle = Callable[[nn.Module], nn.Module]


def inputs(count: int = 3) -> Tensor:
    coarse = torch.rand(count, 3, 14, 14, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, (112, 112), mode="bicubic") * 2 - 1


@pytest.fixture(params=["mobilefacenet", "iresnet and one layer"])
def net(request: pytest.FixtureRequest, settle: Settle) -> RegressorNet:
    made: RegressorNet
    made = (
        Ediffiqa(settle(mobilefacenet()))
        if request.param == "mobilefacenet"
        else DiffiqaR(settle(IResNet((1, 1, 1, 1))))
    )
    start_head(made, 0.5, seed=1)
    return made.eval()


def moved(student: Student) -> Student:
    """As if it had learnt something."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in student.parameters():
            if value.requires_grad:
                value.add_(0.05 * value.abs().mean() * torch.randn(value.shape, generator=generator))
    return student


@torch.inference_mode()
def test_a_student_answers_as_the_network_that_it_is_made_of(net: RegressorNet) -> None:
    torch.testing.assert_close(Student(net, 0.4)(inputs()), net(inputs()), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_what_a_student_has_learnt_comes_out_under_the_published_names(net: RegressorNet) -> None:
    student = moved(Student(net, 0.4))
    told = published(student, net)
    assert list(told.state_dict()) == list(net.state_dict())
    assert (student(inputs()) - net(inputs())).abs().max() > 1e-3
    torch.testing.assert_close(told(inputs()), student(inputs()), atol=1e-4, rtol=0)


def test_new_statistics_change_no_answer_and_are_those_of_the_inputs(net: RegressorNet) -> None:
    other = inputs(4).flip(3) * 0.5
    twin = restated(net, iter([other[:2], other[2:]]))
    with torch.inference_mode():
        torch.testing.assert_close(twin(inputs()), net(inputs()), atol=1e-4, rtol=0)
    seen: dict[str, Tensor] = {}
    layers = {name: module for name, module in twin.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    with torch.inference_mode():
        twin(other)
    for name, layer in layers.items():
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean, var = seen[name].mean((0, 2, 3)), seen[name].var((0, 2, 3), correction=0)
        torch.testing.assert_close(layer.running_mean, mean, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(layer.running_var, var, atol=1e-4, rtol=1e-2)


def test_only_embeddings_are_made_with_dropout(net: RegressorNet) -> None:
    student = Student(net, 0.4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, scores = student.embed_and_score(inputs())
        other, again = student.embed_and_score(inputs())
    torch.testing.assert_close(scores, again)
    assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(one.norm(dim=1), torch.ones(3))


def test_slopes_are_learnt_where_the_network_is_trained_as_published(net: RegressorNet) -> None:
    slopes = [m.weight.requires_grad for m in Student(net, 0).modules() if isinstance(m, nn.PReLU)]
    assert set(slopes) == {isinstance(net, DiffiqaR)}


def test_a_head_begins_at_its_level_and_the_global_generator_is_left_alone(settle: Settle) -> None:
    net = Ediffiqa(mobilefacenet())
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    start_head(net, 0.7, seed=1)
    torch.testing.assert_close(torch.rand(1), expected)
    assert float(net.mlp.l2.bias.detach()) == pytest.approx(0.7)
    first = net.mlp.l1.weight.clone()
    start_head(net, 0.7, seed=1)
    torch.testing.assert_close(net.mlp.l1.weight, first)


@torch.inference_mode()
def test_a_network_fed_another_way_answers_the_same(settle: Settle) -> None:
    old = InputContract("bgr", 127.5, 128.0)
    crops = ((inputs() + 1) * 127).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    for base in (settle(mobilefacenet()), settle(IResNet((1, 1, 1, 1)))):
        expected = base(old.normalise(crops))
        refed(base, old)
        torch.testing.assert_close(base(CONTRACT.normalise(crops)), expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_network_fed_with_another_grey_changes_only_at_its_border(settle: Settle) -> None:
    old = InputContract("bgr", 0.0, 255.0)
    net = settle(IResNet((1, 1, 1, 1)))
    assert isinstance(net, IResNet)
    crops = ((inputs() + 1) * 127).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    expected = net.bn1(net.conv1(old.normalise(crops)))
    refed(net, old)
    found = net.bn1(net.conv1(CONTRACT.normalise(crops)))
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], atol=1e-4, rtol=1e-4)


def test_the_parts_of_a_regressor_are_found() -> None:
    ediffiqa, diffiqa_r = Ediffiqa(mobilefacenet()), DiffiqaR(mobilefacenet())
    assert (base_of(ediffiqa), head_of(ediffiqa)) == (ediffiqa.base_model, ediffiqa.mlp)
    assert (base_of(diffiqa_r), head_of(diffiqa_r)) == (diffiqa_r.base, diffiqa_r.linear)
    assert recipe("diffiqa-r").head == "diffiqa-r"
