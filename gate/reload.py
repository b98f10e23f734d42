"""Reads the configuration file again when it changes or when SIGHUP asks for it."""

import hashlib
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, Protocol

import structlog

from gate.config import GateConfig
from gate.config_change import ConfigChange
from gate.errors import GateError

log = structlog.get_logger(__name__)

POLL_S = 2.0
"""How often the file is looked at; a change is read once it was found the same twice."""

JOIN_TIMEOUT_S = 2.0
"""How long a stopping gate waits for a reload that is under way; it may be fetching weights."""

_Wish = Literal["read", "leave"]


class ReloadReport(Protocol):
    """Who is told what became of a reload."""

    def reloaded(self, names: dict[str, list[str]]) -> None:
        """Another configuration is in force."""
        ...

    def kept(self, problem: str) -> None:
        """The file cannot be used: the old configuration stays in force."""
        ...


class ConfigFile:
    """The file a configuration was read from. Make it before the file is read, lest a change in between is missed.

    Its content is compared, not its time: a time may be as coarse as two seconds, and a file of a few kilobytes is
    read in 20 µs. By its path, so an editor or an orchestrator may put another file in its place.

    Args:
        path: The file, as given with -c.
        load: Reads and validates it as the start did. Raises `GateError`.
    """

    def __init__(self, path: Path, load: Callable[[], GateConfig]) -> None:
        self._path = path
        self.load = load
        # A pipe can be read only once, and that is for the start.
        self.can_be_read_again = path.is_file()
        self._known = self._seen = self._digest()

    def remember(self) -> None:
        """The file is read as it is now: this content is not news any more."""
        self._known = self._seen = self._digest()

    def has_changed(self) -> bool:
        """Whether there is another content since `remember`, the same as at the last look: it is not half written."""
        if not self.can_be_read_again:
            return False
        former, self._seen = self._seen, self._digest()
        return self._seen == former != self._known

    def _digest(self) -> bytes:
        """Of the content; empty where there is none, such as while one file takes another's place."""
        if not self.can_be_read_again:
            return b""
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:
            return b""


class Reloader:
    """The thread that reads the file again.

    Args:
        file: Where the configuration came from; None or a pipe where it cannot be read again.
        change_to: Puts a configuration in force. Raises `GateError`, and then the old one stays.
        report: Is told what became of it.
        poll_s: How often to look at the file.
        during: Entered for each reading of the file.
    """

    def __init__(
        self,
        file: ConfigFile | None,
        change_to: Callable[[GateConfig], ConfigChange],
        report: ReloadReport,
        poll_s: float = POLL_S,
        *,
        during: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._file = file if file is not None and file.can_be_read_again else None
        self._change_to = change_to
        self._report = report
        self._during = during
        self._poll_s = None if self._file is None else poll_s
        # The one queue whose `put` a signal handler may call: it takes no lock that the handler's thread could hold.
        self._wishes: queue.SimpleQueue[_Wish] = queue.SimpleQueue()
        self._left = False
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self) -> None:
        """Read the file again whether or not it changed; returns at once. Safe in a signal handler."""
        self._wishes.put("read")

    def close(self) -> None:
        """End the thread."""
        self._left = True
        self._wishes.put("leave")
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while not self._left:
            try:
                wish: _Wish | None = self._wishes.get(timeout=self._poll_s)
            except queue.Empty:
                wish = None
            if wish == "leave":
                return
            if self._file is None:
                self._refuse()
            elif wish == "read" or self._file.has_changed():
                with self._during():
                    self._reload(self._file)

    def _refuse(self) -> None:
        # Also this is an answer: who asked for a reload waits for its end.
        with self._during():
            log.warning("no_config_file", problem="there is no file to read again: the gate was started without -c")

    def _reload(self, file: ConfigFile) -> None:
        file.remember()
        try:
            change = self._change_to(file.load())
        except GateError as error:
            # What fails because the gate ends is no fault of the file.
            if not self._left:
                self._report.kept(str(error))
        except Exception as error:
            log.exception("reload_failed")
            self._report.kept(f"unexpected {type(error).__name__}; the log says where")
        else:
            self._report.reloaded(change.names)
