"""Folders, files, lists and archives, in an order that depends on names alone."""

import io
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gate.errors import GateError
from gate.scoring.fault import Failure, Why
from gate.scoring.images import MAX_FILE_BYTES
from gate.scoring.inputs import Entry, FileItem, FolderSource, Source, open_sources, read_list
from gate.scoring.tars import TarItem, TarSource

MakeTar = Callable[..., Path]


def paths_of(source: Source) -> list[str]:
    return [entry.path for entry in source]


def contents(entries: Iterable[Entry]) -> dict[str, object]:
    return {entry.path: None if isinstance(entry, Failure) else entry.read() for entry in entries}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode(errors="surrogateescape"))


def test_a_folder_gives_all_images_below_it_sorted_by_path(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.PNG", "b/10.jpg", "a-b/x.webp", "a/x.jpeg", "z.tif", "a/ü 1.bmp", "a/readme.txt", "a/noext")
    (source,) = open_sources([str(tmp_path)])
    names = [os.path.relpath(path, tmp_path) for path in paths_of(source)]
    assert names == ["a-b/x.webp", "a/x.jpeg", "a/ü 1.bmp", "b/10.jpg", "b/2.PNG", "z.tif"]
    assert source.expected() == 6
    assert source.ignored == 2


def test_a_folder_named_relatively_gives_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "faces/a.png")
    monkeypatch.chdir(tmp_path)
    assert [paths_of(source) for source in open_sources(["./faces/", "."])] == [["faces/a.png"], ["faces/a.png"]]


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    names = [os.path.relpath(path, tmp_path) for path in paths_of(FolderSource(tmp_path))]
    assert names == ["a/x.png", "linked/x.png"]


def test_a_dangling_link_is_a_failure_and_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (entry,) = FolderSource(tmp_path)
    assert isinstance(entry, FileItem)
    fault = entry.read()
    assert not isinstance(fault, bytes)
    assert fault.why is Why.UNREADABLE


def test_a_file_name_that_is_not_utf8_can_be_read(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123 - a Path cannot be made of bytes
        file.write(b"data")
    (entry,) = FolderSource(tmp_path)
    assert contents([entry]) == {os.fsdecode(name): b"data"}


def test_a_file_is_taken_whatever_its_extension(tmp_path: Path) -> None:
    touch(tmp_path, "face")
    (source,) = open_sources([str(tmp_path / "face")])
    assert contents(source) == {str(tmp_path / "face"): b"face"}


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    fault = FileItem(str(tmp_path / "big.png")).read()
    assert not isinstance(fault, bytes)
    assert fault.why is Why.TOO_LARGE


def test_what_does_not_exist_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="does not exist"):
        open_sources([str(tmp_path / "nothing")])
    with pytest.raises(GateError, match="No such file"):
        open_sources([], [str(tmp_path / "nothing.txt")])


@pytest.mark.parametrize("as_option", [True, False])
def test_a_list_gives_its_lines(tmp_path: Path, as_option: bool) -> None:
    listing = tmp_path / "list.txt"
    listing.write_bytes("\ufeffb/1 .png\r\n\n  \na.png\nfolder/ü.jpg".encode())
    (source,) = open_sources([], [str(listing)]) if as_option else open_sources([str(listing)])
    assert paths_of(source) == ["b/1 .png", "a.png", "folder/ü.jpg"]


def test_a_list_that_names_what_is_not_there_gives_failures_and_goes_on(tmp_path: Path) -> None:
    touch(tmp_path, "there.png")
    listing = tmp_path / "list.txt"
    listing.write_text(f"{tmp_path}/gone.png\n{tmp_path}\n{tmp_path}/there.png\n")
    results = [
        entry.read() for source in open_sources([str(listing)]) for entry in source if isinstance(entry, FileItem)
    ]
    assert [isinstance(result, bytes) for result in results] == [False, False, True]


def test_a_binary_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(GateError, match="not text"):
        read_list(tmp_path / "list.txt")


