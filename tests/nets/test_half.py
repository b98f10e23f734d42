import pytest
import torch
from torch import nn

from gate.nets.half import HalfLinear, halve


def published_in_half(layer: nn.Linear) -> nn.Linear:
    """The layer, frozen, with numbers that float16 holds."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator).half())
    return layer.requires_grad_(requires_grad=False)


def test_weights_that_float16_holds_compute_the_same_to_the_last_digit() -> None:
    last = published_in_half(nn.Linear(32, 1, bias=False))
    net = nn.Sequential(published_in_half(nn.Linear(16, 32)), nn.GELU(), last)
    inputs = torch.linspace(-1, 1, 80).view(5, 16)
    wanted = net(inputs)
    halve(net)
    assert isinstance(net[0], HalfLinear)
    assert isinstance(net[2], HalfLinear)
    assert net[0].weight.dtype == torch.float16
    assert torch.equal(net(inputs), wanted)


def test_weights_that_float16_does_not_hold_are_left_alone() -> None:
    net = nn.Sequential(nn.Linear(16, 32))
    halve(net)
    assert isinstance(net[0], nn.Linear)


@pytest.mark.parametrize("bias", [False, True])
def test_a_halved_layer_computes_in_the_type_of_its_input(bias: bool) -> None:
    layer = HalfLinear(published_in_half(nn.Linear(4, 2, bias=bias)))
    for dtype in (torch.float64, torch.bfloat16):
        assert layer(torch.ones(1, 4, dtype=dtype)).dtype == dtype
