"""A gate whose quality method breaks goes on with the next one, and says so everywhere."""

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gate.daemon import Daemon
from gate.errors import ConfigError, WeightsError
from gate.quality.baselines import EmbeddingNorm
from gate.quality.rung import BAD_BATCHES
from gate.weights.checkpoint import load_state_dict
from gate.weights.convert import write_safetensors
from gate.weights.zoo import Zoo
from tests.daemon.conftest import FRAMES, assert_adds_up, config_of, read_stream, run_to_the_end

METHODS = ("embedding-norm", "sharpness")


@pytest.fixture
def weights(tmp_path: Path, weights_folder: Path) -> Path:
    """The default backbone's file, for a test to damage; what it scores as long as it is whole is calibrated."""
    try:
        return Path(shutil.copy(Zoo(weights_folder).ensure("facexzoo-mobilefacenet"), tmp_path / "net.safetensors"))
    except WeightsError as error:
        pytest.skip(f"the FaceX-Zoo weights cannot be had: {error}")


def quality_of(weights: Path, **more: Any) -> dict[str, Any]:
    return {"method": "embedding-norm", "weights": str(weights), "fallback": "sharpness", "threads": 1, **more}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def fill_with_not_a_number(file: Path) -> None:
    state = load_state_dict(file)
    state["linear.weight"] = torch.full_like(state["linear.weight"], torch.nan)
    write_safetensors(state, file)


def metric(daemon: Daemon, series: str) -> float:
    lines = daemon.observer.metrics.render()[0].decode().splitlines()
    values = [line.removeprefix(f"facegate_{series} ") for line in lines if line.startswith(f"facegate_{series} ")]
    assert len(values) == 1, series
    return float(values[0])


@pytest.mark.parametrize(
    ("damage", "cause"), [(Path.unlink, "weights"), (truncate, "weights"), (fill_with_not_a_number, "self_test")]
)
def test_faces_are_published_when_the_method_s_weights_are_gone(
    *,
    damage: Callable[[Path], None],
    cause: str,
    weights: Path,
    visitor_clip: Path,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(weights)
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url, quality=quality_of(weights)))
    assert not daemon.failed
    faces, _ = read_stream(redis_url)
    assert [(face.method, face.model) for face in faces] == [("sharpness", "sharpness")] * 2
    assert_adds_up(daemon.observer.tally.summary(), redis_url)
    entries: list[Any] = [record.msg for record in caplog.records if record.name == "gate.observe"]
    (line,) = [entry for entry in entries if entry["event"] == "quality_method_switched"]
    assert line["problem"]
    assert {key: line[key] for key in ("level", "cause", "method", "instead_of", "device")} == {
        "level": "warning",
        "cause": cause,
        "method": "sharpness",
        "instead_of": "embedding-norm",
        "device": "cpu",
    }
    assert metric(daemon, f'fallback_total{{cause="{cause}"}}') == 1
    assert metric(daemon, 'method_active{method="sharpness"}') == 1
    assert metric(daemon, 'method_active{method="embedding-norm"}') == 0
    status = daemon.observer.status()
    assert (status["method"], status["methods"]) == ("sharpness", ["embedding-norm", "sharpness"])
    assert status["fallbacks"] == {cause: 1}
    assert "method: starting" not in status["reasons"]


def test_whole_weights_score_every_face(weights: Path, visitor_clip: Path, redis_url: str) -> None:
    daemon = run_to_the_end(config_of(visitor_clip, redis_url=redis_url, quality=quality_of(weights)))
    assert {face.method for face in read_stream(redis_url)[0]} == {"embedding-norm"}
    assert daemon.observer.status()["fallbacks"] == {}


def test_a_method_that_loses_its_numbers_on_the_way_costs_no_face(
    visitor_clip: Path, redis_url: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, calls = EmbeddingNorm._raw_batch, [0]

    def failing(method: EmbeddingNorm, crops: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        calls[0] += 1
        # Two for the self-test, one for the rhythm, and a third of the frames.
        numbers = sound(method, crops, seeds)
        return numbers if calls[0] <= 3 + FRAMES // 3 else torch.full_like(numbers, torch.nan)

    monkeypatch.setattr(EmbeddingNorm, "_raw_batch", failing)
    every_face = {"max_scores_per_s": None}
    daemon = run_to_the_end(
        config_of(visitor_clip, redis_url=redis_url, quality=quality_of(weights), decide=every_face)
    )
    assert calls[0] == 3 + FRAMES // 3 + BAD_BATCHES
    assert metric(daemon, 'fallback_total{cause="not_finite"}') == BAD_BATCHES
    assert metric(daemon, 'fallback_total{cause="keeps_failing"}') == 1
    by_method = [metric(daemon, f'quality_count{{camera="cam0",method="{name}"}}') for name in METHODS]
    assert by_method == [FRAMES // 3, FRAMES - FRAMES // 3]
    assert daemon.observer.status()["method"] == "sharpness"
    assert_adds_up(daemon.observer.tally.summary(), redis_url)
    assert len(read_stream(redis_url)[0]) == 2


def test_the_page_is_told_which_method_was_wanted(nobody_clip: Path, tmp_path: Path) -> None:
    cameras = [{"name": "door", "url": str(nobody_clip), "loop": True}]
    daemon = Daemon(config_of(cameras=cameras, quality=quality_of(tmp_path / "missing.safetensors")))
    daemon.start()
    try:
        with urllib.request.urlopen(f"{daemon.http_address}status", timeout=5) as answer:  # noqa: S310 - http:// of this machine
            status = json.load(answer)
    finally:
        daemon.shut_down()
    assert (status["method"], status["methods"][0]) == ("sharpness", "embedding-norm")


def test_a_fallback_without_a_calibration_ends_the_start(nobody_clip: Path) -> None:
    fallback = {"method": "serfiq", "options": {"passes": 17}}
    with pytest.raises(ConfigError, match=r"each method of a chain must be calibrated: no map .* for serfiq"):
        Daemon(config_of(nobody_clip, quality={"method": "sharpness", "fallback": fallback})).start()


def test_without_any_method_the_gate_does_not_start(nobody_clip: Path, tmp_path: Path) -> None:
    section = {"method": "embedding-norm", "weights": str(tmp_path / "missing.pt"), "fallback": []}
    with pytest.raises(WeightsError, match=r"no quality method can be used: .*missing\.pt"):
        Daemon(config_of(nobody_clip, quality=section)).start()
