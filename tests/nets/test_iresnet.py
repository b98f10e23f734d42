from collections.abc import Callable

import pytest
import torch
from torch import nn

from gate.nets.iresnet import IResNet, iresnet18, iresnet34, iresnet50, iresnet100


@pytest.mark.parametrize(
    ("build", "blocks", "parameters"),
    [
        (iresnet18, (2, 2, 2, 2), 24_025_600),
        (iresnet34, (3, 4, 6, 3), 34_139_328),
        (iresnet50, (3, 4, 14, 3), 43_590_848),
        (iresnet100, (3, 13, 30, 3), 65_156_160),
    ],
)
def test_published_depths_have_the_published_size(
    build: Callable[[], IResNet], blocks: tuple[int, ...], parameters: int
) -> None:
    with torch.device("meta"):
        net = build()
    assert tuple(len(stage) for stage in (net.layer1, net.layer2, net.layer3, net.layer4)) == blocks
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_state_dict_has_the_published_names() -> None:
    with torch.device("meta"):
        names = set(iresnet18().state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block = {"conv1.weight", "conv2.weight", "prelu.weight"} | {f"bn{i}.{part}" for i in (1, 2, 3) for part in norm}
    wanted = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    wanted |= {f"{top}.{part}" for top in ("bn1", "bn2", "features") for part in norm}
    for layer in range(1, 5):
        wanted |= {f"layer{layer}.{i}.{name}" for i in (0, 1) for name in block}
        wanted |= {f"layer{layer}.0.downsample.0.weight"}
        wanted |= {f"layer{layer}.0.downsample.1.{part}" for part in norm}
    assert names == wanted


def test_stages_halve_the_picture_and_head_follows_trunk() -> None:
    net = iresnet18().eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> None:
        def hook(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            shapes[name] = tuple(output.shape)

        net.stages()[name].register_forward_hook(hook)

    for name in net.stages():
        note(name)
    x = torch.linspace(-1, 1, 3 * 112 * 112).reshape(1, 3, 112, 112)
    with torch.inference_mode():
        embedding = net(x)
        assert torch.equal(net.head(net.trunk(x)), embedding)
    assert shapes == {
        "block1": (1, 64, 56, 56),
        "block2": (1, 128, 28, 28),
        "block3": (1, 256, 14, 14),
        "block4": (1, 512, 7, 7),
    }
    assert embedding.shape == (1, 512)
