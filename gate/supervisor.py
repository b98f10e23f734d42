"""Tells the service manager that started the gate how it is doing, in systemd's notification protocol.

A unit of `Type=notify` counts as started once the gate says so, shows its state in `systemctl status`, and is started
anew when the watchdog is not fed. Where nobody listens (`NOTIFY_SOCKET` is not set) every call does nothing.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import structlog

log = structlog.get_logger(__name__)

STATUS_S = 5.0
"""How often a change of state is looked for."""

FEEDINGS = 3
"""How often the watchdog is fed within its time: a machine that is busy for a moment misses one or two."""

_LONGEST_STATUS = 300
_JOIN_TIMEOUT_S = 2.0

Look = Callable[[], tuple[bool, str]]
"""Whether frames progress, and a line on how things stand; cheap, and safe to call from another thread."""


class Supervisor:
    """The service manager above this process.

    Args:
        address: Path of its datagram socket, or `@name` of an abstract one; None where there is none.
        watchdog_s: It ends a process that has not fed its watchdog for so long; None where it watches none.
        look: Asked before each feeding. The watchdog is fed only while it answers that frames progress.
    """

    def __init__(self, address: str | None, watchdog_s: float | None, look: Look) -> None:
        self._address = address
        self._look = look
        self._feeds = watchdog_s is not None
        self._period_s = STATUS_S if watchdog_s is None else min(STATUS_S, watchdog_s / FEEDINGS)
        self._lock = threading.Lock()
        self._phase: Literal["starting", "running", "stopping"] = "starting"
        self._status = ""
        self._starved = self._unheard = False
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @classmethod
    def from_environment(cls, look: Look, environment: Mapping[str, str] | None = None) -> "Supervisor":
        """The one that `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` name; no other process's watchdog."""
        given = os.environ if environment is None else environment
        address = given.get("NOTIFY_SOCKET", "")
        interval, owner = given.get("WATCHDOG_USEC", ""), given.get("WATCHDOG_PID", str(os.getpid()))
        watched = interval.isdecimal() and int(interval) > 0 and owner == str(os.getpid())
        return cls(address if address.startswith(("/", "@")) else None, int(interval) / 1e6 if watched else None, look)

    def start(self) -> None:
        """Feed the watchdog and tell the state from now on, in a thread of its own."""
        if self._address is not None:
            self._thread.start()

    def ready(self) -> None:
        """The gate runs."""
        with self._lock:
            self._phase = "running"
            self._send("READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """The configuration file is read within; whatever comes of it, a gate runs again afterwards."""
        # The manager takes only what is later than its own request for an answer to it; both read this clock.
        self._send_while_running("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self._send_while_running("READY=1")

    def stopping(self) -> None:
        """The gate ends: what was accepted is delivered first."""
        with self._lock:
            if self._phase != "stopping":
                self._phase = "stopping"
                self._send("STOPPING=1", "STATUS=delivering what was accepted")

    def close(self) -> None:
        """End the thread."""
        self._left.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            self._tell()
            if self._left.wait(self._period_s):
                return

    def _tell(self) -> None:
        progresses, words = self._look()
        status = " ".join(words.split())[:_LONGEST_STATUS]
        if self._feeds and not progresses and not self._starved:
            log.error("watchdog_not_fed", problem=status)
        self._starved = not progresses
        with self._lock:
            lines = ["WATCHDOG=1"] if self._feeds and progresses else []
            if status != self._status and self._phase != "stopping":
                self._status = status
                lines.append(f"STATUS={status}")
            if lines:
                self._send(*lines)

    def _send_while_running(self, *lines: str) -> None:
        with self._lock:
            if self._phase == "running":
                self._send(*lines)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # A zero byte in front is how the kernel writes an abstract address.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            # A gate that works must not end because nobody listens to how it is; the watchdog sees to the rest.
            if not self._unheard:
                log.warning("supervisor_not_told", problem=error.strerror or type(error).__name__)
            self._unheard = True
        else:
            self._unheard = False
