"""Small material and networks that the tests of training share."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gate.lab.distill.lessons import Lesson
from gate.lab.distill.material import UNKNOWN, Material
from gate.lab.distill.teach import plan_samples
from gate.nets.iresnet import iresnet18
from gate.nets.mobilefacenet import mobilefacenet
from gate.types import Image

PEOPLE, EACH = 4, 10


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    # Small networks on few cores: a second thread waits more than it works, most of all where tests run in parallel.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(people: int, each: int, seed: int = 0) -> Image:
    """People as coloured patches, worse from image to image; (people * each, 112, 112, 3)."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(people):
        face = random.integers(0, 256, size=(14, 14, 3), dtype=np.uint8)
        large = cv2.resize(face, (112, 112), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        for number in range(each):
            noisy = large + random.normal(0, 10, size=large.shape)
            made.append(cv2.GaussianBlur(np.clip(noisy, 0, 255).astype(np.uint8), (0, 0), 0.5 + 0.7 * number))
    return np.stack(made).astype(np.uint8)


@pytest.fixture(scope="session")
def material() -> Material:
    """Four people with ten images each, and six strangers."""
    crops = np.concatenate([pictures(PEOPLE, EACH), pictures(6, 1, seed=1)])
    identities = np.concatenate([np.repeat(np.arange(PEOPLE), EACH), np.full(6, UNKNOWN)]).astype(np.int32)
    return Material(crops, tuple(f"{i:03d}.png" for i in range(len(crops))), identities, "0" * 16)


@pytest.fixture
def lesson(material: Material) -> Lesson:
    """Labels that fall with the blur, two spoilt versions a crop, the last person held back."""
    samples = plan_samples(material, [2] * len(material))
    random = np.random.default_rng(3)
    blur = np.where(samples.index < PEOPLE * EACH, samples.index % EACH, 0)
    labels = (0.9 - 0.05 * blur - 0.2 * (samples.version > 0)).astype(np.float32)
    embeddings = random.normal(size=(len(samples), 512)).astype(np.float32)
    known = material.identities[samples.index] != UNKNOWN
    taught = material.identities[samples.index] != PEOPLE - 1
    return Lesson(material, samples, labels, embeddings, taught, known, seed=5)


@pytest.fixture(scope="session")
def crop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four people as files, with `who.csv` beside the folder `crops`."""
    folder = tmp_path_factory.mktemp("people")
    write_crops(folder, pictures(PEOPLE, EACH), EACH)
    return folder


def write_crops(folder: Path, crops: Image, each: int) -> None:
    """`crops/NNN.png` and `who.csv`."""
    (folder / "crops").mkdir()
    with (folder / "who.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity"])
        for number, crop in enumerate(crops):
            cv2.imwrite(str(folder / "crops" / f"{number:03d}.png"), crop[:, :, ::-1])
            writer.writerow([f"{number:03d}.png", f"person {number // each}"])


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Fresh weights whose BatchNorms know what they are fed, so that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                bound = parameter[0].numel() ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
    smooth = torch.from_numpy(pictures(4, 1, seed=2)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        net.train()(smooth)
    return net.eval().requires_grad_(requires_grad=True)


@pytest.fixture(scope="session")
def mobilefacenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognition network that knows nothing, as a checkpoint."""
    return _saved(settled(mobilefacenet()), tmp_path_factory.mktemp("start") / "mobile.safetensors")


@pytest.fixture(scope="session")
def iresnet18_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of another kind."""
    return _saved(settled(iresnet18()), tmp_path_factory.mktemp("start") / "iresnet.safetensors")


def _saved(net: nn.Module, path: Path) -> Path:
    save_file({name: tensor.detach().clone() for name, tensor in net.state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def settle() -> Callable[[nn.Module], nn.Module]:
    """`settled`, for tests that want a network in memory."""
    return settled
