"""A TCP proxy that misbehaves on command, between a gate and its Redis or its camera."""

import contextlib
import random
import socket
import struct
import threading
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

POLL_S = 0.05
CHUNK_BYTES = 65_536


class Fault(Enum):
    """What the proxy does to every connection, old and new, until it is told otherwise."""

    NONE = "none"
    CUT = "cut"
    """Connections are closed in both directions, new ones at once."""

    RESET = "reset"
    """As `CUT`, with RST in place of FIN."""

    STALL = "stall"
    """Nothing passes; what was sent is kept, and is delivered later even if its sender has left meanwhile."""

    DELAY = "delay"
    """Every chunk waits `delay_s` in each direction."""

    BLACK_HOLE = "black hole"
    """New connections are taken, everything is swallowed, nothing is ever answered."""

    LOST_REPLY = "lost reply"
    """Requests pass; the first reply to one that holds `marker` is swallowed and the connection cut."""

    CORRUPT_REPLIES = "corrupt replies"
    """One byte of every chunk of the server is another."""

    CORRUPT_REQUESTS = "corrupt requests"
    """One byte of every chunk of the client is another."""

    SLOW_LORIS = "slow loris"
    """Replies come a byte a second."""


class Proxy:
    """Listens on a free port of this machine and forwards to `upstream`.

    Args:
        upstream: port on this machine.
        marker: what a request holds whose reply is worth losing.
        seed: of the damage.
    """

    def __init__(self, upstream: int, *, marker: bytes = b"XADD", delay_s: float = 0.3, seed: int = 0) -> None:
        self._upstream = upstream
        self._marker = marker
        self._delay_s = delay_s
        self._dice = random.Random(seed)
        self._changed = threading.Condition()
        self._fault = Fault.NONE
        self._closing = False
        self._threads: list[threading.Thread] = []
        self.connections = 0
        self.harmed = 0
        """How often something was cut, withheld, delayed, swallowed or changed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def fault(self) -> Fault:
        """What is done now."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()

    @property
    def closing(self) -> bool:
        """Whether the proxy is to end."""
        return self._closing

    def close(self) -> None:
        """Cut everything and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # Closing alone would not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(5)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def harm(self) -> None:
        """Count one."""
        with self._changed:
            self.harmed += 1

    def hold(self, seconds: float, *, whilst: Fault) -> bool:
        """Wait for so long, or until another fault is in force; true when it is, or the proxy ends."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing or self._fault is not whilst, seconds)

    def damaged(self, data: bytes) -> bytes:
        """`data` with one byte changed."""
        with self._changed:
            place, change = self._dice.randrange(len(data)), self._dice.randrange(1, 256)
        return data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="proxy", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._upstream), 5)
        except OSError:
            client.close()
            return
        link = Link(self, client, server, self._marker, self._delay_s)
        for requests in (True, False):
            self._start(link.pump, requests)


_PATIENT_S = 3600.0
"""A server that is paused may leave a request unread for as long as that lasts."""


class Link:
    """One connection through the proxy; a thread for each direction."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, server: socket.socket, marker: bytes, delay_s: float
    ) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._marker, self._delay_s = marker, delay_s
        self._lock = threading.Lock()
        self._running = 2
        self._over = False
        self._reset = False
        self._client_left = False
        self._reply_is_worth_losing = False
        self._swallowed = False
        for end in (client, server):
            end.settimeout(POLL_S)
        # What is read and what is written have time-outs of their own: changing the one socket's between the two would
        # make the other direction's read fail now and then.
        self._to_client, self._to_server = client.dup(), server.dup()
        self._to_client.settimeout(5)
        self._to_server.settimeout(_PATIENT_S)

    def pump(self, requests: bool) -> None:  # noqa: FBT001 - a direction
        """Forward one direction until the connection is over."""
        source, target = (self._client, self._to_server) if requests else (self._server, self._to_client)
        with contextlib.suppress(OSError):
            while not self._is_over(requests):
                try:
                    data = source.recv(CHUNK_BYTES)
                except TimeoutError:
                    continue
                if not data:
                    self._end_of(requests)
                    break
                self._pass(data, target, requests)
        self._finish(requests)

    def _is_over(self, requests: bool) -> bool:  # noqa: FBT001 - a direction
        fault = self._proxy.fault
        if fault in {Fault.CUT, Fault.RESET}:
            self._proxy.harm()
            self._over, self._reset = True, fault is Fault.RESET
        if self._swallowed and fault is not Fault.BLACK_HOLE:
            # What went missing can never be made good; no TCP connection goes on after that.
            self._over = True
        return self._over or self._proxy.closing or (not requests and self._client_left)

    def _end_of(self, requests: bool) -> None:  # noqa: FBT001 - a direction
        if requests:
            self._client_left = True
        else:
            self._over = True

    def _pass(self, data: bytes, target: socket.socket, requests: bool) -> None:  # noqa: FBT001 - a direction
        fault, proxy = self._proxy.fault, self._proxy
        if fault is Fault.STALL:
            proxy.harm()
            while not proxy.hold(60, whilst=fault):
                pass
        elif fault is Fault.DELAY:
            proxy.harm()
            proxy.hold(self._delay_s, whilst=fault)
        elif fault is Fault.BLACK_HOLE:
            proxy.harm()
            self._swallowed = True
            return
        elif fault is Fault.LOST_REPLY:
            if requests:
                self._reply_is_worth_losing |= self._marker in data
            elif self._reply_is_worth_losing:
                proxy.harm()
                self._over = True
                return
        elif fault is (Fault.CORRUPT_REQUESTS if requests else Fault.CORRUPT_REPLIES):
            proxy.harm()
            data = proxy.damaged(data)
        elif fault is Fault.SLOW_LORIS and not requests:
            data = self._drip(data, target)
        target.sendall(data)

    def _drip(self, data: bytes, target: socket.socket) -> bytes:
        """Send a byte a second as long as that is the fault; returns what is left."""
        while data and not self._client_left:
            target.sendall(data[:1])
            self._proxy.harm()
            data = data[1:]
            if self._proxy.hold(1.0, whilst=Fault.SLOW_LORIS):
                break
        return data

    def _finish(self, requests: bool) -> None:  # noqa: FBT001 - a direction
        self._end_of(requests)
        with self._lock:
            self._running -= 1
            if self._running:
                return
        for copy in (self._to_client, self._to_server):
            copy.close()
        for end in (self._client, self._server):
            if self._reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
