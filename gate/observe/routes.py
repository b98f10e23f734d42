"""The gate's own routes: metrics, liveness, readiness, status, page."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from gate.observe.health import Answer, Health
from gate.observe.http import Handler, Response
from gate.observe.metrics import Metrics
from gate.observe.page import load_page
from gate.observe.request import Request


def build_routes(metrics: Metrics, health: Health, status: Callable[[], Mapping[str, Any]]) -> dict[str, Handler]:
    """Path → handler.

    Args:
        metrics: what `/metrics` renders.
        health: what `/livez` and `/readyz` answer: 200 or 503, and a line for each reason.
        status: makes the JSON object of `/status`; `Observer.status` is one.
    """
    page = load_page()

    def scrape(request: Request) -> Response:
        body, content_type = metrics.render(request.headers.get("accept", ""))
        return Response(body, content_type)

    def state(_request: Request) -> Response:
        return Response(json.dumps(status(), allow_nan=False).encode(), "application/json")

    return {
        "/": lambda _request: page,
        "/metrics": scrape,
        "/livez": lambda _request: _health(health.alive()),
        "/readyz": lambda _request: _health(health.ready()),
        "/status": state,
    }


def _health(answer: Answer) -> Response:
    ok, reasons = answer
    text = "\n".join(("ok" if ok else "not ok", *reasons, ""))
    return Response(text.encode(), status=HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)
