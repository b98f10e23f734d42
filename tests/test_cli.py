import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
import yaml

from gate.cli import EXIT_CODES, build_parser, main
from gate.commands.check import probes
from gate.commands.demo import _stop_on_signals
from gate.commands.run import cameras_of, config_of
from gate.config import QualityConfig, build_config, json_schema
from gate.errors import ConfigError, GateError, PublishError
from gate.publish.embedded import EmbeddedRedis

HEAVY = ("torch", "cv2", "av", "onnxruntime", "insightface", "scipy", "matplotlib", "redis", "pydantic")


def imported_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has after running `code`."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported_by("import gate").isdisjoint((*HEAVY, "numpy", "structlog"))


def test_building_the_command_line_imports_nothing_heavy() -> None:
    assert imported_by("from gate.cli import build_parser; build_parser()").isdisjoint(HEAVY)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    actions = build_parser()._actions
    commands = next(action.choices for action in actions if action.choices and "run" in action.choices)
    assert commands is not None
    for command in commands:
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        assert f"gate {command}" in capsys.readouterr().out


def test_an_error_of_ours_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "-c", str(tmp_path / "none.yaml")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("gate: ")
    assert len(shown.splitlines()) == 1
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("raised", "code"), [(GateError("no"), 1), (KeyboardInterrupt(), 130), (BrokenPipeError(), 141)]
)
def test_every_way_a_command_ends_has_a_documented_exit_code(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_args: object) -> int:
        raise raised

    monkeypatch.setattr("gate.commands.methods.list_methods", end)
    # The last of them closes it.
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert main(["methods"]) == code
    assert code in EXIT_CODES


