#!/usr/bin/env bash
# Creates .venv with the pinned packages. uv resolves torch and torchvision from one index, so that they are of
# the same build; plain pip may mix a local CPU-only torch with a CUDA torchvision that then fails to import.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "setup: $("$python" --version 2>&1) found, Python 3.10 or newer is needed; set PYTHON=/path/to/python3" >&2
    exit 1
}

stamp=.venv/.setup-$(cat pyproject.toml constraints.txt scripts/setup.sh | "$python" -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:16])')
[ -e "$stamp" ] && [ -x .venv/bin/python ] && exit 0

if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
    uv=uv
else
    [ -x .uv/bin/uv ] || "$python" -m pip install --quiet --target .uv uv || {
        echo "setup: uv is missing and pip could not fetch it; install uv, or pip for $python (python3-pip in Debian)" >&2
        exit 1
    }
    uv=.uv/bin/uv
fi

# What is left of a .venv whose Python was removed from the machine is in the way.
[ -x .venv/bin/python ] || UV_VENV_CLEAR=1 "$uv" venv --quiet --python "$python" .venv
VIRTUAL_ENV=$PWD/.venv "$uv" pip install --quiet --constraint constraints.txt --editable '.[dev]' uv

.venv/bin/python - <<'PY'
try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError) as error:
    raise SystemExit(
        f"setup: torch and torchvision do not fit together ({error}). Remove .venv and run make setup again; "
        "if uv is told to prefer local wheels (UV_FIND_LINKS), unset that first."
    )
PY
rm -f .venv/.setup-*
touch "$stamp"
echo "setup: .venv is ready"
