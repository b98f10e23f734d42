"""What a scenario is made of: a Redis, a gate, its journal, and a witness who consumes what comes out."""

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from gate.client import FaceStream
from gate.publish.connect import FAULTS, Client, open_client
from gate.publish.embedded import redis_binary
from gate.publish.retry import RetryDelays

REPOSITORY = Path(__file__).resolve().parents[2]
STREAM = "facegate:faces"
PATIENCE_S = 45.0
"""How long a scenario waits for what must come about; a busy machine takes its time."""


class Failed(Exception):  # noqa: N818 - the row failed, not the program
    """What was expected did not come about."""


def until(found: Callable[[], Any], what: str, *, timeout_s: float = PATIENCE_S, every_s: float = 0.05) -> Any:
    """The first truthy answer of `found`. Raises `Failed` after the time-out."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := found()):
        if time.monotonic() > deadline_s:
            raise Failed(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(every_s)
    return answer


def free_port() -> int:
    """A port of this machine that nobody listens on, 10,000 below which leaves room for clusters."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class RedisServer:
    """One redis-server on a port of its own that is killed, frozen and started again with what it had saved."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        config = self._folder / "redis.conf"
        if not config.exists():
            # A file, because a Sentinel writes to its own.
            config.write_text(
                f"port {self.port}\nbind 127.0.0.1\ndir {self._folder}\nsave ''\n" + "\n".join(self._options) + "\n"
            )
        binary = shutil.which("redis-server") or redis_binary()
        sentinel = ["--sentinel"] if any(option.startswith("sentinel ") for option in self._options) else []
        self._process = subprocess.Popen([binary, str(config), *sentinel], stdout=subprocess.DEVNULL)
        until(lambda: self.ask("PING"), "redis-server")

    def kill(self) -> None:
        """As a power cut: no shutdown, no save."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: Any) -> Any:
        """The reply to a command; None where there is none."""
        client: Client = open_client(self.url, None, 2.0)
        try:
            return client.execute_command(*command)
        except FAULTS:
            return None
        finally:
            client.disconnect()

    def event_ids(self) -> list[str]:
        """The id of every entry, in the order of the stream."""
        return [
            fields[b"event_id"].decode("ascii", "replace") for _, fields in self.ask("XRANGE", STREAM, "-", "+") or ()
        ]


@dataclass
class Journal:
    """What the gates of a scenario wrote down, over all their lives."""

    file: Path

    def lines(self, kind: str) -> Iterator[list[str]]:
        """The words behind each line of a kind."""
        if not self.file.exists():
            return
        for line in self.file.read_text(encoding="ascii").splitlines():
            words = line.split(" ")
            if words[0] == kind:
                yield words[1:]

    @property
    def offered(self) -> set[str]:
        """Events that were about to be accepted."""
        return {words[0] for words in self.lines("O")}

    @property
    def accepted(self) -> set[str]:
        """Events that were accepted."""
        return {words[0] for words in self.lines("A")}

    @property
    def on_disk(self) -> set[str]:
        """Events that were on the disk when they had been accepted."""
        return {words[0] for words in self.lines("A") if words[1] == "1"}

    def frames_s(self, camera: str) -> list[float]:
        """When frames of a camera were decoded."""
        return [float(words[1]) for words in self.lines("F") if words[0] == camera]

    def stall_s(self, camera: str) -> float:
        """The longest time between two frames of a camera."""
        times = self.frames_s(camera)
        return max((after - before for before, after in pairwise(times)), default=0.0)


class Program:
    """The process that forks gates; see `benchmarks.reliability.program`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability.program"],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: queue.Queue[int] = queue.Queue()
        self._lock = threading.Condition()
        self._ended: dict[int, int] = {}
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(PATIENCE_S * 2):
            raise Failed("the program does not start")

    def start(self, **request: Any) -> int:
        """Start a gate; gives its pid."""
        if self._process.stdin is None:
            raise Failed("the program has no standard input")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._started.get(timeout=PATIENCE_S)

    def status(self, pid: int, timeout_s: float) -> int | None:
        """How a gate ended: its exit code, or minus the signal; None when it still runs after `timeout_s`."""
        with self._lock:
            self._lock.wait_for(lambda: pid in self._ended, timeout_s)
            return self._ended.get(pid)

    def close(self) -> None:
        """End it, and every gate that still runs."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._reader.join(5)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            word, *numbers = line.split()
            if word == "ready":
                self._ready.set()
            elif word == "started":
                self._started.put(int(numbers[0]))
            elif word == "ended":
                with self._lock:
                    self._ended[int(numbers[0])] = int(numbers[1])
                    self._lock.notify_all()


