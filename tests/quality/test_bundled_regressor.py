"""One file that ships: the head is the method `regressor`, the trunk is the backbone `facegate-t`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gate.nets.heads import Ediffiqa
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality import load_backbone, load_method
from gate.quality.contract import CONTRACTS, InputContract
from gate.quality.loading import zoo_contract
from gate.quality.regressor import Regressor
from gate.types import Image
from gate.weights.convert import write_safetensors
from gate.weights.sums import sha256_of
from gate.weights.table import load_table
from gate.weights.zoo import Zoo


@pytest.fixture
def zoo(tmp_path: Path, regressor_state: dict[str, torch.Tensor]) -> Zoo:
    file = tmp_path / "facegate-t.safetensors"
    write_safetensors(regressor_state, file)
    row = replace(load_table()["facegate-t"], sha256=sha256_of(file), bytes=file.stat().st_size)
    return Zoo(tmp_path / "empty", table={row.name: row}, bundled=tmp_path)


@pytest.fixture
def network(regressor_state: dict[str, torch.Tensor]) -> Ediffiqa:
    net = Ediffiqa(mobilefacenet())
    net.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in regressor_state.items()})
    return net.eval()


def inputs_of(crops: Image) -> torch.Tensor:
    return InputContract().normalise(torch.from_numpy(crops))


@torch.inference_mode()
def test_the_method_is_the_network_on_its_own_contract(zoo: Zoo, network: Ediffiqa, noise_crops: Image) -> None:
    method = load_method("regressor", zoo=zoo)
    assert method.name == "regressor"
    assert method.model == f"facegate-t@{sha256_of(zoo.path('facegate-t'))[:8]}"
    wanted = network(inputs_of(noise_crops)).numpy()
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(method.raw(noise_crops), wanted, rtol=1e-4, atol=1e-5)
    assert (np.argsort(method.raw(noise_crops)) == np.argsort(wanted)).all()


def test_the_weights_take_less_than_six_megabytes(zoo: Zoo) -> None:
    method = load_method("regressor", zoo=zoo)
    assert isinstance(method, Regressor)
    assert method.weight_bytes < 6_000_000


@torch.inference_mode()
def test_the_same_file_s_trunk_is_a_backbone(zoo: Zoo, network: Ediffiqa, noise_crops: Image) -> None:
    backbone = load_backbone("facegate-t", zoo=zoo)
    assert backbone.dropout_p == 0.4
    assert backbone.contract == InputContract()
    embeddings = backbone.embed(backbone.inputs(torch.from_numpy(noise_crops)))
    np.testing.assert_allclose(embeddings, network.base_model(inputs_of(noise_crops)), atol=1e-6)


@pytest.mark.parametrize("name", ["grafiqs", "serfiq", "faceqan", "embedding-norm", "mirror-cosine"])
def test_methods_run_on_the_trunk(name: str, zoo: Zoo, noise_crops: Image) -> None:
    method = load_method(name, backbone="facegate-t", zoo=zoo)
    raw = method.raw(noise_crops[:2])
    assert np.isfinite(raw).all()
    assert method.model.startswith("facegate-t@")


def test_weights_of_one_s_own_are_read_the_same_way(zoo: Zoo, noise_crops: Image) -> None:
    shipped, own = load_method("regressor", zoo=zoo), load_method("regressor", weights=zoo.path("facegate-t"))
    np.testing.assert_array_equal(own.raw(noise_crops), shipped.raw(noise_crops))


def test_the_table_and_the_network_agree_on_the_input() -> None:
    assert zoo_contract(Zoo(), "facegate-t") == (CONTRACTS["arcface"], 0.4)
