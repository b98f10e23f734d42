"""Errors of Redis are told apart and say what to do, and never a secret."""

import socket
import ssl
import traceback
from typing import Any

import pytest

from gate.publish.connect import FAULTS, Client, fault, open_client
from gate.publish.sink import FaultCause, SinkError

SECRET = "hunter2"


def cause_of(client: Client, url: str, *command: Any) -> FaultCause:
    try:
        with pytest.raises(FAULTS) as caught:
            client.execute_command(*command)
    finally:
        client.disconnect()
    error = caught.value
    assert isinstance(error, Exception)
    problem = fault(error, url)
    assert SECRET not in str(problem)
    return problem.cause


def test_a_missing_and_a_wrong_password_are_told_as_such(redis_server: Any) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", SECRET)
    assert cause_of(open_client(redis_server.url), redis_server.url, "PING") is FaultCause.AUTH
    wrong = open_client(redis_server.url, "wrong-" + SECRET)
    assert cause_of(wrong, redis_server.url, "PING") is FaultCause.AUTH
    assert redis_server.command("PING", password=SECRET) is True


def test_a_user_who_may_not_run_a_command_is_told_as_such(redis_server: Any) -> None:
    redis_server.command("ACL", "SETUSER", "cam", "on", f">{SECRET}", "+ping", "~*")
    url = f"unix://cam:{SECRET}@{redis_server.socket}"
    assert cause_of(open_client(url), url, "XADD", "s", "*", "a", "1") is FaultCause.DENIED


@pytest.mark.parametrize(
    ("setting", "command", "cause"),
    [
        (("SET", "s", "text"), ("XADD", "s", "*", "a", "1"), FaultCause.WRONG_TYPE),
        (("CONFIG", "SET", "maxmemory", "1"), ("XADD", "s", "*", "a", "1"), FaultCause.FULL),
        (("REPLICAOF", "127.0.0.1", "1"), ("XADD", "s", "*", "a", "1"), FaultCause.READ_ONLY),
        (("PING",), ("NONSENSE",), FaultCause.OTHER),
    ],
)
def test_what_the_server_refuses_is_told_apart(
    redis_server: Any, setting: tuple[str, ...], command: tuple[str, ...], cause: FaultCause
) -> None:
    redis_server.command(*setting)
    assert cause_of(open_client(redis_server.url), redis_server.url, *command) is cause


def test_nobody_listening_is_told_as_refused(redis_server: Any) -> None:
    redis_server.kill()
    assert cause_of(open_client(redis_server.url), redis_server.url, "PING") is FaultCause.REFUSED
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://cam:{SECRET}@127.0.0.1:{unused.getsockname()[1]}/0"
        assert cause_of(open_client(url), url, "PING") is FaultCause.REFUSED


def test_an_unknown_host_is_told_as_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: Any, **_kwargs: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    url = f"redis://:{SECRET}@nowhere.invalid:6379"
    assert cause_of(open_client(url), url, "PING") is FaultCause.UNREACHABLE


def test_a_frozen_server_is_told_as_a_time_out(redis_server: Any) -> None:
    redis_server.freeze()
    assert cause_of(open_client(redis_server.url, None, 0.05), redis_server.url, "PING") is FaultCause.TIMEOUT
    redis_server.thaw()


def test_a_port_that_speaks_no_tls_is_told_as_such() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"rediss://:{SECRET}@127.0.0.1:{listener.getsockname()[1]}"
        client = open_client(url, None, 0.05)
        assert cause_of(client, url, "PING") in {FaultCause.TLS, FaultCause.TIMEOUT}
    assert fault(ssl.SSLError("certificate verify failed: " + SECRET), url).cause is FaultCause.TLS


@pytest.mark.parametrize(
    "url",
    [
        f"http://{SECRET}@host",
        SECRET,
        f"user:{SECRET}@host:6379",
        f"redis://user:{SECRET}/x@host:port",
        f"redis://user:{SECRET}@host:99999999",
        f"redis://:{SECRET}@host/0?sockettimeout=1",
        f"redis://:{SECRET}@host/0?db=abc",
        f"redis://[{SECRET}",
        f"unix://?password={SECRET}",
        "",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SinkError) as caught:
        open_client(url)
    assert caught.value.cause is FaultCause.BAD_ADDRESS
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_the_url_cannot_turn_on_retries_of_the_library(redis_server: Any, lossy_proxy: Any) -> None:
    client = open_client(f"{lossy_proxy.url}?retry_on_timeout=true&decode_responses=true&protocol=3")
    assert client.execute_command("ECHO", "x") == b"x"
    lossy_proxy.lose_reply_to(b"XADD")
    assert cause_of(client, lossy_proxy.url, "XADD", "s", "*", "a", "1") is FaultCause.DISCONNECTED
    assert redis_server.command("XLEN", "s") == 1
