"""A gate that traces, before a collector that speaks OTLP over HTTP; and one that does not."""

import gzip
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import free_port

WITHOUT = "import sys; sys.modules['opentelemetry'] = None; "
"""As if it were not installed: whoever imports it breaks off. redis-py does of its own accord where it is."""


def run(folder: Path, before: str = "", **tracing: object) -> dict[str, Any]:
    """Play some seconds of the virtual camera; returns the counts."""
    config, counts = folder / "gate.yaml", folder / "counts.json"
    data = {
        "cameras": [{"name": "door", "url": "virtual:?seed=1&fps=5&seconds=6"}],
        "quality": {"threads": 1},
        "redis": {"url": "embedded:"},
        "http": {"enabled": False},
        "tracing": tracing,
    }
    config.write_text(yaml.safe_dump(data))
    program = f"{before}import sys; from gate.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "run", "-c", str(config), "--until-eof", "--summary", str(counts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(counts.read_text())
    return found


@contextmanager
def collector(received: list[Any]) -> Iterator[str]:
    """Keeps the resource spans that come; yields where."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            received.extend(
                ExportTraceServiceRequest.FromString(gzip.decompress(body) if packed else body).resource_spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        server.shutdown()


@pytest.mark.slow
def test_a_collector_gets_the_way_of_every_frame_up_to_redis(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="comes with facegate[otel]")
    received: list[Any] = []
    with collector(received) as endpoint:
        counts = run(tmp_path, endpoint=endpoint, ratio=1.0, service="gate-of-the-test")
    (service,) = {
        attribute.value.string_value
        for resource in received
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    spans = [span for resource in received for scope in resource.scope_spans for span in scope.spans]
    names = Counter(span.name for span in spans)
    assert service == "gate-of-the-test"
    assert names["frame"] == names["capture"] == names["track"] == counts["frames"]["processed"] > 0
    assert {"detect", "align", "signals", "score", "decide"} < set(names)
    assert names["encode"] == names["publish"] > 0
    roots = {span.trace_id: span.span_id for span in spans if span.name == "frame"}
    assert all(span.parent_span_id == roots[span.trace_id] for span in spans if span.name != "frame")
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)


@pytest.mark.slow
def test_a_collector_that_is_away_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="comes with facegate[otel]")
    counts = run(tmp_path, endpoint=f"http://127.0.0.1:{free_port()}/v1/traces", ratio=1.0)
    assert counts["published"] > 0
    assert counts["lost"] == {}


@pytest.mark.slow
def test_a_gate_that_does_not_trace_imports_nothing_of_it(tmp_path: Path) -> None:
    counts = run(tmp_path, WITHOUT)
    assert counts["published"] > 0