def test_the_help_explains_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["methods", "--nonsense"])
    assert left.value.code in EXIT_CODES
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^  {code} +{re.escape(meaning)}$", shown, re.MULTILINE)


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_the_effective_configuration_is_shown_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("cameras: [{name: door, url: 'rtsp://u:hunter2@h/'}]\n")
    assert main(["config", "show", "-c", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert yaml.safe_load(shown)["decide"]["min_quality"] == 30.0


def test_without_a_configuration_the_first_webcam_and_an_embedded_redis_are_taken() -> None:
    config = config_of(build_parser().parse_args(["run"]))
    assert config.cameras[0].address == "webcam:0"
    assert config.redis.address == "embedded:"


def test_options_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("cameras: [{name: door, url: 'virtual:'}]\nhttp: {port: 1}\n")
    args = build_parser().parse_args(
        ["run", "-c", str(file), "--port", "0", "--redis", "redis://h/1", "--method", "grafiqs"]
    )
    config = config_of(args)
    assert (config.http.port, config.redis.address, config.quality.method) == (0, "redis://h/1", "grafiqs")


def test_a_source_beside_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("cameras: [{name: door, url: 'virtual:'}]\n")
    with pytest.raises(ConfigError, match="--source stands for a configuration of its own"):
        config_of(build_parser().parse_args(["run", "-c", str(file), "--source", "x.mp4"]))


def test_sources_are_named_by_their_file_or_number_and_never_twice() -> None:
    cameras = cameras_of(["clips/front door.mp4", "rtsp://u:p@h/", "other/front door.mp4", "virtual:?seed=2"])
    assert [camera["name"] for camera in cameras] == ["front-door", "cam2", "front-door-3", "cam4"]


def test_a_name_made_unique_is_not_that_of_another_file() -> None:
    cameras = cameras_of(["a/door.mp4", "door-3.mp4", "b/door.mp4"])
    assert len({camera["name"] for camera in cameras}) == 3


def test_only_files_and_the_virtual_camera_are_played_fast() -> None:
    sources = ["a.mp4", "file:///clips/hall.mp4", "virtual:?seconds=1", "rtsp://h/", "WEBCAM:0"]
    cameras = cameras_of(sources, fast=True)
    assert [camera["pace"] for camera in cameras] == ["fast", "fast", "fast", "realtime", "realtime"]
    assert [camera["name"] for camera in cameras] == ["a", "hall", "cam3", "cam4", "cam5"]


def test_fast_is_refused_where_it_would_do_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--fast: no --source is a file"):
        config_of(build_parser().parse_args(["run", "--source", "rtsp://h/", "--fast"]))
    file = tmp_path / "gate.yaml"
    file.write_text("cameras: [{name: door, url: 'virtual:'}]\n")
    with pytest.raises(ConfigError, match="write pace: fast at the camera"):
        config_of(build_parser().parse_args(["run", "-c", str(file), "--fast"]))


def test_a_configuration_may_come_through_a_pipe_and_keeps_its_secrets(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "cameras: [{name: door, url: 'rtsp://u:hunter2@h/'}]\nredis: {stream: faces}\n"
    with ThreadPoolExecutor() as writer:
        writer.submit(pipe.write_text, text)
        config = config_of(build_parser().parse_args(["run", "-c", str(pipe), "--redis", "redis://:s3cret@h/1"]))
    assert config.cameras[0].address == "rtsp://u:hunter2@h/"
    assert (config.redis.address, config.redis.stream) == ("redis://:s3cret@h/1", "faces")


@pytest.mark.parametrize("option", [("--fps", "0"), ("--fps", "nan"), ("--seed", "-1"), ("--seconds", "-1")])
def test_the_demo_refuses_what_its_camera_cannot_do(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["demo", *option])
    assert f"argument {option[0]}: expected" in capsys.readouterr().err


def test_the_second_signal_ends_a_demo_that_does_not_end() -> None:
    usual = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = threading.Event()
    try:
        # A suite that runs in the background of a shell ignores Ctrl-C; a terminal does not.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _stop_on_signals(stop)
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), usual, strict=True):
            signal.signal(number, handler)


def test_check_goes_on_where_a_probe_fails_in_a_way_nobody_thought_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("rtsp://u:hunter2@h/ is out of order")

    monkeypatch.setattr("gate.assembly.load_detector", fail)
    assert main(["check", "--source", "virtual:?seconds=1", "--port", "0"]) == 1
    shown = capsys.readouterr().out
    assert "FAULT detector: failed unexpectedly (RuntimeError at test_cli.py:" in shown
    assert "ok    camera cam1" in shown
    assert "hunter2" not in shown


def test_check_names_each_fault_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sections = {
            "cameras": [{"name": "door", "url": str(tmp_path / "missing.mp4")}, {"name": "sim", "url": "virtual:"}],
            "redis": {"url": f"redis://:hunter2@127.0.0.1:{closed.getsockname()[1]}/0"},
            "http": {"port": taken.getsockname()[1]},
            "detector": {"weights": "no-such-weights"},
        }
        file = tmp_path / "gate.yaml"
        file.write_text(yaml.safe_dump(sections))
        assert main(["check", "-c", str(file)]) == 1
    shown = capsys.readouterr().out
    lines = {line.split(":")[0]: line for line in shown.splitlines()}
    for probe in ("FAULT detector", "FAULT redis", "FAULT http", "FAULT camera door", "ok    camera sim"):
        assert probe in lines, shown
    # By the cause that metrics, log and readiness would name.
    assert lines["FAULT camera door"].startswith("FAULT camera door: not_found: ")
    assert "hunter2" not in shown
    assert shown.splitlines()[-1] == "4 fault(s)"


def test_check_is_content_with_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", "--source", "virtual:", "--port", "0"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.splitlines()[-1] == "everything is ready"


def test_check_says_which_method_would_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, file = str(tmp_path / "missing.pt"), tmp_path / "gate.yaml"
    fallback = [{"method": "mirror-cosine", "weights": missing}, "sharpness"]
    section = {"method": "embedding-norm", "weights": missing, "fallback": fallback}
    cameras = [{"name": "door", "url": "virtual:"}]
    file.write_text(
        yaml.safe_dump({"cameras": cameras, "redis": {"url": "embedded:"}, "http": {"port": 0}, "quality": section})
    )
    assert main(["check", "-c", str(file)]) == 1
    lines = {line.split(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "missing.pt" in lines["FAULT method"]
    assert "until then sharpness scores in place of embedding-norm" in lines["FAULT method"]
    assert "missing.pt" in lines["FAULT fallback mirror-cosine"]
    assert lines["ok    fallback sharpness"].endswith("sharpness on cpu, passes its self-test")


def test_check_does_not_mind_a_usual_fallback_that_is_not_here(
    tmp_path: Path, weights_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("yunet_2023mar.onnx", "facexzoo-mobilefacenet.safetensors"):
        if not (weights_folder / name).is_file():
            pytest.skip(f"{name} is not here")
    (tmp_path / "yunet_2023mar.onnx").write_bytes((weights_folder / "yunet_2023mar.onnx").read_bytes())
    own = tmp_path / "own.safetensors"
    own.write_bytes((weights_folder / "facexzoo-mobilefacenet.safetensors").read_bytes())
    sections = {
        "cameras": [{"name": "door", "url": "virtual:"}],
        "redis": {"url": "embedded:"},
        "http": {"port": 0},
        "quality": {"method": "embedding-norm", "weights": str(own)},
        "weights": {"folder": str(tmp_path)},
    }
    (tmp_path / "gate.yaml").write_text(yaml.safe_dump(sections))
    code = main(["check", "-c", str(tmp_path / "gate.yaml")])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "ok    fallback serfiq: left out, for nobody asked for it: facexzoo-mobilefacenet is not here" in shown
    assert list(tmp_path.glob("facexzoo*")) == []


def test_methods_says_what_scores_and_what_stands_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    first, *others = [entry.method for entry in QualityConfig().chain]
    assert shown.endswith(f"gate run scores with {first}; when it cannot, with {' or '.join(others)}")


def test_check_looks_at_the_stream_of_every_camera_and_says_what_to_do() -> None:
    cameras = [{"name": name, "url": "virtual:"} for name in ("door", "hall")]
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        config = build_config({"cameras": cameras, "redis": {"url": server.url, "stream": "faces:{camera}"}})
        probe = dict(probes(config))["redis"]
        assert probe().endswith("stream faces:{camera} can be written")
        assert client.keys() == []
        client.set("faces:hall", "not a stream")
        with pytest.raises(PublishError, match="'faces:hall' holds something that is not a stream; set"):
            probe()


def test_a_torchvision_of_another_build_is_explained_without_a_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    command = [sys.executable, "-m", "gate", "check", "--source", "virtual:", "--port", "0"]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "FAULT device: torch and torchvision do not fit together" in done.stdout
    assert "make setup" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
