import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.generator.boards import BOARDS, EXCUSED
from dashboards.generator.panel import Board, Panel
from gate.client.metrics import CONSUMER_DESIGN
from gate.observe.table import DESIGN as GATE_DESIGN
from gate.observe.table import PREFIX

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"
RULES = FOLDER / "prometheus" / "rules"

DESIGN = (*GATE_DESIGN, *CONSUMER_DESIGN)

_METRIC = re.compile(r"\b(facegate[a-z0-9_:]*|process_[a-z_]+)")
_FOREIGN = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
}
"""What prometheus_client itself exports."""


def rules() -> Iterator[dict[str, Any]]:
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels() -> list[tuple[Board, Panel]]:
    return [(board, panel) for board in BOARDS for panel in board.panels]


def metrics_of(expr: str) -> set[str]:
    """Names of metrics in an expression, a histogram's without its suffix."""
    histograms = {spec.name for spec in DESIGN if spec.kind == "histogram"}
    found = set()
    for name in _METRIC.findall(re.sub(r'"[^"]*"', '""', expr)):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if base in histograms else name)
    return found


def test_committed_dashboards_are_what_the_generator_writes() -> None:
    command = [sys.executable, "-m", "dashboards.generator", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_metric_that_a_panel_or_rule_uses_is_exported() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = {spec.name for spec in DESIGN} | recorded | _FOREIGN
    used = {name for _, panel in panels() for query in panel.queries for name in metrics_of(query.expr)}
    used |= {name for rule in rules() for name in metrics_of(rule["expr"])}
    assert used - known == set()


def test_every_metric_is_shown_or_excused() -> None:
    shown = {name for _, panel in panels() for query in panel.queries for name in metrics_of(query.expr)}
    for rule in rules():
        if rule.get("record") in shown:
            shown |= metrics_of(rule["expr"])
    exported = {spec.name for spec in DESIGN}
    assert exported - shown == set(EXCUSED)
    assert all(EXCUSED.values())


def test_label_names_of_selectors_and_groupings_are_those_of_the_metrics() -> None:
    known = {label for spec in DESIGN for label in spec.labels} | {"instance", "le", "job"}
    for _, panel in panels():
        for query in panel.queries:
            grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", query.expr)
            named = {label.strip() for labels in grouped for label in labels.split(",")}
            named |= set(re.findall(r"[{,]([a-z_]+)(?:=|!=|=~)\"", query.expr))
            named |= set(re.findall(r"{{(\w+)}}", query.legend))
            assert named <= known, (panel.title, named - known)


@pytest.mark.parametrize(
    ("board", "panel"), panels(), ids=lambda value: value.title if isinstance(value, Panel) else value.uid
)
def test_every_panel_says_what_it_shows_and_chooses_by_gate(board: Board, panel: Panel) -> None:
    assert len(panel.description) > 20, board.uid
    assert panel.description.endswith(".")
    # Consumers are processes of their own, with instances of their own.
    assert all("$instance" in query.expr or "facegate_consumer_" in query.expr for query in panel.queries)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboard_has_variables_links_and_panels_side_by_side(board: Board) -> None:
    written = json.loads((FOLDER / "grafana" / f"{board.uid}.json").read_text(encoding="utf-8"))
    assert [variable["name"] for variable in written["templating"]["list"]] == ["datasource", "instance", "camera"]
    assert written["uid"] == board.uid
    placed = [panel for panel in written["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in placed] == [panel.title for panel in board.panels]
    for panel in placed:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in placed)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"


def not_known(written: dict[str, Any]) -> list[str]:
    """What of a dashboard Grafana's own model of its schema does not read: it is lost or another value afterwards."""
    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    return list(_lost(written, read, ""))


def _lost(written: Any, read: Any, place: str) -> Iterator[str]:
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from _lost(value, read.get(key), f"{place}/{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from _lost(one, other, f"{place}/{number}")
    elif written != read:
        yield place


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_grafana_knows_every_key_of_a_dashboard(board: Board) -> None:
    written = json.loads((FOLDER / "grafana" / f"{board.uid}.json").read_text(encoding="utf-8"))
    assert not_known(written) == []


@pytest.mark.parametrize(
    "where",
    [(), ("panels", 1), ("panels", 1, "fieldConfig", "defaults"), ("panels", 1, "options"), ("templating", "list", 1)],
    ids=str,
)
def test_a_key_that_grafana_does_not_know_is_found_wherever_it_stands(where: tuple[str | int, ...]) -> None:
    written = json.loads((FOLDER / "grafana" / f"{BOARDS[0].uid}.json").read_text(encoding="utf-8"))
    place: Any = written
    for step in where:
        place = place[step]
    place["colour"] = "red"
    assert not_known(written) == ["/".join(["", *map(str, where), "colour"])]


def test_every_alert_has_a_section_of_the_runbook_and_a_unit_test() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    headlines = set(re.findall(r"^### (\w+)$", guide, flags=re.MULTILINE))
    proven = {
        case["alertname"]
        for file in (FOLDER / "prometheus" / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    names = {alert["alert"] for alert in alerts()}
    assert names == headlines
    assert names == proven
    for alert in alerts():
        assert alert["annotations"]["runbook"] == f"docs/operating.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in {"warning", "critical"}


def test_prometheus_finds_no_fault_in_the_rules_and_they_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; scripts/servers.sh installs it where apt is")
    folder = FOLDER / "prometheus"
    tests = sorted(str(path) for path in (folder / "tests").glob("*.yml"))
    for command in (["check", "config", str(folder / "prometheus.yml")], ["test", "rules", *tests]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_metric_of_ours_is_named_without_the_prefix() -> None:
    assert all(spec.name.startswith(PREFIX) for spec in DESIGN)
