#!/usr/bin/env bash
# Everything a submission must pass: style and types, the layers, then the tests, slow ones included.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/servers.sh
scripts/lint.sh
# Two threads would fight over two cores with the servers that the tests start.
export OMP_NUM_THREADS=1
exec .venv/bin/pytest -q "$@"