@pytest.mark.parametrize(("suffix", "compression"), [("tar", ""), ("tar.gz", "gz"), ("tgz", "gz"), ("tar.xz", "xz")])
def test_an_archive_gives_its_images_in_its_order(
    tmp_path: Path, make_tar: MakeTar, suffix: str, compression: str
) -> None:
    members = [("b/2.png", b"two"), ("notes.md", b"!"), ("a 1.JPG", b"one"), ("./c.png", b"")]
    path = make_tar(tmp_path / f"x.{suffix}", members, compression)
    (source,) = open_sources([str(path)])
    assert list(contents(source).items()) == [("b/2.png", b"two"), ("a 1.JPG", b"one"), ("./c.png", b"")]
    assert paths_of(source) == ["b/2.png", "a 1.JPG", "./c.png"]
    assert source.ignored == 1
    assert source.expected() == 3


def test_an_archives_size_is_estimated_on_the_way(tmp_path: Path, make_tar: MakeTar) -> None:
    path = make_tar(tmp_path / "x.tar", [(f"{n}.png", bytes(20_000)) for n in range(100)])
    source = TarSource(path)
    assert source.expected() is None
    entries = iter(source)
    for _ in range(50):
        next(entries)
    assert source.expected() == pytest.approx(100, rel=0.1)


HOSTILE = ["../../etc/cron.d/x.png", "/etc/passwd.png", "a/../../../b.png", "\x1b[2Jx.png", "C:\\x.png", "-rf.png"]


def test_hostile_names_are_labels_and_nothing_is_written(
    tmp_path: Path, make_tar: MakeTar, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "deep" / "down"
    work.mkdir(parents=True)
    path = make_tar(tmp_path / "x.tar", [(name, b"data") for name in HOSTILE])
    monkeypatch.chdir(work)
    before = sorted(tmp_path.rglob("*"))
    assert contents(TarSource(path)) == dict.fromkeys(HOSTILE, b"data")
    assert sorted(tmp_path.rglob("*")) == before


def test_links_and_devices_in_an_archive_are_failures(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.png")
            info.type = kind
            info.linkname = "/etc/passwd"
            archive.addfile(info)
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    entries = list(TarSource(path))
    assert len(entries) == 4
    assert all(isinstance(entry, Failure) for entry in entries)


def test_a_member_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("big.png")
    info.size = MAX_FILE_BYTES + 1
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf() + bytes(1024))
    first = next(iter(TarSource(path)))
    assert isinstance(first, Failure)
    assert first.fault.why is Why.TOO_LARGE


@pytest.mark.parametrize("compression", ["", "gz"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_truncated_archive_gives_what_is_there_and_a_failure(
    tmp_path: Path, make_tar: MakeTar, noise_png: Callable[[int], bytes], compression: str, share: float
) -> None:
    path = make_tar(tmp_path / "x.tar.gz", [(f"{n}.png", noise_png(n)) for n in range(10)], compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    *images, last = TarSource(path)
    assert 0 < len(images) < 10
    assert all(isinstance(entry, TarItem) for entry in images)
    assert isinstance(last, Failure)
    assert last.path == str(path)


def test_an_archive_cut_between_two_members_is_told(tmp_path: Path, make_tar: MakeTar) -> None:
    path = make_tar(tmp_path / "x.tar", [(f"{n}.png", bytes(512)) for n in range(4)])
    path.write_bytes(path.read_bytes()[: 2 * 1024])
    assert isinstance(list(TarSource(path))[-1], Failure)


def test_a_damaged_header_does_not_end_an_archive_silently(tmp_path: Path, make_tar: MakeTar) -> None:
    path = make_tar(tmp_path / "x.tar", [(f"{n}.png", bytes(512)) for n in range(4)])
    data = bytearray(path.read_bytes())
    data[2048:2060] = b"not a header"
    path.write_bytes(bytes(data))
    assert isinstance(list(TarSource(path))[-1], Failure)


@pytest.mark.parametrize("data", [b"", b"not an archive", bytes(100)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(GateError, match="cannot be read as an archive"):
        list(TarSource(tmp_path / "x.tar"))


def test_member_bytes_do_not_fill_a_repr() -> None:
    assert len(repr(TarItem("a.png", bytes(10_000)))) < 100
    assert io.BytesIO(TarItem("a.png", b"x").data).read() == b"x"
