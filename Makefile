SECONDS ?= 0
.PHONY: setup demo test lint bench dashboards docs

setup:          ## create .venv with everything the package needs
	@scripts/setup.sh

demo: setup     ## run the whole gate on a virtual camera (SECONDS=30 to stop by itself)
	@.venv/bin/gate demo --seconds $(SECONDS)

test: setup     ## lint, types, layers, then every test
	@scripts/test.sh

lint: setup     ## ruff, mypy, import-linter
	@scripts/lint.sh

bench: setup    ## measure this machine
	@.venv/bin/gate bench --json bench.json

dashboards: setup ## dashboards/grafana from their generator; fails where what is committed differs
	@.venv/bin/python -m dashboards.generator
	@git diff --exit-code --stat -- dashboards/grafana

docs: setup     ## docs/reference.md from the code
	@.venv/bin/python scripts/reference.py
