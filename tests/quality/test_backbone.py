from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from gate.errors import QualityError
from gate.quality.backbone import Backbone
from gate.quality.contract import InputContract
from gate.types import Image


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_contract_orders_and_scales_colours(colour: Any) -> None:
    contract = InputContract(colour, mean=127.5, scale=128.0)
    crop = torch.zeros(1, 112, 112, 3, dtype=torch.uint8)
    crop[..., 0], crop[..., 1], crop[..., 2] = 255, 128, 0
    seen = contract.normalise(crop)[0, :, 0, 0]
    red_green_blue = torch.tensor([127.5, 0.5, -127.5]) / 128
    torch.testing.assert_close(seen, red_green_blue if colour == "rgb" else red_green_blue.flip(0))


@pytest.mark.parametrize("contract", [InputContract(), InputContract("bgr", 127.5, 128), InputContract("bgr", 0, 255)])
def test_unit_and_signed_pictures_reach_the_network_as_bytes_do(contract: InputContract, noise_crops: Image) -> None:
    crops = torch.from_numpy(noise_crops)
    wanted = contract.normalise(crops)
    unit = crops.permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(contract.from_unit(unit), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(contract.from_signed(unit * 2 - 1), wanted, rtol=1e-5, atol=1e-5)


def test_gradient_flows_back_to_the_unit_picture() -> None:
    unit = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(InputContract("bgr", 0, 51).from_unit(unit).sum(), unit)
    torch.testing.assert_close(slope, torch.full_like(slope, 5.0))


def test_contract_resizes_to_the_side_of_the_network() -> None:
    crops = torch.full((2, 112, 112, 3), 200, dtype=torch.uint8)
    small = InputContract("rgb", 128, 128, side_px=96).normalise(crops)
    assert small.shape == (2, 3, 96, 96)
    torch.testing.assert_close(small, torch.full_like(small, 72 / 128))


def test_published_embeddings_come_out(
    filled_iresnet18: Backbone, portable_crops: Image, portable_reference: dict[str, Any]
) -> None:
    wanted = np.asarray(portable_reference["embedding_iresnet18_filled_first16"])
    np.testing.assert_allclose(_embed(filled_iresnet18, portable_crops)[:, :16], wanted, rtol=1e-4, atol=1e-6)


def test_published_facexzoo_embeddings_come_out(
    facexzoo: Backbone, portable_crops: Image, portable_reference: dict[str, Any]
) -> None:
    wanted = np.asarray(portable_reference["embedding_facexzoo_mobilefacenet"])
    np.testing.assert_allclose(_embed(facexzoo, portable_crops), wanted, rtol=1e-4, atol=1e-6)


def test_features_then_project_is_embed(filled_iresnet18: Backbone, tiny_backbone: Backbone) -> None:
    crops = torch.arange(112 * 112 * 3, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(1, 112, 112, 3)
    for backbone in (filled_iresnet18, tiny_backbone):
        inputs = backbone.inputs(crops)
        torch.testing.assert_close(backbone.project(backbone.features(inputs)), backbone.embed(inputs))


def test_folded_backbone_embeds_the_same_without_its_norms(filled_iresnet18: Backbone, portable_crops: Image) -> None:
    folded = filled_iresnet18.folded
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.net.modules()) == 9
    assert folded.model == filled_iresnet18.model
    np.testing.assert_allclose(
        _embed(folded, portable_crops), _embed(filled_iresnet18, portable_crops), rtol=1e-4, atol=1e-5
    )


def test_backbone_freezes_and_quiets_its_network() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 112 * 112, 4))
    backbone = Backbone("mine", net.train(), InputContract())
    assert not any(module.training for module in backbone.net.modules())
    assert not any(parameter.requires_grad for parameter in backbone.net.parameters())


def test_model_names_the_weights_and_changes_with_them() -> None:
    last = nn.Linear(3 * 112 * 112, 4)
    net = nn.Sequential(nn.Flatten(), last)
    before = Backbone("mine", net, InputContract()).model
    assert Backbone("mine", net, InputContract()).model == before
    assert before.startswith("mine@")
    assert len(before) == len("mine@") + 8
    last.bias.data[0] += 1
    assert Backbone("mine", net, InputContract()).model != before


def test_footprint_counts_what_a_pass_writes() -> None:
    net = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 56 * 56, 4))
    footprint = Backbone("mine", net, InputContract()).footprint
    assert footprint.largest_bytes == 3 * 56 * 56 * 4
    assert footprint.total_bytes == 2 * 3 * 56 * 56 * 4 + 4 * 4
    assert footprint.embedding_size == 4
    assert not net[0]._forward_hooks


def test_network_of_another_input_is_refused_in_words() -> None:
    with pytest.raises(QualityError, match=r"'mine' does not take \(1, 3, 112, 112\)"):
        _ = Backbone("mine", nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), InputContract()).footprint
    with pytest.raises(QualityError, match=r"must return \(N, D\) embeddings, got Tensor \(1, 3, 112, 112\)"):
        _ = Backbone("mine", nn.Identity(), InputContract()).footprint


@pytest.mark.parametrize("part", ["features", "project", "stages"])
def test_missing_part_of_a_network_is_named(part: str) -> None:
    backbone = Backbone("mine", nn.Flatten(), InputContract())
    arguments: tuple[Tensor, ...] = () if part == "stages" else (torch.zeros(1, 3, 4, 4),)
    with pytest.raises(QualityError, match=r"'mine' .*has no .*which this method needs"):
        getattr(backbone, part)(*arguments)


def test_network_without_batch_norm_is_refused_for_statistics() -> None:
    with pytest.raises(QualityError, match="no BatchNorm2d"):
        Backbone("mine", nn.Flatten(), InputContract()).norm_layers()


def _embed(backbone: Backbone, crops: Image) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return backbone.embed(backbone.inputs(torch.from_numpy(crops))).numpy()
