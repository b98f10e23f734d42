"""Pickled torch files: their tensors come out, nothing of them runs, damage is an error of ours."""

import builtins
import collections
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gate.errors import WeightsError
from gate.weights.checkpoint import load_state_dict
from gate.weights.picklevm import Name, PickleError, StandIn, read_pickle
from gate.weights.unpickle import read_pickled

MAGIC = 0x1950A86A20F9469CFC6C
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Block(nn.Module):
    """A module class that the reader never imports."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, bias=False, device="meta").to_empty(device="cpu")
        self.bn = nn.BatchNorm2d(3)
        self.nothing = None
        self.register_buffer("passing", torch.zeros(4), persistent=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(54.0).reshape(3, 2, 3, 3))


def legacy_bytes(*, root: bytes | None = None, keys: bytes | None = None, payload: bytes = b"") -> bytes:
    parts = [pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, MACHINE)]
    parts += [root or pickle.dumps({}, protocol=2), keys or pickle.dumps([], protocol=2)]
    return b"".join(parts) + payload


def zip_bytes(root: bytes, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", root)
        for name, data in members.items():
            archive.writestr(f"archive/{name.replace('__', '/')}", data)
    return buffer.getvalue()


def saved(module: nn.Module, path: Path, *, as_zip: bool, protocol: int = 2) -> Path:
    torch.save(module, path, _use_new_zipfile_serialization=as_zip, pickle_protocol=protocol)
    return path


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_whole_module_becomes_its_state_dict(tmp_path: Path, as_zip: bool, protocol: int) -> None:
    module = nn.Sequential(collections.OrderedDict(first=Block(), second=nn.PReLU(3)))
    expected = module.state_dict()
    found = read_pickled(saved(module, tmp_path / "module.pkl", as_zip=as_zip, protocol=protocol))
    assert list(found) == list(expected)
    assert "first.passing" not in found
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("as_zip", [False, True])
def test_views_strides_and_shared_storages_come_out_as_they_were(tmp_path: Path, as_zip: bool) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tree = {"whole": base, "row": base[1], "turned": base.T, "half": base.half(), "none": torch.empty(0, 3)}
    torch.save(
        {"state": tree, "epoch": 3, "options": [base]}, tmp_path / "t.pkl", _use_new_zipfile_serialization=as_zip
    )
    found = read_pickled(tmp_path / "t.pkl")
    assert set(found) == {"state"}
    assert set(found["state"]) == set(tree)
    for name, tensor in tree.items():
        assert torch.equal(found["state"][name], tensor), name


def test_published_mobilefacenet_gives_the_same_bits_and_names_as_its_state_dict(shared_data: Path) -> None:
    folder = shared_data / "weights"
    found = load_state_dict(folder / "facexzoo_mobilefacenet_1.0.pkl")
    expected = torch.load(folder / "facexzoo_mobilefacenet_1.0_state_dict.pt", weights_only=True)
    assert list(found) == list(expected)
    assert len(found) == 333
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


class Runs:
    """Pickles as a call of the caller's choice."""

    def __init__(self, function: Callable[..., Any], *args: object, state: object = None) -> None:
        self._reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self._reduced


