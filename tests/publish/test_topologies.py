"""Publishing to Redis behind Sentinels, to a cluster, and over TLS, with real servers."""

import contextlib
import datetime as dt
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.clock import SystemClock
from gate.errors import PublishError
from gate.publish.clients import ClusterClient
from gate.publish.connect import FAULTS, Tls, open_client, shown
from gate.publish.embedded import redis_binary
from gate.publish.event import FaceEvent
from gate.publish.publisher import Publisher
from gate.publish.redis_sink import RedisSink
from gate.publish.retry import RetryDelays
from gate.publish.sink import FaultCause, SinkError
from tests.publish.test_delivery import Told

REPOSITORY = Path(__file__).resolve().parents[2]
Make = Callable[..., FaceEvent]


class Servers:
    """Redis processes on loopback ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binary = shutil.which("redis-server") or redis_binary()
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *options: str, port: int | None = None, config: str | None = None) -> int:
        port = free_port() if port is None else port
        folder = self._folder / str(port)
        folder.mkdir()
        (folder / "redis.conf").write_text((config or "save ''\n") + f"port {port}\nbind 127.0.0.1\ndir {folder}\n")
        command = [self._binary, str(folder / "redis.conf"), *options]
        self.processes[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(lambda: call(port, "PING") is not None)
        return port

    def kill(self, port: int) -> None:
        process = self.processes.pop(port)
        process.kill()
        process.wait()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    try:
        started = Servers(tmp_path)
    except PublishError as error:
        pytest.skip(str(error))
    yield started
    for port in list(started.processes):
        started.kill(port)


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        # A node of a cluster listens 10,000 ports above as well.
        if port < 50_000:
            return port


def call(port: int, *command: Any) -> Any:
    client = open_client(f"redis://127.0.0.1:{port}/0", None, 2.0)
    try:
        return client.execute_command(*command)
    except FAULTS:
        return None
    finally:
        client.disconnect()


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.05)


def ids_at(port: int, key: str) -> list[str]:
    return [fields[b"event_id"].decode() for _, fields in call(port, "XRANGE", key, "-", "+") or ()]


@pytest.fixture
def publish() -> Iterator[Callable[..., Publisher]]:
    made: list[Publisher] = []

    def make(sink: RedisSink, told: Told) -> Publisher:
        retry = RetryDelays(first_s=0.02, longest_s=0.1)
        made.append(Publisher(sink, clock=SystemClock(), observer=told, retry=retry, heartbeat_s=0.1))
        made[-1].start()
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


@pytest.mark.slow
def test_a_failover_by_sentinels_costs_no_event_that_waits_and_doubles_none(
    servers: Servers, publish: Callable[..., Publisher], make_face: Make
) -> None:
    master = servers.start()
    replica = servers.start("--replicaof", "127.0.0.1", str(master))
    config = (
        f"sentinel monitor doors 127.0.0.1 {master} 2\nsentinel down-after-milliseconds doors 500\n"
        "sentinel failover-timeout doors 2000\n"
    )
    sentinels = [servers.start("--sentinel", config=config) for _ in range(3)]
    until(lambda: b"master_link_status:up" in raw_info(replica))
    until(lambda: all(seen_by(port, "num-other-sentinels") == b"2" for port in sentinels))
    until(lambda: all(seen_by(port, "num-slaves") == b"1" for port in sentinels))
    url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in sentinels)}/doors/0"
    told = Told()
    publisher = publish(RedisSink(url, clock=SystemClock(), timeout_s=1.0), told)
    for number in range(50):
        publisher.offer(make_face(number))
    assert publisher.drain(20) == 0
    until(lambda: len(ids_at(replica, "facegate:faces")) == 50)
    servers.kill(master)
    servers.kill(sentinels[0])
    for number in range(50, 100):
        publisher.offer(make_face(number))
    assert publisher.drain(60) == 0
    assert ids_at(replica, "facegate:faces") == [make_face(number).event_id for number in range(100)]
    assert told.lost == 0
    assert told.published_events == 100


def raw_info(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(b"INFO replication\r\n")
        return connection.recv(1 << 16)


def seen_by(sentinel: int, fact: str) -> bytes:
    """What a Sentinel knows of the master."""
    reply = call(sentinel, "SENTINEL", "MASTER", "doors") or []
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    return bytes(facts.get(fact.encode(), b""))


@pytest.mark.slow
def test_sentinels_that_know_no_such_master_are_told_as_such(servers: Servers) -> None:
    port = servers.start("--sentinel", config="\n")
    sink = RedisSink(f"redis+sentinel://127.0.0.1:{port}/doors", clock=SystemClock(), timeout_s=1.0)
    with pytest.raises(SinkError, match="no Sentinel names a master of that name") as caught:
        sink.check()
    assert caught.value.cause is FaultCause.NO_MASTER
    assert f"redis+sentinel://127.0.0.1:{port}:" in str(caught.value)
    sink.close()


@pytest.fixture
def cluster(servers: Servers) -> list[int]:
    """Three nodes that share the slots."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    ports = [servers.start(*options) for _ in range(3)]
    for place, port in enumerate(ports):
        share = range(16384 * place // 3, 16384 * (place + 1) // 3)
        call(port, "CLUSTER", "ADDSLOTS", *share)
        call(port, "CLUSTER", "MEET", "127.0.0.1", ports[0])
    until(lambda: all(b"cluster_state:ok" in call(port, "CLUSTER", "INFO") for port in ports))
    return ports


@pytest.mark.slow
def test_a_cluster_gets_each_camera_s_events_once_in_order_on_its_node(
    cluster: list[int], publish: Callable[..., Publisher], make_face: Make
) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster[0]},127.0.0.1:{cluster[1]}"
    sink = RedisSink(url, clock=SystemClock(), stream="faces:{camera}", timeout_s=2.0, max_age_s=3600)
    assert sink.check().startswith("Redis ")
    sink.check_streams([f"c{camera}" for camera in range(6)])
    told = Told()
    publisher = publish(sink, told)
    for number in range(120):
        publisher.offer(make_face(number, camera=f"c{number % 6}"))
    assert publisher.drain(30) == 0
    nodes = set()
    for camera in range(6):
        found = [(port, ids) for port in cluster if (ids := ids_at(port, f"faces:c{camera}"))]
        assert [ids for _, ids in found] == [[make_face(number).event_id for number in range(camera, 120, 6)]]
        nodes.add(found[0][0])
    assert len(nodes) > 1, "the streams are spread"


