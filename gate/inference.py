"""Networks in ONNX files, run on the CPU by OpenVINO or by onnxruntime, without torch.

One core of an AMD EPYC, crops in batches of 8: the shipped regressor takes 6.3 ms a crop with OpenVINO, 10.0 with torch
and 13.5 with onnxruntime; YuNet on 640 x 360 takes 6.2 ms a frame with OpenVINO and 12 with OpenCV.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from gate.errors import DeviceError, WeightsError
from gate.types import FloatArray

Backend: TypeAlias = Literal["auto", "torch", "onnxruntime", "openvino"]
"""What the configuration may ask for; `auto` is OpenVINO where it is installed, else torch."""

Engine: TypeAlias = Literal["onnxruntime", "openvino"]
"""What runs ONNX files."""

Precision: TypeAlias = Literal["float32", "bfloat16"]


class Network(Protocol):
    """A loaded network of one float input. Used by one thread."""

    device: str
    """Where it really runs: `cpu` or `cuda:N`."""

    input_shape: tuple[int | None, ...]
    """None where an axis is free."""

    input_type: str
    """As numpy names it, such as `float32`."""

    def run(self, values: FloatArray) -> list[FloatArray]:
        """All outputs, in the file's order."""
        ...


def engine_for(backend: Backend) -> Engine | None:
    """What runs the networks that come as ONNX files; None leaves them to torch and OpenCV.

    Raises:
        DeviceError: the one that is asked for is not installed.
    """
    if backend == "torch" or (backend == "auto" and not _has("openvino")):
        return None
    engine: Engine = "openvino" if backend == "auto" else backend
    if not _has(engine):
        remedy = "install facegate[openvino]" if engine == "openvino" else "install onnxruntime"
        raise DeviceError(f"backend {engine} is not installed here: {remedy}, or set backend: auto.")
    return engine


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def open_network(
    path: Path,
    engine: Engine,
    *,
    device: str = "cpu",
    threads: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    precision: Precision = "float32",
) -> Network:
    """Load a file.

    Args:
        path: an ONNX file.
        engine: what runs it.
        device: `cpu` or `cuda:N`; the latter needs onnxruntime with CUDA, and is the CPU elsewhere.
        threads: of one run; default is the engine's own choice.
        input_shape: in place of the file's; OpenVINO only.
        precision: OpenVINO only: bfloat16 computes in it where the CPU can.

    Raises:
        WeightsError: there is no such file, or it is no model.
        DeviceError: the engine cannot be imported.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weight file {path}; name an existing file or a model of `gate models list`")
    if engine == "openvino":
        return _OpenVinoNetwork(path, threads=threads, input_shape=input_shape, precision=precision)
    return _OnnxRuntimeNetwork(path, device=device, threads=threads)


class _OpenVinoNetwork:
    device = "cpu"

    def __init__(
        self, path: Path, *, threads: int | None, input_shape: tuple[int, ...] | None, precision: Precision
    ) -> None:
        core = _openvino_core()
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Its own default is bfloat16 on CPUs that have it, which changes scores in the third digit.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            # Two networks of one process must not be bound to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            if input_shape is not None:
                model.reshape(list(input_shape))
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise _no_model(path, "OpenVINO", error) from None
        node = self._compiled.inputs[0] if len(self._compiled.inputs) == 1 else None
        self.input_shape = (
            () if node is None else tuple(d.get_length() if d.is_static else None for d in node.partial_shape)
        )
        self.input_type = "" if node is None else np.dtype(node.element_type.to_dtype()).name

    def run(self, values: FloatArray) -> list[FloatArray]:
        answers = self._compiled(values)
        return [np.asarray(answers[output], dtype=np.float32) for output in self._compiled.outputs]


@functools.cache
def _openvino_core() -> Any:
    """The one core of the process, which lives as long.

    Each core's CPU plugin gives the thread a stack of its own for signals and takes it back in the end, to the one that
    was there before. Of several cores that do not end in the reverse order the last leaves a stack that is no more, and
    the next SIGTERM kills the process by SIGSEGV (OpenVINO 2026.4).
    """
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise DeviceError(f"openvino cannot be imported ({error}). Set backend: torch, or install it anew.") from None
    return openvino.Core()


class _OnnxRuntimeNetwork:
    def __init__(self, path: Path, *, device: str, threads: int | None) -> None:
        self._session = open_session(path, device=device, threads=threads)
        on_gpu = self._session.get_providers()[0] == "CUDAExecutionProvider"
        self.device = device if on_gpu else "cpu"
        inputs = self._session.get_inputs()
        node = inputs[0] if len(inputs) == 1 else None
        # A free axis is None or a name.
        shape = () if node is None else node.shape
        self.input_shape = tuple(d if isinstance(d, int) and d > 0 else None for d in shape)
        self.input_type = "" if node is None else _numpy_name(node.type)
        self._input = "" if node is None else node.name

    def run(self, values: FloatArray) -> list[FloatArray]:
        return [np.asarray(answer, dtype=np.float32) for answer in self._session.run(None, {self._input: values})]


def open_session(path: Path, *, device: str = "cpu", threads: int | None = None) -> Any:
    """An onnxruntime session, on the CPU where it has no provider for the device.

    Raises:
        WeightsError: the file is no model.
        DeviceError: onnxruntime cannot be imported.
    """
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"onnxruntime cannot be imported ({error}). Install onnxruntime to run {path.name}."
        ) from None
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        # onnxruntime raises its own unexported classes for a file that is no model.
        raise _no_model(path, "onnxruntime", error) from error


def _no_model(path: Path, engine: str, error: Exception) -> WeightsError:
    lines = str(error).splitlines()
    return WeightsError(f"{path} cannot be run by {engine}: {lines[0] if lines else type(error).__name__}")


def _numpy_name(onnx_type: str) -> str:
    """`tensor(float)` to `float32`."""
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)
