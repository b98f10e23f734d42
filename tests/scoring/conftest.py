"""Small images made on the spot, and the command as a user types it."""

import argparse
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import PIL.Image
import pytest

from gate.commands import score


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Torch's threads spin when the cores are busy: GraFIQs then takes eight times as long on two as on one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """A square picture of one colour, as bright as asked for; 0 is black."""

    def make(brightness: int, side_px: int = 112) -> bytes:
        data = io.BytesIO()
        colour = (brightness, brightness // 2, 7 if brightness else 0)
        PIL.Image.new("RGB", (side_px, side_px), colour).save(data, "PNG")
        return data.getvalue()

    return make


@pytest.fixture(scope="session")
def noise_png() -> Callable[[int], bytes]:
    """A 112x112 picture of noise, another one for every seed."""
    import numpy as np

    def make(seed: int) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), dtype=np.uint8)
        data = io.BytesIO()
        PIL.Image.fromarray(pixels // (1 + seed % 7)).save(data, "PNG", compress_level=1)
        return data.getvalue()

    return make


@pytest.fixture(scope="session")
def make_tar() -> Callable[..., Path]:
    """Writes an archive of names and contents."""

    def make(path: Path, members: Iterable[tuple[str, bytes]], compression: str = "") -> Path:
        with path.open("wb") as file, tarfile.open(fileobj=file, mode=f"w|{compression}") as archive:  # type: ignore[call-overload]
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return make


@pytest.fixture
def gate_score() -> Callable[..., int]:
    """Runs the command; returns its exit code."""

    def run(*arguments: object) -> int:
        parser = argparse.ArgumentParser()
        score.add_arguments(parser.add_subparsers())
        args = parser.parse_args(["score", *map(str, arguments)])
        return int(args.run(args))

    return run
