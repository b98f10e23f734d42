"""Crops survive JPEG; what is no picture of a sane size is refused."""

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import EventError
from gate.publish.jpeg import decode_crop, encode_crop
from gate.types import Image


def test_colours_and_order_of_channels_survive() -> None:
    image = np.zeros((112, 112, 3), np.uint8)
    image[:, :56] = (250, 10, 20)
    image[:, 56:] = (5, 30, 240)
    read = decode_crop(encode_crop(image))
    assert read.shape == image.shape
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - image).mean() < 2


def test_a_real_crop_keeps_its_colours_at_full_resolution(portable: Path) -> None:
    from skimage.io import imread

    image: Image = imread(portable / "grace_hopper.png")[:, :, :3]
    mse = float(np.mean((decode_crop(encode_crop(image)).astype(float) - image) ** 2))
    # Measured: 40.1 dB; with subsampled colour it is 36.6 dB.
    assert 10 * np.log10(255**2 / mse) > 39


@pytest.mark.parametrize("shape", [(112, 112), (0, 112, 3), (112, 112, 4)])
def test_what_is_no_rgb_picture_is_not_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(EventError, match="RGB"):
        encode_crop(np.zeros(shape, np.uint8))


def test_a_small_file_that_claims_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    data = bytearray(encode_crop(np.zeros((16, 16, 3), np.uint8)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 60000, 60000)
    with pytest.raises(EventError, match="60000x60000"):
        decode_crop(bytes(data))


def test_other_formats_are_refused() -> None:
    import cv2

    png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    with pytest.raises(EventError, match="not a JPEG"):
        decode_crop(png)


@given(st.data())
def test_damaged_files_give_a_picture_or_an_event_error(data: st.DataObject) -> None:
    good = encode_crop(np.arange(48 * 48 * 3, dtype=np.uint32).reshape(48, 48, 3).astype(np.uint8))
    cut = data.draw(st.integers(0, len(good)))
    place = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good[:cut])
    if place < len(damaged):
        damaged[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(EventError):
        assert decode_crop(bytes(damaged)).ndim == 3