def payloads(target: Path) -> dict[str, bytes]:
    code = f"open({str(target)!r}, 'w').close()"
    shell = f"touch {target}"
    evil: dict[str, object] = {
        "os.system": Runs(os.system, shell),
        "builtins.eval": Runs(builtins.eval, code),
        "builtins.exec in a module": {"model": Runs(builtins.exec, code)},
        "in the arguments of an allowed call": Runs(collections.OrderedDict, [("k", Runs(os.system, shell))]),
        "in the state of an object": Runs(Block, state={"_modules": {"a": Runs(os.system, shell)}}),
        "through a getattr chain": Runs(getattr, Runs(__import__, "os"), "system"),
        "through a nested pickle": Runs(pickle.loads, pickle.dumps(Runs(os.system, shell), protocol=2)),
        "through map": Runs(list, Runs(map, os.system, [shell])),
    }
    raw = {name: pickle.dumps(value, protocol=2) for name, value in evil.items()}
    name = str(target).encode()
    raw["opcode INST"] = b"(S'touch " + name + b"'\nios\nsystem\n."
    raw["opcode OBJ"] = b"(cos\nsystem\nS'touch " + name + b"'\no."
    raw["BUILD that plants __setstate__"] = (
        b"ctorch._utils\n_rebuild_tensor_v2\n}S'__setstate__'\ncos\nsystem\nsbS'touch " + name + b"'\nb."
    )
    raw["BUILD on an ordered dictionary"] = (
        b"ccollections\nOrderedDict\n)R}S'__setstate__'\ncos\nsystem\nsbS'touch " + name + b"'\nb."
    )
    raw["persistent id"] = b"(S'module'\ncos\nsystem\nS'f'\nS's'\ntQ(S'touch " + name + b"'\ntR."
    raw["STACK_GLOBAL"] = (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([6 + len(name)]) + b"touch " + name + b"\x85R."
    )
    return raw


@pytest.mark.parametrize("attack", list(payloads(Path("x"))))
@pytest.mark.parametrize("container", ["legacy.pkl", "zip.pkl", "legacy.pt", "zip.pt"])
def test_hostile_pickles_run_nothing_and_are_refused(tmp_path: Path, attack: str, container: str) -> None:
    target = tmp_path / "it-ran"
    root = payloads(target)[attack]
    path = tmp_path / container
    path.write_bytes(legacy_bytes(root=root) if container.startswith("legacy") else zip_bytes(root))
    with pytest.raises(WeightsError, match=str(path)):
        load_state_dict(path)
    assert not target.exists()


def test_the_attacks_of_these_tests_would_work_on_pickle_itself(tmp_path: Path) -> None:
    target = tmp_path / "it-ran"
    pickle.loads(payloads(target)["os.system"])  # noqa: S301  # proves that the payload is live
    assert target.exists()


@pytest.mark.parametrize(
    "root",
    [
        pytest.param(b"]" * 100_000 + b"a" * 99_999 + b".", id="lists in lists"),
        pytest.param(b")" + b"\x85" * 100_000 + b".", id="tuples in tuples"),
        pytest.param(b"}" + b")" + b"\x85" * 100_000 + b"K\x01s.", id="a deep tuple as a key"),
        pytest.param(
            b"cx\ny\n" * 100_000 + b")R" + b"\x85R" * 99_999 + b".",
            id="calls in calls",
        ),
        pytest.param(b"}q\x00X\x01\x00\x00\x00ah\x00s.", id="a dictionary in itself"),
        pytest.param(
            b"}" + b"q\x00}X\x01\x00\x00\x00ah\x00sX\x01\x00\x00\x00bh\x00s" * 80 + b".", id="doubling 80 times"
        ),
        pytest.param(b"K\x01r\xff\xff\xff\xffN0.", id="a memo index of four billion"),
        pytest.param(b"\x8e" + struct.pack("<Q", 1 << 62) + b"x.", id="bytes longer than the file"),
        pytest.param(b"\x8b\xff\xff\xff\x7f1.", id="an integer longer than the file"),
        pytest.param(b"(((((.", id="marks only"),
        pytest.param(b"0000.", id="an empty stack"),
        pytest.param(b"\x82\x01.", id="an extension code"),
        pytest.param(b"\x97.", id="an out-of-band buffer"),
        pytest.param(b"h\x07.", id="a memo never written"),
    ],
)
def test_pickles_made_to_exhaust_the_reader_are_refused(tmp_path: Path, root: bytes) -> None:
    path = tmp_path / "deep.pkl"
    path.write_bytes(legacy_bytes(root=root))
    with pytest.raises(WeightsError, match="deep"):
        load_state_dict(path)


