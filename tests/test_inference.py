import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gate.errors import DeviceError, WeightsError
from gate.inference import Backend, Engine, engine_for, open_network
from gate.weights.zoo import Zoo


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))


@pytest.mark.parametrize(
    ("backend", "engine"),
    [("auto", "openvino"), ("openvino", "openvino"), ("onnxruntime", "onnxruntime"), ("torch", None)],
)
def test_auto_takes_openvino_where_it_is_installed(backend: Backend, engine: Engine | None) -> None:
    assert engine_for(backend) == engine


@pytest.mark.usefixtures("without_openvino")
def test_without_openvino_auto_is_torch_and_asking_for_it_says_how_to_get_it() -> None:
    assert engine_for("auto") is None
    with pytest.raises(DeviceError, match=r"backend openvino is not installed here: install facegate\[openvino\]"):
        engine_for("openvino")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_network_tells_its_input_and_takes_any_number_of_crops(engine: Engine) -> None:
    network = open_network(Zoo().path("facegate-t-onnx"), engine, threads=1)
    assert (network.input_shape, network.input_type, network.device) == ((None, 3, 112, 112), "float32", "cpu")
    for count in (1, 3):
        (answer,) = network.run(np.zeros((count, 3, 112, 112), np.float32))
        assert answer.reshape(-1).shape == (count,)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_files_that_are_missing_or_no_networks_are_told(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no weight file .*absent\.onnx"):
        open_network(tmp_path / "absent.onnx", engine)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(Zoo().path("facegate-t-onnx").read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"cut\.onnx cannot be run by"):
        open_network(cut, engine)


def test_openvino_opens_no_connection() -> None:
    """Its wheel brings a package that counts uses; nothing here may make it do so."""
    code = (
        "import socket, numpy as np\n"
        "def refuse(*args, **kwargs): raise AssertionError('a connection')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse; socket.create_connection = refuse\n"
        "from gate.inference import open_network\n"
        "from gate.weights.zoo import Zoo\n"
        "network = open_network(Zoo().path('facegate-t-onnx'), 'openvino')\n"
        "print(network.run(np.zeros((1, 3, 112, 112), np.float32))[0].size)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "1"


def test_signals_are_handled_after_networks_have_come_and_gone() -> None:
    """OpenVINO gives the thread a stack for signals; one that is no more kills the process at the next SIGTERM."""
    code = (
        "import gc, mmap, os, signal\n"
        "from gate.inference import open_network\n"
        "from gate.weights.zoo import Zoo\n"
        "path = Zoo().path('facegate-t-onnx')\n"
        "networks = [open_network(path, 'openvino', threads=1) for _ in range(3)]\n"
        "for place in (0, 1, 0):\n"
        "    del networks[place]\n"
        "    gc.collect()\n"
        "kept = [mmap.mmap(-1, 65536, prot=mmap.PROT_READ) for _ in range(200)]\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "handled\n"
