"""Checkpoints of every published form load; what does not fit is said once and completely."""

import collections
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gate.errors import WeightsError
from gate.weights.checkpoint import fit, load_state_dict, model_id
from gate.weights.convert import safetensors_bytes, write_safetensors

STATE: dict[str, Tensor] = {
    "conv.weight": torch.arange(12.0).reshape(3, 4),
    "bn.running_mean": torch.tensor([1.0, 2.0, 3.0]),
    "bn.num_batches_tracked": torch.tensor(7),
}


def same(found: dict[str, Tensor], expected: dict[str, Tensor] = STATE) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in expected.items()
    )


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pkl"])
@pytest.mark.parametrize("section", [None, "state_dict", "model", "net", "model_state_dict"])
def test_state_dicts_load_bare_and_from_the_usual_sections(
    tmp_path: Path, suffix: str, section: str | None, as_zip: bool
) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    tree: object = STATE if section is None else {section: STATE, "epoch": 3, "ema": {"x": torch.zeros(1)}}
    torch.save(tree, path, _use_new_zipfile_serialization=as_zip)
    assert same(load_state_dict(path))


def test_a_named_section_is_taken(tmp_path: Path) -> None:
    averaged = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"model": STATE, "ema": averaged}, tmp_path / "c.pt")
    assert same(load_state_dict(tmp_path / "c.pt", section="ema"), averaged)


def test_a_section_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    torch.save({"model": STATE, "ema": STATE, "step": 1}, tmp_path / "c.pt")
    with pytest.raises(WeightsError, match=r"no section 'opt'; its sections: model, ema"):
        load_state_dict(tmp_path / "c.pt", section="opt")


def test_names_of_a_parallel_module_lose_their_prefix_only_if_all_have_it(tmp_path: Path) -> None:
    torch.save({f"module.{name}": tensor for name, tensor in STATE.items()}, tmp_path / "all.pt")
    assert same(load_state_dict(tmp_path / "all.pt"))
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    torch.save(mixed, tmp_path / "some.pt")
    assert load_state_dict(tmp_path / "some.pt").keys() == mixed.keys()


def test_a_whole_module_with_any_suffix_is_read_without_its_class(tmp_path: Path) -> None:
    module = nn.Sequential(collections.OrderedDict(bn=nn.BatchNorm1d(3)))
    for name in ("m.pth", "m.pkl"):
        torch.save(module, tmp_path / name)
        assert same(load_state_dict(tmp_path / name), module.state_dict())


def test_safetensors_load_and_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_safetensors(STATE, tmp_path / "ours.safetensors")
    assert same(load_state_dict(tmp_path / "ours.safetensors"))
    assert same(load_file(tmp_path / "ours.safetensors"))
    turned = {name: STATE[name] for name in reversed(STATE)}
    assert safetensors_bytes(turned) == (tmp_path / "ours.safetensors").read_bytes()


def test_safetensors_of_the_library_load_too(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "theirs.safetensors")
    assert same(load_state_dict(tmp_path / "theirs.safetensors"))


def test_every_dtype_survives_the_conversion(tmp_path: Path) -> None:
    names = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    state = {name: torch.tensor([0, 1, 1]).to(getattr(torch, name)) for name in names}
    state["turned"] = torch.arange(6.0).reshape(2, 3).T
    state["empty"] = torch.empty(0, 2)
    write_safetensors(state, tmp_path / "all.safetensors")
    assert same(load_state_dict(tmp_path / "all.safetensors"), state)


def test_dtypes_without_a_place_in_the_format_are_refused() -> None:
    with pytest.raises(WeightsError, match="complex64"):
        safetensors_bytes({"z": torch.zeros(1, dtype=torch.complex64)})


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt", "cut.pkl"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_cut_files_are_refused_with_path_and_size(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    if name.endswith("safetensors"):
        write_safetensors(STATE, path)
    else:
        torch.save(STATE, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        load_state_dict(path)
    assert f"{int(len(whole) * kept)} bytes" in str(caught.value)
    assert "fetch it again" in str(caught.value)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weight file .*gone\.pt"):
        load_state_dict(tmp_path / "gone.pt")
    (tmp_path / "face.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(WeightsError, match=r"should end in one of .*\.safetensors"):
        load_state_dict(tmp_path / "face.jpg")


@pytest.mark.parametrize("content", [{"epoch": 3}, {"lists": {"a": 1}}, [torch.zeros(2)], torch.zeros(2)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(WeightsError, match=r"c\.pt"):
        load_state_dict(tmp_path / "c.pt")


def network() -> nn.Module:
    return nn.Sequential(
        collections.OrderedDict(
            conv=nn.Linear(4, 3, bias=False, device="meta").to_empty(device="cpu"), bn=nn.BatchNorm1d(3)
        )
    )


def full() -> dict[str, Tensor]:
    return {name: torch.ones_like(tensor) for name, tensor in network().state_dict().items()}


def test_weights_that_fit_are_in_the_module_afterwards() -> None:
    module = network()
    fit(full(), module, "here")
    assert same(dict(module.state_dict()), full())


def test_one_message_lists_all_that_does_not_fit() -> None:
    state = full()
    del state["bn.weight"], state["bn.bias"]
    state["head.weight"] = torch.zeros(1)
    state["conv.weight"] = torch.zeros(3, 5)
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        fit(state, module, "net@12345678")
    message = str(caught.value)
    assert "net@12345678" in message
    assert "2 missing: bn.bias, bn.weight" in message
    assert "1 unexpected: head.weight" in message
    assert "1 of another shape: conv.weight is [3, 5], not [3, 4]" in message
    assert same(dict(module.state_dict()), before)


def test_long_lists_are_cut_but_counted() -> None:
    state = full() | {f"extra{i:03}": torch.zeros(1) for i in range(500)}
    with pytest.raises(WeightsError, match=r"500 unexpected: extra000, .* …") as caught:
        fit(state, network(), "here")
    assert len(str(caught.value)) < 300


def test_batch_counters_may_be_missing_and_names_may_be_excused() -> None:
    state = full()
    del state["bn.num_batches_tracked"], state["bn.bias"]
    state["opt.lr"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"bn\.bias"):
        fit(state, network(), "here", allow_unexpected=("opt.*",))
    fit(state, network(), "here", allow_missing=("bn.b*",), allow_unexpected=("opt.*",))


def test_a_model_id_is_the_name_and_eight_digits_of_the_checksum(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    assert model_id("net", tmp_path / "w") == "net@ba7816bf"
    with pytest.raises(WeightsError, match="gone"):
        model_id("net", tmp_path / "gone")
