"""What builds the dashboards needs Python 3.11; what reads them does not."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("grafana_foundation_sdk") else ["test_dashboards.py"]
