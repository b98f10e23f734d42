import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gate.assembly
from gate.assembly import (
    BEAT_S,
    PATIENCE,
    build_observer,
    check_cameras,
    describe_cameras,
    load_detector,
    load_scorer,
    rhythm_of,
)
from gate.clock import SystemClock
from gate.config import GateConfig, build_config
from gate.delivery import EMBEDDED_MAX_EVENTS, build_sink
from gate.errors import ConfigError, WeightsError
from gate.publish.embedded import EmbeddedRedis
from gate.types import Image
from tests.conftest import FakeClock
from tests.quality.scripted import Scripted, Told


def config_of(**sections: Any) -> GateConfig:
    return build_config({"cameras": [{"name": "door", "url": "virtual:"}], **sections})


@pytest.fixture
def insightface_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Insightface's own folder with a pack in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".insightface" / "models" / "my_pack").mkdir(parents=True)
    return tmp_path / ".insightface"


@pytest.fixture
def weights_asked_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | Path]:
    """What the detector's builder is given for a detector section."""

    def asked(**section: Any) -> str | Path:
        found: list[str | Path] = []
        monkeypatch.setattr(gate.assembly, "build_detector", lambda _name, weights, **_: found.append(weights))
        load_detector(config_of(detector=section, weights={"download": False}))
        return found[0]

    return asked


def test_a_pack_is_found_in_insightface_s_own_folder_or_below_root(
    insightface_root: Path, weights_asked_for: Callable[..., str | Path]
) -> None:
    assert weights_asked_for(name="scrfd", weights="my_pack") == "my_pack"
    assert weights_asked_for(name="scrfd", weights="my_pack", root=insightface_root) == "my_pack"


def test_a_root_does_not_hide_the_files_of_ours(
    tmp_path: Path, weights_asked_for: Callable[..., str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.weights.zoo.Zoo.path", lambda _zoo, name: Path("ours") / name)
    assert weights_asked_for(name="yunet", root=tmp_path) == Path("ours/yunet")
    assert weights_asked_for(name="scrfd", root=tmp_path) == Path("ours/scrfd-500m")


def test_a_pack_that_is_nowhere_is_explained(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no insightface pack 'my_pack'.*set detector\.root"):
        load_detector(config_of(detector={"name": "scrfd", "weights": "my_pack", "root": str(tmp_path)}))


@pytest.mark.parametrize(
    ("section", "most"),
    [({}, EMBEDDED_MAX_EVENTS), ({"max_events": 9_000}, 9_000), ({"max_events": None}, None)],
)
def test_an_embedded_redis_keeps_few_events_unless_told_and_is_given_no_password(
    section: dict[str, Any], most: int | None, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("hunter2")
    config = config_of(redis={"url": "embedded:", "password_file": str(password), **section})
    with EmbeddedRedis() as server:
        sink = build_sink(config, server.url, SystemClock())
        try:
            assert sink.check().startswith("Redis")
            assert sink._retention.most_entries("faces", ()) == most
        finally:
            sink.close()


@pytest.mark.parametrize(
    ("crop_s", "max_batch", "at_once", "batch_s"),
    [(0.01, 32, 32, 0.32), (1.0, 32, 10, 10.0), (4.0, 32, 2, 8.0), (120.0, 32, 1, 120.0), (0.0, 8, 8, 0.0)],
)
def test_a_slow_method_scores_few_crops_between_two_signs_of_life(
    crop_s: float, max_batch: int, at_once: int, batch_s: float, fake_clock: FakeClock
) -> None:
    class Slow:
        def raw(self, crops: Image) -> None:
            assert crops.shape == (1, 112, 112, 3)
            fake_clock.advance(crop_s)

    scorer: Any = Slow()
    crops, allowed_s = rhythm_of(scorer, max_batch, fake_clock)
    assert crops == at_once
    assert allowed_s == pytest.approx(PATIENCE * batch_s)
    assert batch_s <= BEAT_S or at_once == 1


def test_only_addresses_that_can_never_be_opened_are_refused(tmp_path: Path) -> None:
    later = {"password_file": str(tmp_path / "not-there-yet"), "username": "gate"}
    check_cameras(config_of(cameras=[{"name": "door", "url": "rtsp://door.lan/", **later}]), SystemClock())
    check_cameras(config_of(cameras=[{"name": "door", "url": str(tmp_path / "missing.mp4")}]), SystemClock())
    with pytest.raises(ConfigError, match="'door': the url is of no known kind"):
        check_cameras(config_of(cameras=[{"name": "door", "url": "rtmp://door.lan/"}]), SystemClock())


def test_a_number_format_chosen_for_a_gpu_is_not_asked_of_the_cpu_that_stands_in(
    monkeypatch: pytest.MonkeyPatch, fake_clock: FakeClock
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, *, device: str, **given: Any) -> Scripted:
        asked.append((device, {key: given[key] for key in ("passes", "precision") if key in given}))
        if device != "cpu":
            raise RuntimeError("CUDA error: out of order")
        return Scripted(name, device)

    monkeypatch.setattr(gate.assembly, "load_method", load)
    monkeypatch.setattr(gate.assembly, "resolve_device", lambda _wish: "cuda:0")
    options = {"passes": 50, "precision": "float16"}
    config = config_of(quality={"method": "serfiq", "device": "cuda:0", "options": options, "fallback": []})
    scorer = load_scorer(config, fake_clock, Told())
    assert scorer.device == "cpu"
    assert asked == [("cuda:0", options), ("cpu", {"passes": 50})]


def test_the_status_says_where_and_how_large_faces_count(fake_clock: FakeClock) -> None:
    door = {"name": "door", "url": "virtual:", "zones": {"include": [[[0, 0], [0.5, 0], [0.5, 1]]]}}
    config = build_config({"cameras": [door], "decide": {"min_face_px": 60, "max_inter_eye_px": 200}})
    observer = build_observer(config, fake_clock)
    camera = json.loads(json.dumps(observer.status()))["cameras"]["door"]
    assert camera["zones"] == {"include": [[[0, 0], [0.5, 0], [0.5, 1]]], "exclude": []}
    assert camera["sizes"] == {"inter_eye_px": {"min": 24, "max": 200}, "face_px": {"min": 60, "max": None}}
    assert camera["approaching_only"] is False
    describe_cameras(observer, build_config({"cameras": [{"name": "door", "url": "virtual:"}]}))
    assert observer.status()["cameras"]["door"]["zones"] == {"include": [], "exclude": []}
