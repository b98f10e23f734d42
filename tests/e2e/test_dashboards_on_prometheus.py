import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from dashboards.generator.boards import BOARDS
from dashboards.generator.pictures import Source, draw, has_data
from gate.baseline import BINS, Baseline, Baselines
from gate.quality import load_method
from tests.e2e.conftest import free_port, http_json, needs, running, wait_for

pytestmark = pytest.mark.slow

RULES = Path(__file__).parents[2] / "dashboards" / "prometheus" / "rules"
CAMERAS = ("door", "hall")
WEEK_S = 7 * 24 * 3600
RECORDED = "facegate:visit_published:ratio_rate1h"


def baseline_file(folder: Path) -> Path:
    """A baseline of faces that were all poor, so that any real run has drifted."""
    method = load_method("regressor", device="cpu")
    histogram = (1000, *[0] * (BINS - 1))
    one = Baseline(method.name, method.model, "2026-01-01", histogram, visits=100, best_quality=(1.0,) * 100)
    path = folder / "baseline.json"
    path.write_text(Baselines(dict.fromkeys(CAMERAS, one), "").to_text())
    return path


def write_config(folder: Path, redis_url: str, port: int) -> Path:
    config = {
        "cameras": [{"name": name, "url": f"virtual:?seed={seed}"} for seed, name in enumerate(CAMERAS)],
        "decide": {"baseline": str(baseline_file(folder))},
        "redis": {"url": redis_url},
        "http": {"port": port},
    }
    path = folder / "gate.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def backfill_last_week(folder: Path, instance: str) -> Path:
    """A Prometheus data folder with what a recording rule would have written a week ago."""
    now_s = round(time.time())
    moments = range(now_s - WEEK_S - 300, now_s - WEEK_S + 900, 15)
    lines = [f"# TYPE {RECORDED} gauge"]
    lines += [f'{RECORDED}{{instance="{instance}",camera="{camera}"}} 0.9 {at}' for camera in CAMERAS for at in moments]
    text, data = folder / "week.om", folder / "tsdb"
    text.write_text("\n".join([*lines, "# EOF", ""]))
    command = [needs("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return data


CONSUMER = """
import sys
import prometheus_client
from gate.client import FaceStream
from gate.client.metrics import ConsumerMetrics

stream = FaceStream(sys.argv[1], group="recognizers", consumer="r1", from_start=True)
ConsumerMetrics(stream)
prometheus_client.start_http_server(int(sys.argv[2]), "127.0.0.1")
for _ in stream:
    pass
"""


def start_prometheus(servers: ExitStack, folder: Path, target_port: int, consumer_port: int) -> str:
    """A Prometheus with the gate's own rules, evaluated every second."""
    port, instance = free_port(), f"127.0.0.1:{target_port}"
    rules = folder / "rules.yml"
    rules.write_text((RULES / "facegate.yml").read_text(encoding="utf-8").replace("interval: 1m", "interval: 1s"))
    config = folder / "prometheus.yml"
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "facegate", "static_configs": [{"targets": [instance]}]},
            {"job_name": "recognizers", "static_configs": [{"targets": [f"127.0.0.1:{consumer_port}"]}]},
        ],
    }
    config.write_text(yaml.safe_dump(settings))
    data = backfill_last_week(folder, instance)
    command = [needs("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}"]
    servers.enter_context(running([*command, f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log"))
    return f"http://127.0.0.1:{port}"


def test_every_panel_shows_data_of_a_real_run(
    tmp_path: Path, redis_server: str, gate_command: list[str], servers: ExitStack
) -> None:
    port, consumer_port = free_port(), free_port()
    config = write_config(tmp_path, redis_server, port)
    servers.enter_context(running([*gate_command, "run", "-c", str(config)], tmp_path / "gate.log"))
    consumer = [sys.executable, "-c", CONSUMER, redis_server, str(consumer_port)]
    servers.enter_context(running(consumer, tmp_path / "consumer.log"))
    url = start_prometheus(servers, tmp_path, port, consumer_port)
    wait_for(lambda: (http_json(f"http://127.0.0.1:{port}/status") or {}).get("ready"), 120, "the gate")
    source = Source(url, seconds=120)
    empty = [(board.uid, panel) for board in BOARDS for panel in board.panels]

    def all_have_data() -> bool:
        empty[:] = [(uid, panel) for uid, panel in empty if not has_data(panel, source)]
        return not empty

    deadline = time.monotonic() + 180
    while not all_have_data() and time.monotonic() < deadline:
        time.sleep(2)
    assert [(uid, panel.title) for uid, panel in empty] == []
    for board in BOARDS:
        picture = tmp_path / f"{board.uid}.png"
        draw(board, source, picture)
        assert picture.stat().st_size > 20_000
