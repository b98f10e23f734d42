from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gate.errors import NotCalibratedError, QualityError
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.quality.grafiqs import PHIS, Grafiqs
from gate.types import FloatArray, Image


def _table(numbers: dict[str, FloatArray]) -> FloatArray:
    return np.stack([numbers[phi] for phi in PHIS], axis=1)


@pytest.mark.parametrize("literal", [False, True])
def test_iresnet_gives_the_published_numbers_for_every_phi(
    literal: bool, filled_iresnet18: Backbone, portable_crops: Image, portable_reference: dict[str, Any]
) -> None:
    method = Grafiqs(filled_iresnet18, literal=literal)
    wanted = np.asarray(portable_reference["grafiqs_iresnet18_filled"])
    np.testing.assert_allclose(_table(method.raw_all(portable_crops)), wanted, rtol=1e-4)
    loss = np.asarray(portable_reference["grafiqs_iresnet18_filled_bn_loss"])
    np.testing.assert_allclose(method.bn_loss(portable_crops), loss, rtol=1e-4)


@pytest.mark.parametrize("literal", [False, True])
def test_facexzoo_gives_the_published_numbers_with_and_without_the_pixel_layer(
    literal: bool, facexzoo: Backbone, portable_crops: Image, portable_reference: dict[str, Any]
) -> None:
    method = Grafiqs(facexzoo, literal=literal)
    name = "grafiqs_facexzoo_mobilefacenet" + ("" if literal else "_spatial")
    np.testing.assert_allclose(_table(method.raw_all(portable_crops)), np.asarray(portable_reference[name]), rtol=1e-4)
    np.testing.assert_allclose(
        method.bn_loss(portable_crops), np.asarray(portable_reference[f"{name}_bn_loss"]), rtol=1e-4
    )


def test_facexzoo_gives_the_published_numbers_on_photographs(facexzoo: Backbone, shared_data: Path) -> None:
    with np.load(shared_data / "reference" / "reference.npz") as reference:
        crops = reference["images_rgb_uint8"]
        wanted = reference["grafiqs_facexzoo_mobilefacenet_spatial"]
        literally = reference["grafiqs_facexzoo_mobilefacenet"]
    np.testing.assert_allclose(_table(Grafiqs(facexzoo).raw_all(crops)), wanted, rtol=1e-4)
    np.testing.assert_allclose(_table(Grafiqs(facexzoo, literal=True).raw_all(crops)), literally, rtol=1e-4)


