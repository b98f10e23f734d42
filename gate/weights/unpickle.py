"""Tensors out of pickled torch modules, with nothing of the pickle executed.

FaceX-Zoo publishes whole modules (`torch.save(model)`), which only `torch.load(weights_only=False)` would load: it
imports and calls whatever the file names. Here the pickle is read by `gate.weights.picklevm`, tensors are put together
from the raw storages beside it, and modules become the names of their tensors, as `state_dict()` would give them.
Both of torch's containers are read: the zip of today and the row of pickles written before torch 1.6.
"""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gate.errors import WeightsError
from gate.weights.picklevm import Bag, Name, PickleError, StandIn, read_pickle

if TYPE_CHECKING:
    import torch

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8,
    "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip

# Real checkpoints hold a few thousand tensors a dozen modules deep; a pickle that refers to itself has no end.
_MAX_DEPTH = 64
_MAX_NODES = 200_000

StateTree = dict[str, Any]
"""Names → tensors or further trees of the same kind."""


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    items: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride) or not all(type(n) is int and n >= 0 for n in numbers):
            raise PickleError("a tensor has an impossible shape")
        items = math.prod(self.shape)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if items > self.storage.items or (items and last >= self.storage.items):
            raise PickleError(f"a tensor of shape {list(self.shape)} does not fit its {self.storage.items} numbers")


def _tensor(args: tuple[Any, ...]) -> _Tensor:
    storage, offset, shape, stride = args[:4]
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise PickleError("a tensor is not made of a storage, a shape and strides")
    return _Tensor(storage, offset, shape, stride)


def _mapping(args: tuple[Any, ...]) -> object:
    """An OrderedDict, also in the form of a list of pairs that Python 2 wrote."""
    if not args:
        return {}
    pairs = args[0]
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise PickleError("an OrderedDict is not made of pairs")
    return {key: value for key, value in pairs if isinstance(key, str)}


def _from_type(args: tuple[Any, ...]) -> object:
    made_by, _kind, inner = args[:3]
    return _call(made_by, inner)


def _set(args: tuple[Any, ...]) -> object:
    """A set, which pickles before protocol 4 write as a call."""
    return Bag(list(args[0]) if args and isinstance(args[0], list) else [])


_REBUILD: dict[str, Callable[[tuple[Any, ...]], object]] = {
    "collections.OrderedDict": _mapping,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda args: args[0],
    "torch._utils._rebuild_parameter_with_state": lambda args: args[0],
    "torch._tensor._rebuild_from_type_v2": _from_type,
}


def _call(made_by: object, args: tuple[Any, ...]) -> object:
    """Tensors, parameters and ordered dictionaries become what they are; every other call becomes a note of itself."""
    rebuild = _REBUILD.get(str(made_by)) if isinstance(made_by, Name) else None
    return rebuild(args) if rebuild else StandIn(made_by, args)


class _Objects:
    """The main pickle of a file, and every storage it mentions."""

    def __init__(self, file: BinaryIO) -> None:
        self.storages: dict[str, _Storage] = {}
        self.root = read_pickle(file, _call, self._persistent)

    def _persistent(self, identity: object) -> object:
        if not isinstance(identity, tuple) or not identity:
            raise PickleError("a persistent id is not torch's")
        if identity[0] == "module":  # (tag, class, file, source text)
            return identity[1]
        if identity[0] != "storage" or len(identity) < 5:
            raise PickleError("a persistent id is neither a storage nor a module")
        _tag, kind, key, _location, items, *view = identity
        known = isinstance(kind, Name) and kind.module in {"torch", "torch.storage"}
        dtype = _STORAGES.get(kind.name) if known else None
        if dtype is None:
            raise PickleError(f"storages of type {kind if isinstance(kind, Name) else '?'} are not read")
        if not isinstance(key, str) or type(items) is not int or items < 0 or any(part is not None for part in view):
            raise PickleError("a storage is described in a way no torch since 0.4 writes")
        storage = _Storage(key, dtype, items)
        if self.storages.setdefault(key, storage) != storage:
            raise PickleError(f"storage {key!r} is described in two ways")
        return storage


