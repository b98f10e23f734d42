"""The number format in which a method's network computes."""

import functools
import logging
import platform
from typing import TYPE_CHECKING

from gate.errors import QualityError
from gate.inference import Engine, Precision
from gate.quality.names import nearest

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")

OPTION = "precision"
"""What the methods' option is called."""

_log = logging.getLogger(__name__)


def resolve_precision(method: str, wish: object, device: str) -> "torch.dtype":
    """What the option asks for.

    `auto` is float32 everywhere: the published numbers are float32's, and whether ranks hold in another format has
    been measured on a CPU only, so that a GPU must be told too. float16 is for GPUs: no CPU path of torch is fast in
    it, and its range ends at 65,504.

    Raises:
        QualityError: another word, or float16 on a CPU.
    """
    import torch

    _check(method, wish)
    if wish in {"auto", "float32"}:
        return torch.float32
    on_cpu = torch.device(device).type == "cpu"
    if wish == "float16":
        if on_cpu:
            raise QualityError(f"{method}: {OPTION} float16 needs a GPU, and the device is {device}; use bfloat16")
        return torch.float16
    if not (_cpu_has_bfloat16() if on_cpu else torch.cuda.is_bf16_supported(including_emulation=False)):
        _tell_slow(device)
    return torch.bfloat16


def onnx_precision(method: str, wish: object, engine: Engine) -> Precision:
    """The same for what computes an ONNX file.

    Raises:
        QualityError: another word, or a format that it does not compute in.
    """
    _check(method, wish)
    if wish in {"auto", "float32"}:
        return "float32"
    if wish == "bfloat16" and engine == "openvino":
        return "bfloat16"
    raise QualityError(f"{method}: {engine} does not compute an ONNX file in {wish}; leave {OPTION} out")


def _check(method: str, wish: object) -> None:
    if not isinstance(wish, str) or wish not in PRECISIONS:
        raise QualityError(f"{method}: unknown {OPTION} {wish!r}{nearest(str(wish), PRECISIONS)}")


def _cpu_has_bfloat16() -> bool:
    import torch

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        ask = getattr(torch.cpu, name, None)
        if ask is not None and ask():
            return True
    is_arm = platform.machine() in {"aarch64", "arm64"}
    return is_arm and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - there is no public question


@functools.cache
def _tell_slow(device: str) -> None:
    """Once a process and device."""
    _log.warning("%s has no bfloat16 arithmetic: the numbers are right, and slower than in float32", device)