@pytest.mark.slow
def test_a_slot_that_moves_to_another_node_is_followed(
    cluster: list[int], publish: Callable[..., Publisher], make_face: Make
) -> None:
    sink = RedisSink(f"redis+cluster://127.0.0.1:{cluster[0]}", clock=SystemClock(), stream="faces:{camera}")
    told = Told()
    publisher = publish(sink, told)
    publisher.offer(make_face(0, camera="door"))
    assert publisher.drain(30) == 0
    slot = call(cluster[0], "CLUSTER", "KEYSLOT", "faces:lobby")
    owner = next(port for port in cluster if slot * 3 // 16384 == cluster.index(port))
    other = next(port for port in cluster if port != owner)
    target = call(other, "CLUSTER", "MYID").decode()
    for port in (other, owner, *cluster):
        call(port, "CLUSTER", "SETSLOT", slot, "NODE", target)
    publisher.offer(make_face(1, camera="lobby"))
    assert publisher.drain(30) == 0
    assert ids_at(other, "faces:lobby") == [make_face(1).event_id]
    assert told.causes["moved"] >= 1


@pytest.mark.slow
def test_a_reply_of_a_node_that_is_lost_makes_nobody_send_again_by_himself(cluster: list[int], make_face: Make) -> None:
    client = open_client(f"redis+cluster://127.0.0.1:{cluster[0]}", None, 1.0)
    assert isinstance(client, ClusterClient)
    pipeline = client.pipeline(transaction=False)
    for number in range(20):
        pipeline.execute_command("XADD", f"s:{number}", "*", "a", number)
    assert len(pipeline.execute(raise_on_error=False)) == 20
    sent: list[Any] = []
    node = client.cluster().get_node_from_key("s:0")
    connection_pool = client.cluster().get_redis_connection(node).connection_pool
    connection = connection_pool.get_connection()
    send = connection.send_packed_command

    def cut_after_sending(*args: Any, **kwargs: Any) -> None:
        send(*args, **kwargs)
        sent.append(args)
        # The server has it; its reply is lost.
        until(lambda: call(node.port, "XLEN", "s:0") == 2)
        connection._sock.recv(1 << 16)
        connection._sock.shutdown(socket.SHUT_RDWR)

    connection.send_packed_command = cut_after_sending
    connection_pool.release(connection)
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("XADD", "s:0", "*", "a", "b")
    with pytest.raises(FAULTS):
        pipeline.execute(raise_on_error=False)
    client.disconnect()
    assert len(sent) == 1
    assert call(node.port, "XLEN", "s:0") == 2


class Authority:
    """A certificate authority of this test, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key, self._certificate = self._make("authority", None)
        self.ca_file = folder / "authority.crt"

    def sign(self, name: str) -> tuple[Path, Path]:
        self._make(name, self._key)
        return self._folder / f"{name}.crt", self._folder / f"{name}.key"

    def _make(self, name: str, issuer_key: Any) -> tuple[Any, Any]:
        import ipaddress

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = subject if issuer_key is None else self._certificate.subject
        now = dt.datetime.now(dt.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer_key is None, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        )
        certificate = builder.sign(issuer_key or key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        (self._folder / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self._folder / f"{name}.key").write_bytes(key.private_bytes(pem, *plain))
        return key, certificate


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "certificates").mkdir()
    return Authority(tmp_path / "certificates")


class TlsProxy:
    """Speaks TLS in front of a plain server, and wants a certificate of its clients."""

    def __init__(self, upstream_port: int, authority: Authority) -> None:
        self._upstream_port = upstream_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.sign("server"))
        self._context.load_verify_locations(authority.ca_file)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            client = self._context.wrap_socket(plain, server_side=True)
            with client, socket.create_connection(("127.0.0.1", self._upstream_port)) as server:
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=["server", "proxy"])
def tls_port(request: pytest.FixtureRequest, servers: Servers, authority: Authority) -> Iterator[int]:
    """A port that speaks TLS alone: redis-server's own where it was built with it, and a proxy's."""
    if request.param == "proxy":
        proxy = TlsProxy(servers.start(), authority)
        yield proxy.port
        proxy.close()
        return
    port = free_port()
    certificate, key = authority.sign("server")
    files = (
        "--tls-cert-file",
        str(certificate),
        "--tls-key-file",
        str(key),
        "--tls-ca-cert-file",
        str(authority.ca_file),
    )
    command = [servers._binary, "--port", "0", "--tls-port", str(port), *files, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or listens(port))
        if process.poll() is not None:
            pytest.skip("this redis-server was built without TLS")
        yield port
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_tls_with_an_own_authority_and_a_client_certificate(
    tls_port: int, authority: Authority, tmp_path: Path, make_face: Make
) -> None:
    url = f"rediss://localhost:{tls_port}/0"
    certificate, key = authority.sign("gate")

    def sink(tls: Tls) -> RedisSink:
        return RedisSink(
            url,
            clock=SystemClock(),
            timeout_s=3.0,
            connect=lambda address, password, timeout_s: open_client(address, password, timeout_s, tls=tls),
        )

    good = sink(Tls(authority.ca_file, certificate, key))
    good.send([make_face(0)])
    assert good.check().startswith("Redis ")
    good.close()
    (tmp_path / "elsewhere").mkdir()
    stranger = Authority(tmp_path / "elsewhere")
    for wrong in (Tls(), Tls(stranger.ca_file, certificate, key), Tls(authority.ca_file)):
        refused = sink(wrong)
        with pytest.raises(SinkError) as caught:
            refused.send([make_face(1)])
        assert caught.value.cause in {FaultCause.TLS, FaultCause.DISCONNECTED}
        refused.close()


def test_certificates_that_cannot_be_read_are_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "not.crt").write_text("nothing")
    for tls in (
        Tls(ca_file=tmp_path / "missing"),
        Tls(ca_file=tmp_path / "not.crt"),
        Tls(cert_file=tmp_path / "not.crt"),
    ):
        with pytest.raises(SinkError, match=r"a file of redis\.(ca_file|cert_file|key_file)") as caught:
            open_client("rediss://host", tls=tls)
        assert caught.value.cause is FaultCause.BAD_ADDRESS


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://h:26379", "the name of the master is missing"),
        ("redis+sentinel://h:x/doors", "malformed"),
        ("redis+cluster://h:7000/3", "one database only"),
        ("redis+cluster://h:99999", "malformed"),
        ("redis+cluster://,", "malformed"),
        ("redis+other://h", "expected redis://"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str, problem: str) -> None:
    with pytest.raises(SinkError, match=problem):
        open_client(url)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis+sentinel://gate:hunter2@a:1,b:2/doors/0", "redis+sentinel://a:1,b:2"),
        ("rediss+cluster://:hunter2@[::1]:1,b", "rediss+cluster://[::1]:1,b"),
        ("redis+sentinel://gate:hun/ter2@a:1,b:2/doors", "redis+sentinel://…"),
        ("redis+sentinel://gate:hun,ter2@a:1/doors", "redis+sentinel://a:1"),
    ],
)
def test_no_address_shows_a_password(url: str, seen: str) -> None:
    assert shown(url) == seen


@pytest.mark.slow
def test_the_documented_rights_are_enough_in_a_cluster(
    cluster: list[int], publish: Callable[..., Publisher], make_face: Make
) -> None:
    more = rights_of("gate in a cluster")
    for port in cluster:
        call(port, "ACL", "SETUSER", "gate", "on", ">hunter2", "~faces:*", "-@all", *rights_of("gate"), *more)
    url = f"redis+cluster://gate:hunter2@127.0.0.1:{cluster[0]}"
    sink = RedisSink(url, clock=SystemClock(), stream="faces:{camera}", timeout_s=2.0, max_age_s=3600)
    sink.check_streams(["door", "lobby"])
    told = Told()
    publisher = publish(sink, told)
    for number in range(10):
        publisher.offer(make_face(number, camera=("door", "lobby")[number % 2]))
    sink.doubt([make_face(0)])
    assert publisher.drain(20) == 0
    assert not told.causes


@pytest.mark.slow
def test_the_documented_rights_are_enough_on_sentinels(servers: Servers, make_face: Make, tmp_path: Path) -> None:
    master = servers.start()
    sentinel = servers.start("--sentinel", config=f"sentinel monitor doors 127.0.0.1 {master} 1\n")
    rights = rights_of("gate on Sentinels")
    call(sentinel, "ACL", "SETUSER", "default", "reset", "on", ">hunter2", "-@all", *rights)
    sink = RedisSink(
        f"redis+sentinel://127.0.0.1:{sentinel}/doors",
        clock=SystemClock(),
        connect=lambda url, password, timeout_s: open_client(url, password, timeout_s, sentinel_password="hunter2"),
    )
    sink.send([make_face(0)])
    assert ids_at(master, "facegate:faces") == [make_face(0).event_id]
    sink.close()


def rights_of(whom: str) -> list[str]:
    """The rights that the documentation gives somebody."""
    page = (REPOSITORY / "docs" / "delivery.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {whom} |"))
    return [word.replace("\\", "").strip(",") for word in line.replace("`", " ").split() if word.startswith("+")]
