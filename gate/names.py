"""Names of hosts are looked up within a bounded time: the system's own lookup knows no time-out.

A name server that does not answer holds `getaddrinfo` for half a minute by default, and for ever where a module of the
system's name service hangs; FFmpeg and redis-py both call it on the way to a connection. Asked here first, such a name
costs its caller the time-out alone.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable


class Names:
    """Looks names up, each once at a time: a lookup that hangs is joined by who asks again, and not piled upon.

    Args:
        lookup: `socket.getaddrinfo`, or what stands in for it.
    """

    def __init__(self, lookup: Callable[[str, None], object] | None = None) -> None:
        self._lookup = lookup
        self._lock = threading.Lock()
        self._under_way: dict[str, _Lookup] = {}

    def check(self, host: str, timeout_s: float | None) -> None:
        """Return once `host` is known to have an address; at once for an address.

        Raises:
            TimeoutError: nobody said within `timeout_s`.
            socket.gaierror: it has none.
        """
        if not host or _is_address(host):
            return
        with self._lock:
            lookup = self._under_way.get(host)
            if lookup is None:
                lookup = self._under_way[host] = _Lookup()
                threading.Thread(target=self._run, args=(host, lookup), name="name-lookup", daemon=True).start()
        if not lookup.done.wait(timeout_s):
            raise TimeoutError("the name was not looked up in time")
        if lookup.problem is not None:
            raise socket.gaierror(*lookup.problem)

    def _run(self, host: str, lookup: "_Lookup") -> None:
        try:
            # Asked for when it is needed, so that a test may put another in its place.
            (self._lookup or socket.getaddrinfo)(host, None)
        except OSError as error:
            lookup.problem = error.args
        except ValueError:
            lookup.problem = (socket.EAI_NONAME, "not a name")
        finally:
            with self._lock:
                del self._under_way[host]
            lookup.done.set()


class _Lookup:
    """One that is under way, or done."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.problem: tuple[object, ...] | None = None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


NAMES = Names()
"""The one of this process."""