@pytest.mark.parametrize("phi", PHIS)
def test_one_phi_alone_is_that_phi_of_all(phi: str, tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = Grafiqs(tiny_backbone, phi=phi)
    alone = method.raw(noise_crops)
    np.testing.assert_allclose(alone, method.raw_all(noise_crops)[phi], rtol=1e-5)
    np.testing.assert_allclose(alone, Grafiqs(tiny_backbone).raw_all(noise_crops)[phi], rtol=1e-5)
    assert (alone > 0).all()


@pytest.mark.parametrize("literal", [False, True])
def test_numbers_are_those_of_plain_autograd(literal: bool, tiny_backbone: Backbone, noise_crops: Image) -> None:
    for index in range(2):
        crop = noise_crops[index : index + 1]
        wanted, loss = _plainly(tiny_backbone, crop, literal=literal)
        method = Grafiqs(tiny_backbone, literal=literal)
        np.testing.assert_allclose(_table(method.raw_all(crop))[0], wanted, rtol=1e-4)
        np.testing.assert_allclose(method.bn_loss(crop)[0], loss, rtol=1e-5)


def _plainly(backbone: Backbone, crop: Image, *, literal: bool) -> tuple[list[float], float]:
    """The definition, written down once more with nothing but autograd."""
    seen: list[tuple[nn.Module, Tensor]] = []
    outputs: dict[str, Tensor] = {}
    handles = [norm.register_forward_pre_hook(lambda m, a: seen.append((m, a[0]))) for norm in backbone.norm_layers()]
    for name, stage in backbone.stages().items():
        handles.append(stage.register_forward_hook(lambda _m, _a, out, name=name: outputs.update({name: out})))
    outputs["image"] = backbone.inputs(torch.from_numpy(crop)).requires_grad_()
    backbone.embed(outputs["image"])
    for handle in handles:
        handle.remove()
    counted = [(m, x) for m, x in seen if literal or x.shape[-1] > 1]
    terms = []
    for norm, x in counted:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        var, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        terms.append(((mean - norm.running_mean) ** 2).mean() + ((var - norm.running_var) ** 2).mean())
    loss = torch.stack(terms).sum() / len(counted)
    slopes = torch.autograd.grad(loss, [outputs[phi] for phi in PHIS])
    return [slope.abs().sum().item() for slope in slopes], loss.item()


def test_score_is_the_negative_of_raw(tiny_backbone: Backbone, noise_crops: Image) -> None:
    method = Grafiqs(tiny_backbone)
    np.testing.assert_array_equal(method.score(noise_crops), -method.raw(noise_crops))


def test_literal_rule_counts_the_layer_whose_input_is_one_pixel(tiny_backbone: Backbone, noise_crops: Image) -> None:
    literal, spatial = Grafiqs(tiny_backbone, literal=True), Grafiqs(tiny_backbone)
    assert not np.allclose(literal.raw(noise_crops), spatial.raw(noise_crops), rtol=0.01)
    assert literal.calibration_key != spatial.calibration_key


def test_scoring_leaves_no_hook_and_no_gradient(tiny_backbone: Backbone, noise_crops: Image) -> None:
    Grafiqs(tiny_backbone, phi="all").raw_all(noise_crops)
    for module in tiny_backbone.net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(p.grad is None and not p.requires_grad for p in tiny_backbone.net.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_scores_where_the_caller_has_switched_gradients_off(
    mode: Any, tiny_backbone: Backbone, noise_crops: Image
) -> None:
    method = Grafiqs(tiny_backbone)
    wanted = method.raw(noise_crops)
    with mode():
        np.testing.assert_array_equal(method.raw(noise_crops), wanted)
        np.testing.assert_array_equal(method.raw(torch.from_numpy(noise_crops).clone()), wanted)


def test_unknown_phi_names_the_nearest(tiny_backbone: Backbone) -> None:
    with pytest.raises(QualityError, match="unknown phi 'blok2'; did you mean 'block2'"):
        Grafiqs(tiny_backbone, phi="blok2")


def test_all_has_no_single_number(tiny_backbone: Backbone, noise_crops: Image) -> None:
    with pytest.raises(QualityError, match="raw_all"):
        Grafiqs(tiny_backbone, phi="all").raw(noise_crops)


def test_network_without_stages_still_has_its_image() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = Backbone("mine", net, InputContract())
    crops = np.full((2, 112, 112, 3), 90, dtype=np.uint8)
    method = Grafiqs(backbone, phi="image")
    assert method.raw(crops).shape == (2,)
    with pytest.raises(QualityError, match="has no block1, block2, block3, block4"):
        method.raw_all(crops)
    with pytest.raises(QualityError, match="has no stages"):
        Grafiqs(backbone, phi="block2")


def test_phi_that_no_layer_statistics_follow_is_refused(noise_crops: Image) -> None:
    class Short(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))

        def stages(self) -> dict[str, nn.Module]:
            return {"block1": self.first}

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.first(x).mean(dim=(2, 3))
            return result

    backbone = Backbone("short", Short(), InputContract())
    assert (Grafiqs(backbone, phi="image").raw(noise_crops) > 0).all()
    with pytest.raises(QualityError, match="comes after block1; choose an earlier phi"):
        Grafiqs(backbone, phi="block1").raw(noise_crops)
    with pytest.raises(QualityError, match="has no block2"):
        Grafiqs(backbone, phi="block2")


def test_another_phi_is_not_calibrated_by_this_one(tiny_backbone: Backbone, noise_crops: Image) -> None:
    with pytest.raises(NotCalibratedError, match=r"no map to 0..100 for grafiqs\(literal=False, phi=block3\) on tiny@"):
        Grafiqs(tiny_backbone, phi="block3").quality(noise_crops)
