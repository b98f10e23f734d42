"""Whether events can be written to a stream, found out without writing one."""

from typing import Any

import redis

from gate.publish.connect import FAULTS, Client, fault, shown
from gate.publish.sink import FaultCause, SinkError


def check_rights(client: Client, key: str, *, url: str, trims: bool = False) -> None:
    """Try each command that a sink needs on `key`, in a form that changes nothing.

    Args:
        client: connected as the sink would be.
        key: the stream, which need not exist.
        url: for messages, where it is shown without secrets.
        trims: whether entries are removed by their age.

    Raises:
        SinkError: the user may not, the key holds something else, or the server takes no writes.
    """
    _try(client, url, "XRANGE", key, "0-1", "0-1", "COUNT", 1)
    _try(client, url, "XREVRANGE", key, "0-1", "0-1", "COUNT", 1)
    # No server takes an entry 0-0, but it says so only after it has looked at rights, role, disk and memory. Servers
    # before 6.2 take NOMKSTREAM for an id and refuse that one.
    _try(client, url, "XADD", key, "NOMKSTREAM", "0-0", "event_id", "check")
    if trims:
        _try(client, url, "TIME")
        _try(client, url, "XTRIM", key, "MINID", 0)


def _try(client: Client, url: str, command: str, *args: Any) -> None:
    try:
        client.execute_command(command, *args)
    except FAULTS as error:
        if command == "XADD" and isinstance(error, redis.ResponseError) and "ID specified" in str(error):
            return
        problem = fault(error, url)
        raise _with_remedy(problem, url, command, *args) from None


def _with_remedy(problem: SinkError, url: str, command: str, *args: Any) -> SinkError:
    where = f"Redis at {shown(url)}"
    if problem.cause is FaultCause.DENIED:
        on_key = f" on the key {args[0]!r}" if args else ""
        rights = f"+{command.lower()}" + (f" ~{args[0]}" if args else "")
        words = f"the user may not run {command}{on_key}; extend its ACL by {rights}"
        return SinkError(f"{where}: {words}", cause=problem.cause)
    if problem.cause is FaultCause.WRONG_TYPE:
        words = (
            f"the key {args[0]!r} holds something that is not a stream; set redis.stream to another key, or delete it"
        )
        return SinkError(f"{where}: {words}", cause=problem.cause)
    return problem
