import numpy as np
import pytest
import torch
from torch import nn

from gate.quality.backbone import Backbone
from gate.quality.baselines import EmbeddingNorm, MirrorCosine
from gate.quality.contract import InputContract
from gate.quality.sharpness import Sharpness
from gate.types import Image


def test_norm_is_taken_before_the_networks_own_normalisation(tiny_backbone: Backbone, noise_crops: Image) -> None:
    inputs = tiny_backbone.inputs(torch.from_numpy(noise_crops))
    with torch.inference_mode():
        lengths = tiny_backbone.net.head(tiny_backbone.net.trunk(inputs)).norm(dim=1)  # type: ignore[operator]
    raw = EmbeddingNorm(tiny_backbone).raw(noise_crops)
    np.testing.assert_allclose(raw, lengths.numpy(), rtol=1e-5)
    assert not np.allclose(raw, 1.0)


def test_norm_of_a_network_that_only_embeds_is_that_of_its_embedding() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    raw = EmbeddingNorm(Backbone("mine", net, InputContract("rgb", 0, 1))).raw(np.full((1, 112, 112, 3), 3, np.uint8))
    np.testing.assert_allclose(raw, [27**0.5], rtol=1e-5)


def test_magface_reports_under_its_own_name(tiny_backbone: Backbone) -> None:
    assert EmbeddingNorm(tiny_backbone, name="magface").name == "magface"


def test_mirror_cosine_is_symmetric_and_one_for_a_symmetric_face(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = MirrorCosine(tiny_backbone)
    mirrored = np.ascontiguousarray(noise_crops[:, :, ::-1])
    np.testing.assert_allclose(method.raw(noise_crops), method.raw(mirrored), rtol=1e-5)
    symmetric = np.concatenate([noise_crops[:, :, :56], mirrored[:, :, 56:]], axis=2)
    np.testing.assert_allclose(method.raw(symmetric), 1.0, rtol=1e-5)
    assert (method.raw(noise_crops) < 0.9999).all()


def test_mirror_cosine_is_the_published_symmetry_of_faceqan(
    facexzoo: Backbone, portable_crops: Image, portable_reference: dict[str, list[float]]
) -> None:
    raw = MirrorCosine(facexzoo).raw(portable_crops)
    np.testing.assert_allclose(raw, portable_reference["faceqan_symmetry"], rtol=1e-4)


def test_sharpness_is_the_variance_of_opencvs_laplacian(portable_crops: Image) -> None:
    import cv2

    for crop, raw in zip(portable_crops, Sharpness().raw(portable_crops), strict=True):
        luminance = crop.astype(np.float64) @ np.asarray([0.299, 0.587, 0.114])
        laplacian = np.asarray(cv2.Laplacian(luminance, cv2.CV_64F, ksize=1))
        assert raw == pytest.approx(laplacian[1:-1, 1:-1].var(), rel=1e-4)


def test_blur_lowers_sharpness(portable_crops: Image) -> None:
    import cv2

    blurred = np.stack([np.asarray(cv2.GaussianBlur(crop, (0, 0), 2), dtype=np.uint8) for crop in portable_crops])
    assert (Sharpness().score(blurred) < 0.3 * Sharpness().score(portable_crops)).all()
