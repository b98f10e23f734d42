from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gate.errors import QualityError, WeightsError
from gate.nets.heads import Crfiqa, DiffiqaR, Ediffiqa
from gate.nets.iresnet import iresnet18, iresnet100
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality import load_method
from gate.quality.contract import InputContract
from gate.quality.regressor import Regressor, regressor_network
from gate.quality.regressors import load_regressor
from gate.types import Image
from gate.weights.zoo import Zoo

Fill = Callable[[object], dict[str, torch.Tensor]]


@pytest.mark.parametrize("name", ["ediffiqa-t", "ediffiqa-s"])
@pytest.mark.parametrize("wrapping", ["", "module."])
def test_published_layout_loads_and_scores_as_its_network(
    name: str, wrapping: str, tmp_path: Path, filled_state_dict: Fill, portable_crops: Image
) -> None:
    net = Ediffiqa(mobilefacenet() if name == "ediffiqa-t" else iresnet18())
    net.load_state_dict(filled_state_dict(net.state_dict()))
    net.eval()
    torch.save({wrapping + key: tensor for key, tensor in net.state_dict().items()}, tmp_path / "r.pth")
    method = load_regressor(tmp_path / "r.pth", name=name)
    assert method.model.startswith(f"{name}@")
    inputs = InputContract().normalise(torch.from_numpy(portable_crops))
    with torch.inference_mode():
        wanted = net(inputs).numpy()
    np.testing.assert_allclose(method.raw(portable_crops), wanted, rtol=1e-4)
    np.testing.assert_array_equal(method.score(portable_crops), method.raw(portable_crops))


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("diffiqa-r", DiffiqaR, {"base.layer3.29.conv2.weight", "base.fc.bias", "linear.weight"}),
        ("ediffiqa-l", Ediffiqa, {"base_model.layer3.29.conv2.weight", "mlp.l1.weight", "mlp.l2.bias"}),
        ("ediffiqa-m", Ediffiqa, {"base_model.layer3.13.conv2.weight", "mlp.l1.bias"}),
        ("crfiqa-l", Crfiqa, {"layer3.29.conv2.weight", "features.running_var", "qs.weight"}),
        ("crfiqa-s", Crfiqa, {"layer3.13.conv2.weight", "qs.bias"}),
    ],
)
def test_large_regressors_are_the_published_networks(name: str, kind: type[nn.Module], names: set[str]) -> None:
    with torch.device("meta"):
        net = regressor_network(name)
    assert isinstance(net, kind)
    assert names <= set(net.state_dict())
    deeper = "layer3.14." if name.endswith(("-m", "-s")) else "layer3.30."
    assert not any(deeper in key for key in net.state_dict())


def test_folding_keeps_the_numbers_of_every_layout(filled_state_dict: Fill, portable_crops: Image) -> None:
    inputs = InputContract().normalise(torch.from_numpy(portable_crops))
    for build in (lambda: Crfiqa((1, 1, 1, 1)), lambda: DiffiqaR(iresnet18())):
        net: nn.Module = build()
        net.load_state_dict(filled_state_dict(net.state_dict()))
        with torch.inference_mode():
            wanted = net.eval()(inputs).numpy()
        method = Regressor(net, InputContract(), name="r", model="r@0")
        np.testing.assert_allclose(method.raw(portable_crops), wanted, rtol=1e-4, atol=1e-5)


def test_batches_give_what_single_crops_give(filled_state_dict: Fill, noise_crops: Image) -> None:
    net = Ediffiqa(mobilefacenet())
    net.load_state_dict(filled_state_dict(net.state_dict()))
    method = Regressor(net, InputContract(), name="r", model="r@0")
    alone = np.concatenate([method.raw(noise_crops[i : i + 1]) for i in range(len(noise_crops))])
    np.testing.assert_allclose(method.raw(noise_crops), alone, rtol=1e-4)
    blind = np.stack([np.full((112, 112, 3), value, dtype=np.uint8) for value in (0, 255)])
    assert np.isfinite(method.raw(blind)).all()


def test_other_weights_are_refused_in_one_message_that_lists_the_names(tmp_path: Path) -> None:
    state = Ediffiqa(mobilefacenet()).state_dict()
    state["mlp.l1.weight"] = torch.zeros(512, 512)
    del state["mlp.l2.bias"]
    state["mlp.l3.bias"] = torch.zeros(1)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(WeightsError) as caught:
        load_regressor(tmp_path / "odd.pt", name="ediffiqa-t")
    for part in ("mlp.l2.bias", "mlp.l3.bias", "mlp.l1.weight is [512, 512], not [1024, 512]"):
        assert part in str(caught.value)


def test_zoo_slot_with_the_users_file_loads_by_name(tmp_path: Path) -> None:
    file = tmp_path / "s.pth"
    torch.save(Ediffiqa(iresnet18()).state_dict(), file)
    method = load_method("ediffiqa-s", zoo=Zoo(tmp_path, local_paths={"ediffiqa-s": file}))
    assert method.name == "ediffiqa-s"
    assert method.model.startswith("ediffiqa-s@")


def test_weights_of_another_depth_are_told_apart(tmp_path: Path) -> None:
    with torch.device("meta"):
        assert len(iresnet100().layer3) == 30
    torch.save(Ediffiqa(iresnet18()).state_dict(), tmp_path / "small.pt")
    with pytest.raises(WeightsError, match=r"240 missing: base_model\.layer1\.2"):
        load_regressor(tmp_path / "small.pt", name="ediffiqa-m")


def test_unknown_regressor_names_the_nearest() -> None:
    with pytest.raises(QualityError, match="did you mean 'ediffiqa-t'"):
        regressor_network("edifiqa-t")
