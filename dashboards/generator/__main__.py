"""Writes every dashboard; with `--check` it writes nothing and fails where a file is not what would be written."""

import argparse
import sys
from pathlib import Path

from dashboards.generator.boards import BOARDS
from dashboards.generator.grafana import to_json

FOLDER = Path(__file__).parent.parent / "grafana"


def main() -> int:
    """Write or check; 1 when a committed file differs."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not up to date")
    check: bool = parser.parse_args().check
    wanted = {FOLDER / f"{board.uid}.json": to_json(board) for board in BOARDS}
    there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    stale = [path for path in sorted({*wanted, *there}) if wanted.get(path) != there.get(path)]
    if check:
        for path in stale:
            print(f"{path.name} is not what the generator writes; run `make dashboards`.", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
        print(path.name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
