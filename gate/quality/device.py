"""The torch installation and its devices, with every fault of theirs turned into one readable message.

Importing torch takes a second and 400 MB, so that nobody does who can answer without.
"""

import sys
from pathlib import Path

from gate.errors import DeviceError


def resolve_device(wish: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` to the device that will be used: `cpu` or `cuda:N`.

    Raises:
        DeviceError: torch, where it has to be asked, cannot be imported or does not see the device; the message says
            what torch sees.
    """
    if wish == "cpu" or (wish == "auto" and not _may_have_gpu()):
        return "cpu"
    require_torch()
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wish == "auto":
        return "cuda:0" if count else "cpu"
    kind, _, index = wish.partition(":")
    if kind != "cuda" or not (index == "" or index.isdecimal()):
        raise DeviceError(f"unknown device {wish!r}; use auto, cpu, cuda or cuda:N")
    number = int(index or 0)
    if number >= count:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise DeviceError(
            f"device {wish!r} is not here: torch {torch.__version__} is {built} and sees {count} CUDA device(s). "
            "Use device auto or cpu, or install the driver that this torch needs."
        )
    return f"cuda:{number}"


def _may_have_gpu() -> bool:
    """False where the system has no driver that torch could use; elsewhere torch has to be asked."""
    if sys.platform != "linux" or "torch" in sys.modules:
        return True
    return any(Path(device).exists() for device in _GPU_DRIVERS)


_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA's cards, of its Jetsons, of AMD's cards, and of Windows' for the Linux inside it."""

_cpu_threads: int | None = None


def set_cpu_threads(count: int) -> None:
    """How many threads a network may use from now on; those that are loaded already keep theirs, but for torch's."""
    global _cpu_threads  # noqa: PLW0603 - torch's own count belongs to the process as well
    _cpu_threads = count
    if "torch" in sys.modules:
        require_torch()


def cpu_threads() -> int | None:
    """How many threads a network may use; None leaves it to who runs it."""
    if _cpu_threads is None and "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    return _cpu_threads


def require_torch() -> None:
    """Import torch and give it its threads. Raises `DeviceError` in words where it is broken."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceError(
            f"torch cannot be imported ({type(error).__name__}: {error}). "
            "Install a torch and torchvision pair that match each other and this machine."
        ) from None
    if _cpu_threads is not None:
        torch.set_num_threads(_cpu_threads)


def check_libraries() -> str:
    """Import torch and torchvision; returns their versions.

    Raises:
        DeviceError: one is missing, or they are of different builds and torchvision cannot register its operators.
    """
    try:
        import torch
        import torchvision
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceError(
            f"torch and torchvision do not fit together ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Install both from one index in one step, as `make setup` does."
        ) from None
    return f"torch {torch.__version__}, torchvision {torchvision.__version__}"


def free_bytes(device: str) -> int | None:
    """Bytes that a new batch may take on the device; None where the system does not tell."""
    import torch

    target = torch.device(device)
    if target.type == "cuda":
        free, _ = torch.cuda.mem_get_info(target)
        # What torch's own cache holds unused counts as free to us.
        return free + torch.cuda.memory_reserved(target) - torch.cuda.memory_allocated(target)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch (or Python) gave up for want of memory; its CPU allocator has no exception class of its own."""
    import torch

    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