class Metronome:
    """How long this machine kept a thread waiting that wants a moment twenty times a second.

    It runs beside a gate with the same priority: where it stands still for seconds, so does every camera.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        before_s = time.monotonic()
        while not self._over.wait(0.05):
            now_s = time.monotonic()
            self.longest_s, before_s = max(self.longest_s, now_s - before_s), now_s


@dataclass
class Gate:
    """One configuration, run once or many times over the same spool."""

    program: Program
    folder: Path
    config: dict[str, Any]
    metronome: Metronome
    port: int = field(default_factory=free_port)
    pid: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.folder / "journal")
        self.summary_file = self.folder / "summary.json"
        sections = {
            "http": {"port": self.port},
            "log": {"format": "json"},
            "spool": {"dir": str(self.folder / "spool")},
            "quality": {"method": "sharpness", "threads": 1},
            "weights": {"download": False},
            "decide": {"min_quality": 0.0, "on_improve_by": 0.5, "improve_every_s": 0.2},
            "tracker": {"max_gap_s": 0.4},
        }
        self.config_file = self.folder / "gate.json"
        self.config_file.write_text(json.dumps({**sections, **self.config}))

    def start(self, **options: Any) -> None:
        """Start it; returns at once."""
        arguments = ["run", "-c", str(self.config_file), "--summary", str(self.summary_file)]
        self.pid = self.program.start(
            arguments=arguments, log=str(self.folder / "gate.log"), journal=str(self.journal.file), **options
        )

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.program.status(self.pid, PATIENCE_S)
        self.pid = 0

    def stop(self, timeout_s: float = PATIENCE_S) -> tuple[int, float]:
        """SIGTERM; gives the exit code and the seconds it took. Raises `Failed` when it does not end."""
        began_s = time.monotonic()
        self.signal(signal.SIGTERM)
        status = self.program.status(self.pid, timeout_s)
        if status is None:
            self.kill()
            raise Failed(f"it did not end within {timeout_s:g} s of SIGTERM")
        self.pid = 0
        return status, time.monotonic() - began_s

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, where it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def page(self, path: str) -> str:
        """What its page answers at a path, also with 503; empty while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    @property
    def status(self) -> dict[str, Any]:
        """What `/status` says; empty while nobody answers."""
        return dict(json.loads(self.page("/status") or "{}"))

    @property
    def redis(self) -> dict[str, Any]:
        """What it says about delivery."""
        return dict(self.status.get("redis", {}))

    def log(self) -> list[dict[str, Any]]:
        """What it logged."""
        lines = (self.folder / "gate.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events_logged(self) -> Counter[str]:
        """How often each event was logged."""
        return Counter(str(line.get("event")) for line in self.log())


class Witness:
    """Consumes the stream with the consumer kit, and remembers what its body was given."""

    def __init__(self, url: str) -> None:
        self.given: Counter[str] = Counter()
        self.failure: Exception | None = None
        self._stream = FaceStream(
            url,
            group="witness",
            consumer="w1",
            stream=STREAM,
            from_start=True,
            block_s=0.2,
            timeout_s=3.0,
            remember=100_000,
            retry=RetryDelays(first_s=0.05, longest_s=0.5),
        )
        self._thread = threading.Thread(target=self._consume, name="witness", daemon=True)
        self._thread.start()

    @property
    def seen(self) -> set[str]:
        """The events it was given."""
        return set(self.given)

    @property
    def twice(self) -> int:
        """How many events it was given more than once."""
        return sum(1 for times in list(self.given.values()) if times > 1)

    @property
    def written_off(self) -> int:
        """How many entries the consumer kit put aside because they cannot be read."""
        return self._stream.counts["dead"]

    @property
    def dropped_copies(self) -> int:
        """How many copies the consumer kit dropped."""
        return self._stream.counts["duplicate"]

    def close(self) -> None:
        """Stop consuming."""
        self._stream.stop()
        self._thread.join(30)
        self._stream.close()

    def _consume(self) -> None:
        try:
            for event in self._stream.events():
                self.given[event.event_id] += 1
        except Exception as error:  # noqa: BLE001 - whatever ends it is what the row reports
            self.failure = error


@dataclass
class World:
    """Where one scenario takes place; everything in it ends with it."""

    program: Program
    folder: Path
    clip: Path
    seed: int
    stack: ExitStack = field(default_factory=ExitStack)

    def redis(self, *options: str, name: str = "redis") -> RedisServer:
        """Start a redis-server."""
        server = RedisServer(self.folder / name, *options)
        self.stack.callback(server.kill)
        return server

    def witness(self, url: str) -> Witness:
        """Begin to consume."""
        witness = Witness(url)
        self.stack.callback(witness.close)
        return witness

    def gate(self, url: str, *, cameras: Sequence[dict[str, Any]] = (), **sections: Any) -> Gate:
        """Configure a gate that delivers to `url`; two looped clips are its cameras unless told."""
        files = [{"name": name, "url": str(self.clip), "loop": True} for name in ("lobby", "yard")]
        redis = {"url": url, "timeout_s": 1.0, **sections.pop("redis", {})}
        metronome = Metronome()
        self.stack.callback(metronome.close)
        config = {"cameras": list(cameras) or files, "redis": redis, **sections}
        gate = Gate(self.program, self.folder / "gate", config, metronome)
        self.stack.callback(lambda: gate.kill() if gate.pid else None)
        return gate
