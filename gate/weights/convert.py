"""A state dict as a safetensors file whose bytes depend on nothing but the tensors.

The table of the zoo holds the checksum of the converted file, so it must come out the same under every version of
every library: the format (eight bytes of header length, a JSON header, the raw numbers) is written here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gate.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def safetensors_bytes(state: "Mapping[str, Tensor]") -> bytes:
    """The tensors in the safetensors format: widest numbers first so that all lie aligned, then by name.

    Raises:
        WeightsError: a tensor's dtype has no place in the format.
    """
    import torch

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    pieces: list[bytes] = []
    at = 0
    for name, tensor in sorted(state.items(), key=lambda item: (-item[1].element_size(), item[0])):
        dtype = _DTYPES.get(str(tensor.dtype).removeprefix("torch."))
        if dtype is None:
            raise WeightsError(f"tensor {name} is {tensor.dtype}, which cannot be kept as safetensors")
        piece = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(piece)]}
        pieces.append(piece)
        at += len(piece)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *pieces])


def write_safetensors(state: "Mapping[str, Tensor]", path: Path) -> None:
    """Write `state` to `path`; the caller gives a temporary name and renames."""
    path.write_bytes(safetensors_bytes(state))
