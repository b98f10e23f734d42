"""Grafana dashboards as data: `python -m dashboards.generator` writes `dashboards/grafana/`."""
