"""Starts the program `gate` many times at the price of one: its libraries are imported once, every gate is a fork.

    python -m benchmarks.reliability.program

reads a request a line, `{"arguments": […], "log": FILE, "journal": FILE, "limits": …}`, answers with `started PID`, and
with `ended PID STATUS` when that gate has ended. Each gate is a process of its own and runs `gate.cli.main` unchanged,
but for a journal that no SIGKILL can take back, because every line is one write(2):

    O ID        an event is about to be accepted
    A ID 1      it was accepted and is on the disk; 0: the disk did not answer in time, and the gate says so
    F CAMERA S  a frame was decoded at this monotonic time
"""

import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

from gate.cli import main
from gate.observe.reports import CaptureReport
from gate.publish.event import Event
from gate.publish.publisher import Publisher
from gate.publish.spool import SpooledBacklog


def keep_journal(file: str) -> None:
    """Write down what this process accepts and decodes, from now on."""
    journal = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    offer, frame = Publisher.offer, CaptureReport.frame

    def offer_and_tell(self: Publisher, event: Event, **options: Any) -> None:
        os.write(journal, f"O {event.event_id}\n".encode())
        offer(self, event, **options)
        os.write(journal, f"A {event.event_id} {int(_is_on_disk(self, event))}\n".encode())

    def frame_and_tell(self: CaptureReport, camera: str, captured_ms: int) -> None:
        os.write(journal, f"F {camera} {time.monotonic():.4f}\n".encode())
        frame(self, camera, captured_ms)

    Publisher.offer = offer_and_tell  # type: ignore[method-assign]
    CaptureReport.frame = frame_and_tell  # type: ignore[method-assign]


def _is_on_disk(publisher: Publisher, event: Event) -> bool:
    backlog = publisher._waiting  # noqa: SLF001 - only what was truly committed may be counted on after SIGKILL
    if not isinstance(backlog, SpooledBacklog):
        return False
    with backlog.changed:
        unwritten = backlog._books.unwritten.values()  # noqa: SLF001 - as above
        return all(waiting.event.event_id != event.event_id for waiting in unwritten)


def run_gate(request: dict[str, Any]) -> int:
    """The life of one gate, in a process of its own."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for mine, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(mine, standard)
    os.setsid()
    keep_journal(request["journal"])
    largest_file = request.get("largest_file_bytes")
    if largest_file is not None:
        # The kernel refuses what lies beyond, as a full disk does; the soft limit can be lifted from outside.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    return main(request["arguments"])


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = run_gate(request)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        # Not sys.exit: what the parent registered is the parent's to clean up. A gate whose thread hangs must end too.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _reap(running: set[int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        running.discard(pid)
        print(f"ended {pid} {os.waitstatus_to_exitcode(status)}", flush=True)


def _import_what_a_gate_needs() -> None:
    import av  # noqa: F401
    import cv2  # noqa: F401
    import torch  # noqa: F401

    import gate.commands.run
    import gate.daemon
    import gate.quality.baselines
    import gate.reload  # noqa: F401


def serve() -> None:
    """Start what is asked for until standard input ends; gates that still run are killed then."""
    _import_what_a_gate_needs()
    running: set[int] = set()
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 0.05)
        _reap(running)
        if not readable:
            continue
        line = sys.stdin.readline()
        if not line:
            break
        pid = _fork(json.loads(line))
        running.add(pid)
        print(f"started {pid}", flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