def storage(items: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    return b"(S'storage'\nctorch\n%b\nS'%b'\nS'cpu'\nI%d\nNtQ" % (kind.encode(), key.encode(), items)


def integers(text: str) -> str:
    return "".join(f"I{number}\n" for number in text.split())


def tensor(items: int, shape: str, stride: str, offset: int = 0) -> bytes:
    args = f"I{offset}\n({integers(shape)}t({integers(stride)}t"
    return b"}S'a'\nctorch._utils\n_rebuild_tensor_v2\n(" + storage(items) + args.encode() + b"I00\nNtRs."


@pytest.mark.parametrize(
    ("items", "shape", "stride", "offset"),
    [
        (4, "4", "1", 1),
        (4, "2 3", "3 1", 0),
        (4, "1000000000 1000000000", "0 0", 0),
        (4, "4", "-1", 3),
        (4, "2", "1 1", 0),
        (-4, "1", "1", 0),
    ],
)
def test_tensors_that_reach_outside_their_storage_are_refused(
    tmp_path: Path, items: int, shape: str, stride: str, offset: int
) -> None:
    path = tmp_path / "reach.pkl"
    payload = struct.pack("<q", items) + b"\x00" * 16
    path.write_bytes(
        legacy_bytes(root=tensor(items, shape, stride, offset), keys=pickle.dumps(["0"], 2), payload=payload)
    )
    with pytest.raises(WeightsError, match="reach"):
        read_pickled(path)


def test_a_well_made_file_of_the_same_parts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.pkl"
    payload = struct.pack("<q4f", 4, 1.0, 2.0, 3.0, 4.0)
    path.write_bytes(legacy_bytes(root=tensor(4, "2 2", "1 2"), keys=pickle.dumps(["0"], 2), payload=payload))
    assert read_pickled(path)["a"].tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_storages_announced_longer_than_the_file_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "long.pkl"
    items = 1 << 40
    payload = struct.pack("<q", items) + b"\x00" * 16
    path.write_bytes(legacy_bytes(root=tensor(items, "1", "1"), keys=pickle.dumps(["0"], 2), payload=payload))
    with pytest.raises(WeightsError, match="cut off"):
        read_pickled(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, bytes]:
    folder = tmp_path_factory.mktemp("small")
    return {z: saved(Block(), folder / f"{z}.pkl", as_zip=z).read_bytes() for z in (False, True)}


@pytest.mark.parametrize("as_zip", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_files_are_refused(tmp_path: Path, small: dict[bool, bytes], as_zip: bool, data: st.DataObject) -> None:
    whole = small[as_zip]
    path = tmp_path / "cut.pkl"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(WeightsError, match=r"cut\.pkl"):
        read_pickled(path)


@pytest.mark.parametrize("as_zip", [False, True])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_give_tensors_or_an_error_of_ours(
    tmp_path: Path, small: dict[bool, bytes], as_zip: bool, data: st.DataObject
) -> None:
    flipped = bytearray(small[as_zip])
    for bit in data.draw(st.lists(st.integers(0, 8 * len(flipped) - 1), min_size=1, max_size=3)):
        flipped[bit // 8] ^= 1 << (bit % 8)
    path = tmp_path / "flipped.pkl"
    path.write_bytes(bytes(flipped))
    try:
        found = read_pickled(path)
    except WeightsError:
        return
    assert all(isinstance(value, torch.Tensor | dict) for value in found.values())


@given(st.binary(max_size=200))
def test_random_bytes_never_break_the_pickle_reader(data: bytes) -> None:
    try:
        read_pickle(io.BytesIO(data))
    except PickleError:
        return


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_as_pickle_reads_them(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    read = read_pickle(io.BytesIO(data))
    if protocol >= 3:  # before, bytes are written as a call of _codecs.encode
        assert read == value


def test_objects_become_notes_of_what_they_would_have_been() -> None:
    read = read_pickle(io.BytesIO(pickle.dumps(Runs(os.getcwd, state={"a": 1}), protocol=2)))
    assert isinstance(read, StandIn)
    assert read.made_by == Name(os.getcwd.__module__, "getcwd")
    assert read.state == {"a": 1}


def test_compressed_storages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor(1 << 20, "1", "1"))
        archive.writestr("archive/data/0", b"\x00" * (4 << 20))
    with pytest.raises(WeightsError, match="compressed"):
        read_pickled(path)
