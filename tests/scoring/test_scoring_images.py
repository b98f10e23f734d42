"""Every kind of file becomes RGB, and a damaged one is told, never a grey picture."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest

from gate.scoring.fault import Fault, Why
from gate.scoring.images import MAX_PIXELS, decode
from gate.types import Image


def encoded(picture: PIL.Image.Image, file_format: str, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, file_format, **options)
    return data.getvalue()


def decoded(data: bytes) -> Image:
    image = decode(data)
    assert not isinstance(image, Fault), image
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    return image


@pytest.fixture(scope="module")
def pixels() -> Image:
    ramp = np.linspace(0, 255, 48, dtype=np.uint8)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, ::-1], np.uint8(90)), axis=-1)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_the_pixels_in_rgb_order(pixels: Image, file_format: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert np.array_equal(decoded(encoded(PIL.Image.fromarray(pixels), file_format, **options)), pixels)


def test_jpeg_is_what_opencv_reads(pixels: Image) -> None:
    import cv2

    data = encoded(PIL.Image.fromarray(pixels), "JPEG", quality=90)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert theirs is not None
    theirs = theirs[:, :, ::-1]
    assert np.abs(decoded(data).astype(int) - theirs).max() <= 2


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "PA"])
def test_other_modes_become_rgb(pixels: Image, mode: str) -> None:
    picture = PIL.Image.fromarray(pixels).convert("P" if mode == "PA" else mode)
    if mode == "PA":
        picture.info["transparency"] = bytes(range(256))
    image = decoded(encoded(picture, "PNG"))
    assert np.array_equal(image, np.asarray(picture.convert("RGBA").convert("RGB")))


def test_alpha_is_dropped_and_not_mixed_with_black(pixels: Image) -> None:
    transparent = np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])
    assert np.array_equal(decoded(encoded(PIL.Image.fromarray(transparent), "PNG")), pixels)


def test_cmyk_jpeg_becomes_rgb() -> None:
    red = PIL.Image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK")
    assert np.abs(decoded(encoded(red, "JPEG", quality=95)).astype(int) - (200, 30, 40)).max() <= 4


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(file_format: str) -> None:
    grey = np.linspace(0, 0xFFFF, 64, dtype=np.uint16).reshape(8, 8)
    image = decoded(encoded(PIL.Image.fromarray(grey), file_format))
    assert np.array_equal(image, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_floating_point_pixels_are_a_fault() -> None:
    fault = decode(encoded(PIL.Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))
    assert fault == Fault(Why.UNREADABLE, "floating-point pixels")


def test_exif_orientation_is_applied(pixels: Image) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    turned = PIL.Image.fromarray(pixels[:20])
    assert np.array_equal(decoded(encoded(turned, "PNG", exif=exif)), np.rot90(pixels[:20], -1))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_a_fault(pixels: Image, file_format: str, share: float) -> None:
    data = encoded(PIL.Image.fromarray(np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)), file_format)
    fault = decode(data[: int(len(data) * share)])
    assert isinstance(fault, Fault)
    assert fault.why is Why.UNREADABLE


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"GIF89a" + bytes(40), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_a_fault_in_the_same_words_every_time(data: bytes) -> None:
    fault = decode(data)
    assert isinstance(fault, Fault)
    assert fault.why is Why.UNREADABLE
    assert fault == decode(bytes(data))


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_a_fault_or_a_picture_but_never_a_crash(pixels: Image, seed: int) -> None:
    rng = np.random.default_rng(seed)
    file_format = ("JPEG", "PNG", "TIFF", "BMP")[seed % 4]
    data = bytearray(encoded(PIL.Image.fromarray(pixels), file_format))
    for place in rng.integers(0, min(len(data), 400), 6):
        data[place] = rng.integers(256)
    result = decode(bytes(data))
    assert isinstance(result, Fault) or result.shape[2] == 3


def test_another_size_is_named(pixels: Image) -> None:
    fault = decode(encoded(PIL.Image.fromarray(pixels[:40]), "PNG"), side_px=112)
    assert fault == Fault(Why.WRONG_SIZE, "48x40 px, an aligned crop has 112x112")


def test_a_picture_that_claims_a_huge_size_is_not_decoded() -> None:
    header = bytearray(encoded(PIL.Image.new("1", (64, 64)), "BMP"))
    side = int(MAX_PIXELS**0.5) + 1
    header[18:26] = side.to_bytes(4, "little") * 2
    fault = decode(bytes(header))
    assert isinstance(fault, Fault)
    assert fault.why is Why.TOO_LARGE
