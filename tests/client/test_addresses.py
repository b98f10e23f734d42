"""A consumer reaches what a gate can publish to: clusters, and servers behind Sentinels."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.publish.connect import FAULTS, open_client
from gate.publish.embedded import EmbeddedRedis, redis_binary
from gate.publish.event import FaceEvent, encode
from tests.client.conftest import wait_until
from tests.e2e.conftest import free_port

pytestmark = pytest.mark.slow

Make = Callable[..., FaceEvent]
Open = Callable[..., Any]
STREAMS = ["faces:door", "faces:lobby"]


def cluster_port() -> int:
    """A free port whose sum with 10,000, where the nodes talk, is one as well."""
    while (port := free_port()) > 55535:
        time.sleep(0)
    return port


@pytest.fixture
def cluster_url(tmp_path: Path) -> Iterator[str]:
    options = ("--cluster-enabled", "yes", "--cluster-config-file", str(tmp_path / "nodes.conf"))
    with EmbeddedRedis(tcp_port=cluster_port(), options=options) as server:
        node = open_client(server.url)
        node.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: b"cluster_state:ok" in bytes(str(node.execute_command("CLUSTER", "INFO")), "utf-8"))
        node.disconnect()
        assert server.tcp_url is not None
        yield server.tcp_url.replace("redis://", "redis+cluster://").removesuffix("/0")


@pytest.fixture
def sentinel_url(tmp_path: Path) -> Iterator[str]:
    with EmbeddedRedis(tcp_port=0) as server:
        assert server.tcp_url is not None
        master, port = server.tcp_url.removeprefix("redis://").removesuffix("/0").split(":"), free_port()
        config = tmp_path / "sentinel.conf"
        config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor door {master[0]} {master[1]} 1\n")
        with subprocess.Popen([redis_binary(), str(config), "--sentinel"], stdout=subprocess.DEVNULL) as sentinel:
            probe = open_client(f"redis://127.0.0.1:{port}")

            def answers() -> bool:
                try:
                    return bool(probe.execute_command("PING"))
                except FAULTS:
                    return False

            try:
                wait_until(answers)
                probe.disconnect()
                yield f"redis+sentinel://127.0.0.1:{port}/door"
            finally:
                sentinel.terminate()


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
@pytest.mark.parametrize("group", ["recognizers", None])
def test_faces_are_read_and_acknowledged(
    request: pytest.FixtureRequest, open_at: Open, make_face: Make, kind: str, group: str | None
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    client = open_client(url)
    for number, stream in enumerate(STREAMS):
        client.execute_command(
            "XADD", stream, "*", *[word for pair in encode(make_face(number)).items() for word in pair]
        )
    consumer = open_at(url, stream=STREAMS, group=group, remember_s=None if group is None else 60)
    consumer.check()
    seen = []
    for face in consumer:
        seen.append(face.event.seq)
        if len(seen) == 2:
            consumer.stop()
    assert sorted(seen) == [0, 1]
    if group is not None:
        assert [lag.pending for lag in consumer.lag()] == [0, 0]
    client.disconnect()