class _Legacy:
    """The row of pickles before torch 1.6: magic, protocol, machine, objects, storage keys, then raw storages."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        if read_pickle(file) != _LEGACY_MAGIC or read_pickle(file) != _LEGACY_PROTOCOL:
            raise PickleError("it does not start as a file of torch.save does")
        machine = read_pickle(file)
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise PickleError("it was not written on a little-endian machine")
        self.objects = _Objects(file)
        keys = read_pickle(file)
        if not isinstance(keys, list):
            raise PickleError("the list of its storages is missing")
        self._file = file
        self._size_bytes = size_bytes
        self._keys = [str(key) for key in keys]
        self._payload_at = file.tell()

    def payload(self, wanted: Collection[str]) -> dict[str, bytearray]:
        found: dict[str, bytearray] = {}
        self._file.seek(self._payload_at)
        for key in self._keys:
            header = self._file.read(8)
            if len(header) < 8:
                raise PickleError("it ends before its last storage")
            storage = self.objects.storages.get(key)
            if storage is None:
                raise PickleError(f"storage {key!r} was never mentioned")
            (items,) = struct.unpack("<q", header)
            count = storage.items * _ITEM_BYTES[storage.dtype]
            if items != storage.items or count > self._size_bytes - self._file.tell():
                raise PickleError(f"storage {key!r} is cut off or has another length than announced")
            if key in wanted:
                found[key] = bytearray(self._file.read(count))
            else:
                self._file.seek(count, os.SEEK_CUR)
        return found


class _Zip:
    """The container of torch 1.6 and later: `<name>/data.pkl` and one stored member per storage."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise PickleError("it is a zip, but not one of torch.save")
        self._archive = archive
        self._folder = pickles[0].removesuffix("data.pkl")
        if f"{self._folder}byteorder" in archive.namelist() and self._read("byteorder") != b"little":
            raise PickleError("it was not written on a little-endian machine")
        self.objects = _Objects(io.BytesIO(self._read("data.pkl")))

    def _checked(self, member: str) -> zipfile.ZipInfo:
        info = self._archive.getinfo(self._folder + member)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise PickleError(f"member {member} is compressed or encrypted; torch stores plainly")
        return info

    def _read(self, member: str) -> bytes:
        return self._archive.read(self._checked(member))

    def payload(self, wanted: Collection[str]) -> dict[str, bytearray]:
        return {key: bytearray(self._read(f"data/{key}")) for key in wanted}


class _Planter:
    """Turns what the pickle described into a tree of names and tensor descriptions."""

    def __init__(self) -> None:
        self.wanted: dict[str, _Storage] = {}
        self._nodes = 0

    def plant(self, node: object, depth: int = 0) -> Any:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise PickleError(f"it nests deeper than {_MAX_DEPTH} or holds more than {_MAX_NODES} values")
        if isinstance(node, _Tensor):
            self.wanted[node.storage.key] = node.storage
            return node
        if isinstance(node, dict):
            planted = ((str(key), self.plant(value, depth + 1)) for key, value in node.items())
            return {key: value for key, value in planted if value is not None}
        if isinstance(node, StandIn) and isinstance(node.state, dict) and "_modules" in node.state:
            flat: dict[str, _Tensor] = {}
            self._flatten(node, "", flat, depth)
            return flat
        return None

    def _flatten(self, module: object, prefix: str, flat: dict[str, _Tensor], depth: int) -> None:
        """Parameters, then buffers, then children: the order of `Module.state_dict`."""
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise PickleError("its modules contain themselves")
        state = module.state if isinstance(module, StandIn) else None
        if not isinstance(state, dict):
            return
        passing = state.get("_non_persistent_buffers_set")
        left_out = [name for name in passing.members if isinstance(name, str)] if isinstance(passing, Bag) else []
        for kind in ("_parameters", "_buffers"):
            for name, value in _items(state, kind):
                if isinstance(value, _Tensor) and not (kind == "_buffers" and name in left_out):
                    self.wanted[value.storage.key] = value.storage
                    flat[f"{prefix}{name}"] = value
        for name, child in _items(state, "_modules"):
            self._flatten(child, f"{prefix}{name}.", flat, depth + 1)


def _items(state: dict[Any, Any], kind: str) -> list[tuple[str, Any]]:
    table = state.get(kind)
    return [(str(name), value) for name, value in table.items()] if isinstance(table, dict) else []


def _grow(tree: Any, storages: Mapping[str, "torch.Tensor"]) -> Any:
    if isinstance(tree, dict):
        return {name: _grow(value, storages) for name, value in tree.items()}
    return storages[tree.storage.key].as_strided(tree.shape, tree.stride, tree.offset).contiguous()


def _tensors(container: _Legacy | _Zip) -> StateTree:
    import torch

    planter = _Planter()
    tree = planter.plant(container.objects.root)
    if not isinstance(tree, dict):
        raise PickleError("it holds neither a module nor a dictionary of tensors")
    raw = container.payload(planter.wanted)
    grown: dict[str, torch.Tensor] = {}
    for key, storage in planter.wanted.items():
        if len(raw.get(key, b"")) != storage.items * _ITEM_BYTES[storage.dtype]:
            raise PickleError(f"storage {key!r} is missing or has another length than announced")
        dtype = getattr(torch, storage.dtype)
        # A writable buffer: torch.frombuffer warns about read-only ones, and refuses empty ones.
        grown[key] = torch.frombuffer(raw[key], dtype=dtype) if raw[key] else torch.empty(0, dtype=dtype)
    planted: StateTree = _grow(tree, grown)
    return planted


def read_pickled(path: Path) -> StateTree:
    """The tensors of a file that `torch.save` wrote, whole modules included; nothing in it is executed.

    Returns:
        Names → CPU tensors for a module, the names of its `state_dict()`; for a dictionary, the same dictionary with
        modules flattened and everything that is neither tensor, module nor dictionary left out.

    Raises:
        WeightsError: the file is missing, damaged, hostile, or of a kind that torch does not write.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return _tensors(_Zip(archive))
            file.seek(0)
            return _tensors(_Legacy(file, path.stat().st_size))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (PickleError, zipfile.BadZipFile, NotImplementedError, KeyError, EOFError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{path} ({path.stat().st_size} bytes) is not a readable torch file: {error}; fetch it again"
        ) from error
