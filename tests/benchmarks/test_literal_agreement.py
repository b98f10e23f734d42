import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import comparison, gpu_methods
from benchmarks.cases import NAMES, USUAL, Case, Settings, build
from benchmarks.comparison import AGREEMENT, Plan, run
from benchmarks.measure import Work, compare
from benchmarks.networks import crops
from gate.bench.measure import Spread
from gate.errors import QualityError
from tests.conftest import REPOSITORY

SMALL = Settings("mobilefacenet", passes=10, examples=2, iterations=2, unet_dim=8, repeats=1)
SMALL_IRESNET = Settings("iresnet18", passes=4)
CASES = [
    ("grafiqs", SMALL),
    ("grafiqs", SMALL_IRESNET),
    ("grafiqs-all", SMALL),
    ("serfiq", SMALL),
    ("serfiq", SMALL_IRESNET),
    ("faceqan", SMALL),
    ("diffiqa", SMALL),
    ("embedding-norm", SMALL),
    ("mirror-cosine", SMALL),
    ("ediffiqa-t", SMALL),
    ("ediffiqa-s", SMALL),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{name}-{given.network}" for name, given in CASES])
def test_method_and_literal_procedure_agree(name: str, settings: Settings) -> None:
    case = build(name, settings)
    pictures, seeds = crops(2), [3, 4]
    literal, ours = case.literal(pictures, seeds), case.ours(pictures, seeds)
    np.testing.assert_allclose(ours, literal, rtol=AGREEMENT)
    # Agreement on a constant would say nothing.
    assert (np.abs(ours[0] - ours[1]) > 10 * np.abs(ours - literal).max(axis=0)).all()


def test_disagreement_fails_the_run_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(name: str, settings: Settings) -> Case:
        case = build(name, settings)
        return Case(case.name, case.network, lambda pictures, seeds: case.ours(pictures, seeds) * 1.01, case.literal)

    monkeypatch.setattr(comparison, "build", wrong)
    assert run(_plan("embedding-norm")) == 1
    assert "embedding-norm" in capsys.readouterr().out.splitlines()[-1]


def test_table_and_file_hold_a_row_for_every_method_and_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_plan("embedding-norm", "ediffiqa-t"), json_file=tmp_path / "numbers.json") == 0
    document = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    wanted = [("embedding-norm", 1), ("embedding-norm", 2), ("ediffiqa-t", 1), ("ediffiqa-t", 2)]
    assert [(row["method"], row["batch"]) for row in document["rows"]] == wanted
    assert {"processor", "cores", "threads", "torch"} <= document["machine"].keys()
    assert capsys.readouterr().out.count("\n| e") == len(wanted)


def test_each_number_format_has_its_rows_where_the_method_has_it(tmp_path: Path) -> None:
    plan = replace(_plan("faceqan", "embedding-norm"), precisions=("float32", "bfloat16"), batches=(1,))
    assert run(plan, json_file=tmp_path / "numbers.json") == 0
    rows = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))["rows"]
    exact, coarse = ("float32", "bfloat16")
    found = [(row["method"], row["precision"]) for row in rows]
    assert found == [("faceqan", exact), ("embedding-norm", exact), ("embedding-norm", coarse)]
    assert rows[2]["difference"] > rows[1]["difference"]


def test_gpu_benchmark_runs_small_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wish = ["--device", "cpu", "--small", "--threads", "1", "--json", str(tmp_path / "gpu.json")]
    assert gpu_methods.main(wish) == 0
    rows = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["rows"]
    assert {row["method"] for row in rows} == set(gpu_methods.SMALL)
    assert capsys.readouterr().out.count("| bfloat16 |") == len(gpu_methods.SMALL)


def test_gpu_benchmark_says_that_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_methods.main([]) == 0
    assert "no CUDA device" in capsys.readouterr().out
    assert {*gpu_methods.METHODS, *gpu_methods.BASELINES, *gpu_methods.SMALL} <= set(NAMES)


def test_both_sides_take_turns_at_going_first_and_are_counted_by_crop() -> None:
    order: list[str] = []
    works = Work(lambda: order.append("ours"), crops=4), Work(lambda: order.append("literal"), crops=1)
    times = compare(*works, repeats=2, device="cpu")
    assert order == ["ours", "literal", "ours", "literal", "literal", "ours"]
    assert times.wall_speedup.median > 0


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(2.0, 3.0, 4.0)
    assert str(Spread(1.0, 2.0, 3.0)) == "2.00 (1.00-3.00)"


def test_unknown_case_names_those_there_are() -> None:
    with pytest.raises(QualityError, match="there are grafiqs, "):
        build("grafics", SMALL)
    assert set(USUAL) <= set(NAMES)


@pytest.mark.slow
def test_it_runs_where_there_is_nothing_but_torch_and_numpy() -> None:
    script = """
import runpy, sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        heavy = {"cv2", "pydantic", "safetensors", "scipy", "onnxruntime", "yaml", "av", "skimage", "insightface",
                 "structlog", "rich", "redis", "prometheus_client", "matplotlib", "torchvision"}
        if name.partition(".")[0] in heavy:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Bare())
sys.argv = ["methods.py", "--filled", "--quick", "--methods", "grafiqs", "serfiq", "faceqan", "diffiqa", "ediffiqa-t",
            "--batch", "2", "--repeats", "1", "--threads", "1"]
if runpy.run_path("benchmarks/methods.py")["main"]():
    raise SystemExit("methods.py failed")
sys.argv = ["gpu_methods.py", "--device", "cpu", "--small", "--threads", "1"]
runpy.run_path("benchmarks/gpu_methods.py", run_name="__main__")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") == 2 + 5 + 2 + 2 * len(gpu_methods.SMALL)


def _plan(*methods: str) -> Plan:
    return Plan(methods, "mobilefacenet", device="cpu", batches=(1, 2), repeats=1, threads=1, quick=True)
