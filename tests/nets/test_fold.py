import pytest
import torch
from torch import Tensor, nn

from gate.nets.fold import folded
from gate.nets.iresnet import IResNet
from gate.nets.mobilefacenet import mobilefacenet


def _unsettled(net: nn.Module) -> nn.Module:
    """The network with statistics, gains and slopes unlike those of a fresh one."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    return net.eval()


def _small_iresnet() -> nn.Module:
    return IResNet((1, 2, 1, 1))


@pytest.fixture(params=[mobilefacenet, _small_iresnet])
def net(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built: nn.Module = request.param()
    return _unsettled(built)


def _embedding_and_slope(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    x = images.clone().requires_grad_()
    embedding = net(x)
    weights = torch.linspace(-1, 1, embedding.shape[1], dtype=embedding.dtype)
    (slope,) = torch.autograd.grad((embedding @ weights).sum(), x)
    return embedding.detach(), slope


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_copy_gives_the_same_embeddings_and_input_gradients(net: nn.Module, layout: torch.memory_format) -> None:
    # In float64, where no activation is so near to a kink that rounding moves it across.
    images = torch.rand((1, 3, 112, 112), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    twin = folded(net.double())
    assert twin is not None
    twin.to(memory_format=layout)
    embedding, slope = _embedding_and_slope(net, images)
    copied_embedding, copied_slope = _embedding_and_slope(twin, images.contiguous(memory_format=layout))
    torch.testing.assert_close(copied_embedding, embedding, rtol=0, atol=1e-10)
    torch.testing.assert_close(copied_slope, slope, rtol=0, atol=1e-10)


def test_every_norm_after_a_convolution_is_gone_and_the_original_is_whole(net: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    twin = folded(net)
    assert twin is not None
    left = [name for name, module in twin.named_modules() if isinstance(module, nn.BatchNorm2d)]
    # In an IResNet those before the padded convolutions and the one before the flattening stay.
    assert len(left) == (6 if isinstance(net, IResNet) else 0)
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_network_of_unknown_structure_is_left_alone() -> None:
    assert folded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))) is None
