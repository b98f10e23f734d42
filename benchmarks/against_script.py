"""The gate against the script that one writes first, in turns on the same film, with the same regressor and Redis.

python benchmarks/against_script.py FILM --detector scrfd.onnx
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.straight_script import Outcome

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both in turns and print medians, quartiles and paired ratios."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from benchmarks import straight_script
    from gate.bench.measure import Spread, machine
    from gate.config import DecideConfig
    from gate.publish.embedded import EmbeddedRedis
    from gate.quality import load_method

    options = _parser().parse_args(arguments)
    import torch

    torch.set_num_threads(options.threads)
    bar, method = DecideConfig().quality_bar, load_method("regressor", device="cpu")
    rows: list[tuple[straight_script.Outcome, straight_script.Outcome]] = []
    with EmbeddedRedis(tcp_port=0) as server:
        url = server.tcp_url or server.url

        def script() -> straight_script.Outcome:
            return straight_script.run(options.film, url, options.detector, method, bar=bar, threads=options.threads)

        def gate() -> straight_script.Outcome:
            return run_gate(options.film, url, options.detector if options.same_detector else None, options.threads)

        for number in range(options.repeats):
            first, second = (script, gate) if number % 2 else (gate, script)
            one, other = first(), second()
            rows.append((one, other) if number % 2 else (other, one))
    print(", ".join(f"{name} {value}" for name, value in machine("cpu").items()))
    for place, name in enumerate(("script", "gate")):
        own = [row[place] for row in rows]
        per_frame = Spread.of([1e3 * each.cpu_s / each.frames for each in own])
        per_cpu_s = Spread.of([each.faces / each.cpu_s for each in own])
        print(f"{name}: {own[0].frames} frames, {own[0].faces} faces, {own[0].published} entries in Redis")
        print(f"  CPU ms a frame {per_frame}; faces a CPU second {per_cpu_s}")
    ratios = Spread.of([a.cpu_s / a.frames / (b.cpu_s / b.frames) for a, b in rows])
    faces = Spread.of([b.faces / b.cpu_s / (a.faces / a.cpu_s) for a, b in rows])
    print(f"gate / script: CPU a frame {ratios}-fold less; faces a CPU second {faces}-fold")
    if options.json is not None:
        made = {"cpu_ratio": str(ratios), "faces_ratio": str(faces), "machine": machine("cpu")}
        options.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


def run_gate(film: Path, url: str, detector: Path | None, threads: int) -> "Outcome":
    """The daemon on the same film, as fast as it goes; loading is left out as for the script.

    No latency: a film played faster than its time has none.
    """
    from benchmarks.straight_script import Outcome
    from gate.config import build_config
    from gate.daemon import Daemon

    section: dict[str, Any] = {} if detector is None else {"name": "scrfd", "weights": str(detector)}
    config = build_config(
        {
            "cameras": [{"name": "film", "url": str(film.resolve()), "pace": "fast"}],
            "detector": section,
            "redis": {"url": url},
            "http": {"enabled": False},
            "log": {"level": "warning"},
            "quality": {"threads": threads, "fallback": [], "device": "cpu"},
        }
    )
    daemon = Daemon(config, until_eof=True)
    daemon.start()
    try:
        # The engine starts last of all: no frame has been looked at before.
        cpu_s, start_s = time.process_time(), time.perf_counter()
        daemon.wait(600)
    finally:
        daemon.shut_down()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - start_s
    counts = daemon.observer.tally.summary()
    judged = sum(counts["faces"][verdict] for verdict in ("accepted", "rejected", "unscored"))
    return Outcome(counts["frames"]["processed"], judged, counts["published"], cpu_s, wall_s, [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path, metavar="FILM")
    parser.add_argument("--detector", type=Path, required=True, metavar="FILE", help="SCRFD as ONNX, for the script")
    parser.add_argument("--same-detector", action="store_true", help="the gate uses it too, in place of YuNet")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="pairs")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, OpenCV and onnxruntime")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
