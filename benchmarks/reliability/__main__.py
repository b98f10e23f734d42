"""Everything that may go wrong around a gate, for real, and what came of it.

    make reliability                                  everything; the table goes to docs/reliability.md
    python -m benchmarks.reliability --quick          some minutes; the table goes to the terminal
    python -m benchmarks.reliability --only SIGKILL --kills 20

Exit status 1 when any row is not as expected.
"""

import argparse
import datetime as dt
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.reliability import camera_proxy, disk, process, redis_proxy, redis_server, soak
from benchmarks.reliability.clip import write_clip
from benchmarks.reliability.scenario import Row, Scenario, run
from benchmarks.reliability.table import markdown
from benchmarks.reliability.world import REPOSITORY, Program, RedisServer, World
from gate.errors import WeightsError
from gate.weights.zoo import Zoo

BEGIN, END = "<!-- reliability: begin -->", "<!-- reliability: end -->"
PAGE = REPOSITORY / "docs" / "reliability.md"
KILLS, QUICK_KILLS = 200, 4
SOAK_S, QUICK_SOAK_S = 3600.0, 12.0


def main() -> int:
    """Play what was asked for; the exit status."""
    arguments = parse()
    scenarios = [scenario for scenario in wanted(arguments) if arguments.only in f"{scenario.family}: {scenario.fault}"]
    if not scenarios:
        print(f"reliability: no scenario has {arguments.only!r} in its name", file=sys.stderr)
        return 2
    try:
        # Fetched where it is missing: a gate of a scenario would do without, and the scenario wait for it in vain.
        Zoo().ensure("yunet")
    except WeightsError as error:
        print(f"reliability: {error}", file=sys.stderr)
        return 2
    rows = []
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        program = Program()
        try:
            clip = write_clip(Path(folder) / "clip.mp4")
            version = redis_version(Path(folder) / "probe")
            for number, scenario in enumerate(scenarios):
                world = World(program, Path(folder) / str(number), clip, arguments.seed + number)
                rows.append(play(scenario, world))
        finally:
            program.close()
    text = f"{conditions(arguments, version)}\n\n{markdown(rows)}"
    print(text)
    if arguments.write:
        write(text)
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} rows as expected")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="reliability", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_KILLS} kills and a soak of {QUICK_SOAK_S:g} s")
    parser.add_argument("--kills", type=int, help=f"how often the gate is killed (default {KILLS})")
    parser.add_argument("--soak-s", type=float, help=f"length of the soak (default {SOAK_S:g})")
    parser.add_argument("--only", default="", metavar="WORDS", help="the scenarios whose name has these words in it")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(REPOSITORY)}")
    arguments = parser.parse_args()
    if arguments.kills is None:
        arguments.kills = QUICK_KILLS if arguments.quick else KILLS
    if arguments.soak_s is None:
        arguments.soak_s = QUICK_SOAK_S if arguments.quick else SOAK_S
    return arguments


def wanted(arguments: argparse.Namespace) -> list[Scenario]:
    """Every scenario."""
    return [
        *redis_proxy.scenarios(),
        *redis_server.scenarios(),
        *camera_proxy.scenarios(),
        *process.scenarios(arguments.kills),
        *disk.scenarios(),
        *soak.scenarios(arguments.soak_s),
    ]


def play(scenario: Scenario, world: World) -> Row:
    """Play one, and tell as it ends."""
    row = run(scenario, world)
    word = "ok    " if row.ok else "FAILED"
    print(f"{word} {scenario.family}: {scenario.fault} ({row.took_s:.0f} s)", flush=True)
    if not row.ok:
        print("".join(f"       {problem}\n" for problem in row.seen.problems), end="", flush=True)
        log = world.folder / "gate" / "gate.log"
        print(log.read_text(errors="replace")[-4000:] if log.exists() else "       no log", flush=True)
    return row


def redis_version(folder: Path) -> str:
    """The version of the server that is used."""
    server = RedisServer(folder)
    try:
        return str(server.ask("INFO", "server")["redis_version"])
    finally:
        server.kill()


def conditions(arguments: argparse.Namespace, version: str) -> str:
    """When and on what it was run, in words."""
    now = dt.datetime.now(dt.timezone.utc)
    busy = os.getloadavg()[2]
    return (
        f"Run on {now:%Y-%m-%d}, Python {platform.python_version()}, redis-server {version}, {os.cpu_count()} cores "
        f"(load of the last 15 minutes: {busy:.1f}), {arguments.kills} kills, a soak of {arguments.soak_s:g} s, "
        f"seed {arguments.seed}."
    )


def write(text: str) -> None:
    """Put the table into its page."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
