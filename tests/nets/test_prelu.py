import pytest
import torch
from torch import nn

from gate.nets.prelu import PReLU


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 7), (2, 5, 4, 3)])
def test_frozen_gradient_is_torchs_own(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator)
    x.view(-1)[:2] = 0.0
    upstream = torch.randn(shape, generator=generator)
    slopes = torch.tensor([0.25, -0.5, 0.0, 1.0, 2.0])
    gradients = []
    for layer in (PReLU(5), nn.PReLU(5)):
        layer.weight.data.copy_(slopes)
        layer.requires_grad_(requires_grad=False)
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(layer(leaf), leaf, upstream)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-6)


def test_a_weight_that_trains_gets_its_gradient() -> None:
    layer = PReLU(2)
    layer(torch.tensor([[-1.0, -2.0], [3.0, -4.0]])).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [-1.0, -6.0]
