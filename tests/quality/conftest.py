"""Networks and crops that the tests of this room share."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gate.errors import WeightsError
from gate.nets.heads import Ediffiqa
from gate.nets.iresnet import iresnet18
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.quality.loading import load_backbone
from gate.types import Image
from gate.weights.zoo import Zoo
from tests.conftest import FakeClock
from tests.quality.scripted import Stage


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    # Small networks on few cores: a second thread waits more than it works, most of all where tests run in parallel.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


FillNetwork = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def _filled_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith(("running_mean", "bias")):
        values = generator.normal(0, 0.1, shape)
    elif len(shape) >= 2:
        values = generator.normal(0, 0.5 * np.sqrt(1 / np.prod(shape[1:])), shape)
    elif "prelu" in name:
        values = np.full(shape, 0.25)
    else:
        values = generator.uniform(0.5, 1.5, shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _filled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor if name.endswith("num_batches_tracked") else _filled_tensor(name, tuple(tensor.shape))
        for name, tensor in state.items()
    }


@pytest.fixture(scope="session")
def filled_state_dict() -> FillNetwork:
    """State dict → one of the same names and shapes whose numbers anybody can draw again from the names."""
    return _filled


@pytest.fixture(scope="session")
def portable_reference(portable: Path) -> dict[str, Any]:
    """What the published code returned for the two portable crops."""
    numbers: dict[str, Any] = json.loads((portable / "reference.json").read_text(encoding="utf-8"))
    return numbers


@pytest.fixture(scope="session")
def portable_crops(portable: Path) -> Image:
    """(2, 112, 112, 3): astronaut, Grace Hopper."""
    import cv2

    crops = []
    for name in ("astronaut.png", "grace_hopper.png"):
        bgr = cv2.imread(str(portable / name), cv2.IMREAD_COLOR)
        assert bgr is not None
        crops.append(np.asarray(bgr[:, :, ::-1], dtype=np.uint8))
    return np.ascontiguousarray(np.stack(crops))


@pytest.fixture(scope="session")
def filled_iresnet18(filled_state_dict: FillNetwork) -> Backbone:
    """IResNet-18 on RGB, as in the reference."""
    net = iresnet18()
    net.load_state_dict(filled_state_dict(net.state_dict()))
    return Backbone("filled", net, InputContract())


@pytest.fixture(scope="session")
def facexzoo(weights_folder: Path) -> Backbone:
    """The default backbone with its real weights."""
    try:
        return load_backbone("facexzoo-mobilefacenet", zoo=Zoo(weights_folder))
    except WeightsError as error:
        pytest.skip(f"the FaceX-Zoo weights cannot be had: {error}")


class TinyNet(nn.Module):
    """A recognition network in a millisecond, with everything methods may ask for."""

    l2_normalised = True

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 4, 6, 8, 8]
        self.blocks = nn.ModuleList(_tiny_stage(widths[i], widths[i + 1]) for i in range(4))
        wide = nn.Conv2d(8, 8, 1, bias=False)
        pool = nn.Conv2d(8, 8, 7, groups=8, bias=False)
        self.pool = nn.Sequential(wide, nn.BatchNorm2d(8), pool, nn.BatchNorm2d(8))
        self.linear = nn.Linear(8, 16)

    def trunk(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.pool(x).flatten(1)
        return result

    def head(self, features: Tensor) -> Tensor:
        result: Tensor = self.linear(features)
        return result

    def stages(self) -> dict[str, nn.Module]:
        return {f"block{i + 1}": block for i, block in enumerate(self.blocks)}

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.head(self.trunk(x)), dim=1)


def _tiny_stage(channels_in: int, channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.PReLU(channels))


@pytest.fixture(scope="session")
def tiny_backbone(filled_state_dict: FillNetwork) -> Backbone:
    """A small network that runs in a millisecond."""
    net = TinyNet()
    net.load_state_dict(filled_state_dict(net.state_dict()))
    return Backbone("tiny", net, InputContract())


@pytest.fixture(scope="session")
def noise_crops() -> Image:
    """(6, 112, 112, 3) smooth random pictures."""
    generator = np.random.Generator(np.random.PCG64(5))
    coarse = generator.integers(0, 256, (6, 14, 14, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=1).repeat(8, axis=2))


@pytest.fixture(scope="session")
def regressor_state(filled_state_dict: FillNetwork, noise_crops: Image) -> dict[str, Tensor]:
    """An eDifFIQA-T network in half precision that tells crops apart, as one does that was trained."""
    net = Ediffiqa(mobilefacenet())
    net.load_state_dict(filled_state_dict(net.state_dict()))
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.momentum = 1.0
    # Statistics of what it sees: with those that were filled in, every crop has the same embedding.
    with torch.no_grad():
        net.train()(InputContract("bgr", 127.5, 128.0).normalise(torch.from_numpy(noise_crops)))
    state = net.state_dict()
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.fixture
def stage(fake_clock: FakeClock) -> Stage:
    """Where a test puts its methods on."""
    return Stage(fake_clock)
