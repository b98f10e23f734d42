"""`gate bench`: that it measures, not how fast anything is."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gate.bench.ceilings import Ceilings, measure_ceilings
from gate.bench.measure import Spread, timed
from gate.bench.report import compared, load_report, pairs_of
from gate.cli import build_parser, main
from gate.errors import GateError


def test_work_is_timed_a_piece_with_its_spread() -> None:
    calls: list[int] = []
    timing = timed(lambda: calls.append(1), pieces=4, repeats=5, least_s=0.0)
    assert len(calls) == 6
    assert 0 <= timing.cpu_ms.low <= timing.cpu_ms.median <= timing.cpu_ms.high
    assert timing.wall_ms.median > 0


def test_the_floor_is_what_binds_of_operations_and_bytes() -> None:
    ceilings = Ceilings(gflops=50.0, gbytes=10.0)
    assert ceilings.floor_ms(100e6, 1e6) == pytest.approx(2.0)
    assert ceilings.floor_ms(1e6, 100e6) == pytest.approx(10.0)


def test_ceilings_are_finite_and_leave_the_threads_as_they_were() -> None:
    import torch

    before = torch.get_num_threads()
    ceilings = measure_ceilings(repeats=1)
    assert torch.get_num_threads() == before
    assert all(math.isfinite(rate) and rate > 0 for rate in (ceilings.gflops, ceilings.gbytes))


def row(stage: str, median: float) -> dict[str, Any]:
    return {"stage": stage, "timing": {"cpu_ms": {"low": median * 0.9, "median": median, "high": median * 1.1}}}


def test_ratios_are_of_what_both_have_measured() -> None:
    old = [row("detect", 20.0), row("gone", 1.0)]
    new = [row("new", 1.0), row("detect", 10.0)]
    assert [(then["stage"], now["timing"]["cpu_ms"]["median"]) for then, now in pairs_of(old, new, "stage")] == [
        ("detect", 10.0)
    ]
    runs = [{"cameras": 2, "fps": 5.0, "cpu_ms_a_frame": cpu_ms} for cpu_ms in (30.0, 20.0)]
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(compared({"stages": old, "runs": runs[:1]}, {"stages": new, "runs": runs[1:]}))
    shown = console.export_text()
    assert "2.00" in shown
    assert "1.64 to 2.44" in shown
    assert "2 cameras at 5 fps, a frame" in shown
    assert "1.50" in shown


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99, "stages": []}', "{"])
def test_a_file_that_is_no_report_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "old.json"
    file.write_text(text)
    with pytest.raises(GateError, match=r"old\.json"):
        load_report(file)


@pytest.mark.parametrize("text", ["5", "0x5", "5x0", "x", "5xfast", "5x1e9"])
def test_a_load_that_cannot_be_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["bench", "--load", text])
    assert "5x10" in capsys.readouterr().err


def test_a_video_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--video", str(tmp_path / "none.mp4")]) == 1
    assert "none.mp4: no such file" in capsys.readouterr().err


def test_quartiles_are_in_order() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(1.5, 2.0, 2.5)


@pytest.mark.slow
def test_the_quick_benchmark_measures_every_stage_and_a_running_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    assert (
        main(["bench", "--quick", "--json", str(file), "--simulate", "3x5", "--simulate", "500x5", "--cores", "4"]) == 0
    )
    report = load_report(file)
    stages = {line["stage"]: line for line in report["stages"]}
    assert {"decode", "to RGB", "align", "signals", "encode", "publish"} <= set(stages)
    assert {"detect, opencv", "detect, openvino"} <= set(stages)
    assert {f"score regressor, {backend}, batch 8" for backend in ("openvino", "onnxruntime", "torch")} <= set(stages)
    for line in stages.values():
        times = [line["timing"][kind][part] for kind in ("cpu_ms", "wall_ms") for part in ("low", "median", "high")]
        assert all(math.isfinite(value) and value >= 0 for value in times)
        assert line["floor_ms"] > 0
    (run,) = report["runs"]
    assert run["looked_at_share"] > 0
    assert run["peak_mb"] > 50
    assert run["cpu_ms_a_frame"] > 0
    few, many = report["simulated"]
    assert many["cameras"] == 500
    assert few["looked_at_share"] > many["looked_at_share"]
    json.dumps(report, allow_nan=False)
    assert "looked at" in capsys.readouterr().out
