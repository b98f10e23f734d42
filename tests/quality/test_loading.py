from pathlib import Path

import pytest
import torch
from torch import nn

from gate.errors import QualityError, WeightsError
from gate.nets.iresnet import iresnet18
from gate.nets.mobilefacenet import mobilefacenet
from gate.quality.contract import InputContract
from gate.quality.loading import fill, load_backbone
from gate.weights.zoo import Zoo, locate

MODULE = """
from torch import nn
from gate.quality.contract import InputContract

def pair():
    return nn.Flatten(), InputContract("bgr", 0.0, 255.0)

def carries():
    net = nn.Flatten()
    net.input_contract = InputContract("rgb", 1.0, 2.0)
    net.dropout_p = 0.25
    return net

def bare():
    return nn.Flatten()
"""


@pytest.fixture(scope="module")
def mobilefacenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "net.pt"
    torch.save(mobilefacenet().state_dict(), path)
    return path


def test_architecture_and_path_make_a_backbone(mobilefacenet_file: Path) -> None:
    backbone = load_backbone(f"mobilefacenet:{mobilefacenet_file}")
    assert backbone.contract == InputContract("rgb", 127.5, 127.5)
    assert backbone.model.startswith("mobilefacenet@")
    given = torch.load(mobilefacenet_file, weights_only=True)
    assert torch.equal(backbone.net.state_dict()["conv_4.model.5.project.conv.weight"],
                       given["conv_4.model.5.project.conv.weight"])  # fmt: skip


def test_contract_can_be_named_and_changed_in_the_line(mobilefacenet_file: Path) -> None:
    named = load_backbone(f"mobilefacenet:{mobilefacenet_file}?contract=facexzoo")
    assert named.contract == InputContract("bgr", 127.5, 128.0)
    changed = load_backbone(
        f"mobilefacenet:{mobilefacenet_file}?contract=magface&colour=rgb&mean=1&scale=2&dropout=0.2"
    )
    assert changed.contract == InputContract("rgb", 1.0, 2.0)
    assert changed.dropout_p == 0.2


def test_zoo_entry_brings_its_contract_to_the_users_file(mobilefacenet_file: Path, tmp_path: Path) -> None:
    backbone = load_backbone("facexzoo-mobilefacenet", weights=mobilefacenet_file, zoo=Zoo(tmp_path))
    assert backbone.contract == InputContract("bgr", 127.5, 128.0)
    assert backbone.model.startswith("facexzoo-mobilefacenet@")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("iresnet110:/x.pt", r"unknown backbone 'iresnet110:/x.pt'"),
        ("facexzo-mobilefacenet", "did you mean 'facexzoo-mobilefacenet'"),
        ("iresnet50", "names no state dict"),
        ("iresnet50:/x.pt?contrast=magface", "unknown option 'contrast'; did you mean 'contract'"),
        ("iresnet50:/x.pt?contract=magfase", "did you mean 'magface'"),
        ("iresnet50:/x.pt?colour=grey", "rgb or bgr, got 'grey'"),
        ("iresnet50:/x.pt?scale=0", "scale must not be 0"),
        ("iresnet50:/x.pt?mean=half", "mean must be a number, got 'half'"),
        ("no_such_module:build", "cannot be imported"),
        ("gate.nets.iresnet:iresnet19", "cannot be imported"),
    ],
)
def test_a_line_that_cannot_be_used_is_explained(spec: str, message: str) -> None:
    with pytest.raises(QualityError, match=message):
        load_backbone(spec)


def test_missing_file_and_other_network_are_weights_errors(mobilefacenet_file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        load_backbone(f"iresnet18:{tmp_path / 'absent.pt'}")
    with pytest.raises(WeightsError, match=r"missing.*unexpected"):
        load_backbone(f"iresnet18:{mobilefacenet_file}")


def test_users_own_function_brings_network_and_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_door_networks.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    pair = load_backbone("my_door_networks:pair")
    assert pair.contract == InputContract("bgr", 0.0, 255.0)
    assert isinstance(pair.net, nn.Flatten)
    carries = load_backbone("my_door_networks:carries")
    assert carries.contract == InputContract("rgb", 1.0, 2.0)
    assert carries.dropout_p == 0.25
    with pytest.raises(QualityError, match=r"must return \(nn.Module, InputContract\).*Flatten and NoneType"):
        load_backbone("my_door_networks:bare")


@pytest.mark.parametrize("prefix", ["", "module.", "features.module."])
def test_wrapped_checkpoints_fill_the_network(prefix: str, tmp_path: Path) -> None:
    source, target = iresnet18(), iresnet18()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    if prefix == "features.module.":
        state["fc.weight"] = torch.zeros(10, 512)
    torch.save({"state_dict": state}, tmp_path / "wrapped.pth")
    fill(target, tmp_path / "wrapped.pth")
    assert torch.equal(target.fc.weight, source.fc.weight)
    assert torch.equal(target.layer4[1].bn3.running_var, source.layer4[1].bn3.running_var)  # type: ignore[union-attr,arg-type]


def test_weights_are_a_zoo_name_or_a_path(tmp_path: Path) -> None:
    assert locate(tmp_path / "a.pt", Zoo(tmp_path)) == (tmp_path / "a.pt", None)
    assert locate("mine/a.pt", Zoo(tmp_path)) == (Path("mine/a.pt"), None)
    file = tmp_path / "l.pt"
    file.write_bytes(b"x")
    assert locate("ediffiqa-l", Zoo(tmp_path, local_paths={"ediffiqa-l": file})) == (file, "ediffiqa-l")
    with pytest.raises(WeightsError, match="ediffiqa-l"):
        locate("ediffiqa-l", Zoo(tmp_path))
