import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.clock import SystemClock
from gate.config_http import TlsConfig
from gate.errors import ConfigError
from gate.observe.access import Access
from gate.observe.answer import Response
from gate.observe.http import HttpServer, Limits
from gate.observe.observer import Observer
from gate.observe.request import Request
from gate.observe.routes import build_routes
from gate.observe.tls import Tls, earliest_expiry_s

ASK = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


def issue(folder: Path, name: str, *, days: int = 3, authority: Path | None = None) -> Path:
    """A certificate for localhost and beside it its key, signed by itself or by another."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(cert)]
    by = [] if authority is None else ["-CA", str(authority), "-CAkey", str(authority.with_suffix(".key"))]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", str(days)]
    subprocess.run(["openssl", "req", "-x509", *new, *by, *names], check=True, capture_output=True, timeout=60)
    return cert


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    issue(folder, "server")
    issue(folder, "later", days=300)
    authority = issue(folder, "authority")
    issue(folder, "client", authority=authority)
    issue(folder, "stranger")
    return folder


def tls_of(folder: Path, name: str = "server", **more: Path) -> Tls:
    return Tls(TlsConfig(cert_file=folder / f"{name}.pem", key_file=folder / f"{name}.key", **more))


def hello(request: Request) -> Response:
    return Response(b"known" if request.has_certificate else b"unknown")


def client(folder: Path, certificate: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "server.pem"))
    if certificate is not None:
        context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    return context


def ask(server: HttpServer, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(server.address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(ASK)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@pytest.fixture
def server(folder: Path) -> Iterator[HttpServer]:
    tls = tls_of(folder, client_ca_file=folder / "authority.pem")
    with HttpServer("127.0.0.1", 0, {"/hello": hello}, limits=Limits(request_s=1.0, connections=4), tls=tls) as server:
        yield server


def test_https_is_spoken_to_clients_with_and_without_a_certificate(server: HttpServer, folder: Path) -> None:
    assert server.url.startswith("https://")
    assert ask(server, client(folder)).endswith(b"\r\n\r\nunknown")
    assert ask(server, client(folder, "client")).endswith(b"\r\n\r\nknown")


def test_a_certificate_of_another_authority_is_refused(server: HttpServer, folder: Path) -> None:
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|closed"):
        ask(server, client(folder, "stranger"))


def test_handshakes_that_never_end_block_nobody_and_are_cut_off(server: HttpServer, folder: Path) -> None:
    silent = [socket.create_connection(server.address, timeout=10) for _ in range(8)]
    try:
        assert ask(server, client(folder)).endswith(b"unknown")
        silent[-1].sendall(b"\x16\x03\x01")
        for connection in silent:
            assert connection.recv(1) == b""
    finally:
        for connection in silent:
            connection.close()


def test_a_client_that_speaks_no_tls_gets_no_answer(server: HttpServer, folder: Path) -> None:
    with socket.create_connection(server.address, timeout=10) as plain:
        plain.sendall(ASK)
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(65536)
    assert ask(server, client(folder)).endswith(b"unknown")


def test_a_renewed_certificate_is_taken_over_and_a_broken_one_is_not(folder: Path, tmp_path: Path) -> None:
    for suffix in ("pem", "key"):
        shutil.copy(folder / f"server.{suffix}", tmp_path / f"now.{suffix}")
    tls = tls_of(tmp_path, "now")
    first = tls.expires_s
    (tmp_path / "now.pem").write_text("broken")
    assert tls.expires_s == first
    for suffix in ("key", "pem"):
        shutil.copy(folder / f"later.{suffix}", tmp_path / f"now.{suffix}")
    assert tls.expires_s > first + 200 * 86400


def test_when_the_certificate_expires_is_a_metric(folder: Path) -> None:
    observer = Observer(SystemClock())
    scrape = build_routes(observer, Access(SystemClock()))["/metrics"]
    assert b"http_certificate_expiry_timestamp_seconds{" not in scrape(Request("GET", "/metrics", "", {})).body
    tls = tls_of(folder)
    observer.watch_certificate(lambda: tls.expires_s)
    line = b'facegate_http_certificate_expiry_timestamp_seconds{certificate="server"}'
    (found,) = [row for row in scrape(Request("GET", "/metrics", "", {})).body.splitlines() if row.startswith(line)]
    assert 2 * 86400 < float(found.split()[-1]) - time.time() < 4 * 86400


def test_the_earliest_of_a_chain_counts(folder: Path) -> None:
    chain = (folder / "later.pem").read_text() + (folder / "server.pem").read_text()
    assert earliest_expiry_s(chain, folder) == tls_of(folder).expires_s


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"cert_file": "nowhere"}, "http.tls.cert_file .*nowhere: No such file"),
        ({"cert_file": "server.key"}, "http.tls.cert_file .*server.key: no readable PEM certificate"),
        ({"key_file": "later.key"}, "http.tls.key_file .*later.key: it is not the key of the certificate"),
        ({"key_file": "server.pem"}, "http.tls.key_file .*server.pem: not a PEM file"),
        ({"client_ca_file": "server.key"}, "http.tls.client_ca_file .*server.key: "),
    ],
)
def test_files_that_cannot_be_used_are_told_by_their_key(folder: Path, files: dict[str, str], message: str) -> None:
    named = {"cert_file": "server.pem", "key_file": "server.key", **files}
    with pytest.raises(ConfigError, match=message):
        Tls(TlsConfig(**{key: folder / name for key, name in named.items()}))


def test_a_key_behind_a_passphrase_is_refused_instead_of_asking_the_terminal(folder: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", str(folder / "server.key"), "-aes256", "-passout", "pass:hunter2", "-out"]
    subprocess.run([*command, str(locked)], check=True, capture_output=True, timeout=60)
    with pytest.raises(ConfigError, match="without a passphrase"):
        Tls(TlsConfig(cert_file=folder / "server.pem", key_file=locked))


@given(st.binary(max_size=200))
def test_any_bytes_in_place_of_a_certificate_are_refused(body: bytes) -> None:
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(body).decode()}\n-----END CERTIFICATE-----\n"
    with pytest.raises(ConfigError):
        earliest_expiry_s(pem, Path("x"))
