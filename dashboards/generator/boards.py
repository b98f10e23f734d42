"""All dashboards, and the metrics that none of them shows."""

from dashboards.generator.camera import CAMERA_IN_DEPTH
from dashboards.generator.delivery import DELIVERY
from dashboards.generator.fleet import FLEET
from dashboards.generator.panel import Board
from dashboards.generator.pipeline import PIPELINE
from dashboards.generator.quality import QUALITY

BOARDS: tuple[Board, ...] = (FLEET, CAMERA_IN_DEPTH, QUALITY, PIPELINE, DELIVERY)

EXCUSED: dict[str, str] = {
    "facegate_http_certificate_expiry_timestamp_seconds": "a date, for an alert: it is there with http.tls alone",
}
"""Metric → why no panel shows it."""
