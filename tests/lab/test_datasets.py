import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.datasets import (
    BATCH,
    contradictions,
    folder_identities,
    identities_of_pairs,
    load_crops,
    numbered,
    table_identities,
)
from gate.lab.pairs import Comparisons


def png(level: int, side: int = 112) -> bytes:
    ok, data = cv2.imencode(".png", np.full((side, side, 3), (level, 0, 200), dtype=np.uint8))
    assert ok
    return data.tobytes()


def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def tar(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


FILES = {"Ann/1.png": png(10), "Ann/2.png": png(20), "Bo/1.png": png(30)}


def test_folder_and_archive_hold_the_same_crops_under_the_same_names(tmp_path: Path) -> None:
    on_disk = load_crops(str(folder(tmp_path / "crops", FILES)))
    packed = load_crops(str(tar(tmp_path / "crops.tar", list(FILES.items()))))
    assert on_disk.paths == packed.paths == tuple(FILES)
    assert on_disk.digests == packed.digests
    assert on_disk.checksum == packed.checksum
    np.testing.assert_array_equal(on_disk.image("Bo/1.png"), packed.image("Bo/1.png"))


def test_crops_are_rgb(tmp_path: Path) -> None:
    image = load_crops(str(folder(tmp_path, FILES))).image("Ann/2.png")
    assert image.shape == (112, 112, 3)
    assert image.dtype == np.uint8
    assert image[0, 0].tolist() == [200, 0, 20]


def test_checksum_follows_names_and_bytes(tmp_path: Path) -> None:
    sums = {
        load_crops(str(folder(tmp_path / str(number), files))).checksum
        for number, files in enumerate([FILES, {**FILES, "Bo/1.png": png(31)}, {**FILES, "Bo/2.png": png(30)}])
    }
    assert len(sums) == 3


def test_images_that_are_no_crops_are_left_out_with_their_reason(tmp_path: Path) -> None:
    files = {**FILES, "Cy/large.png": png(1, side=200), "Cy/broken.jpg": b"\xff\xd8nothing", "Cy/notes.md": b"text"}
    crops = load_crops(str(folder(tmp_path, files)))
    assert crops.paths == tuple(FILES)
    told = {failure.path: str(failure.fault) for failure in crops.failures}
    assert told.keys() == {"Cy/large.png", "Cy/broken.jpg"}
    assert "200x200" in told["Cy/large.png"]


def test_nothing_usable_is_told_with_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"large.png.*200x200"):
        load_crops(str(folder(tmp_path, {"large.png": png(1, side=200)})))
    with pytest.raises(GateError, match="does not exist"):
        load_crops(str(tmp_path / "none"))


def test_one_name_twice_in_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="twice"):
        load_crops(str(tar(tmp_path / "t.tar", [("a/1.png", png(1)), ("a/1.png", png(2))])))


def test_a_crop_that_changes_on_disk_is_told(tmp_path: Path) -> None:
    crops = load_crops(str(folder(tmp_path, FILES)))
    (tmp_path / "Ann" / "1.png").unlink()
    with pytest.raises(GateError, match=r"Ann/1.png can no longer be read"):
        crops.image("Ann/1.png")


def test_batches_cover_the_wished_places_in_order(tmp_path: Path) -> None:
    files = {f"a/{number:03d}.png": png(number) for number in range(BATCH + 3)}
    crops = load_crops(str(folder(tmp_path, files)))
    wished = list(range(BATCH + 2, -1, -1))
    batches = list(crops.batches(wished))
    assert [len(images) for _, images in batches] == [BATCH, 3]
    assert [place for places, _ in batches for place in places] == wished
    assert [int(image[0, 0, 2]) for _, images in batches for image in images] == wished


def test_some_crops_can_be_taken(tmp_path: Path) -> None:
    crops = load_crops(str(folder(tmp_path, FILES))).taken([2, 0])
    assert crops.paths == ("Bo/1.png", "Ann/1.png")
    assert crops.image("Bo/1.png")[0, 0, 2] == 30


def test_identity_is_the_parent_folder_whatever_lies_above() -> None:
    assert folder_identities(["x/Ann/1.jpg", "Ann/2.jpg", "3.jpg"]) == ["Ann", "Ann", ""]
    assert numbered(["Bo", "Ann", "Bo"]).tolist() == [1, 0, 1]


def test_identity_from_a_table_needs_every_image() -> None:
    table = {"crops/1.jpg": "Ann", "crops/2.jpg": "Bo"}
    assert table_identities(table, ["2.jpg", "1.jpg"], "people.csv") == ["Bo", "Ann"]
    with pytest.raises(GateError, match=r"people.csv: 1 of 2 images .* 9.jpg"):
        table_identities(table, ["1.jpg", "9.jpg"], "people.csv")


def comparisons(*pairs: tuple[int, int, bool]) -> Comparisons:
    columns = np.array(pairs, dtype=np.int32).reshape(-1, 3)
    return Comparisons(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.bool_))


def test_people_are_what_genuine_pairs_join() -> None:
    who = identities_of_pairs(comparisons((0, 1, True), (1, 4, True), (2, 3, False)), 5)
    assert who[0] == who[1] == who[4]
    assert len({int(who[0]), int(who[2]), int(who[3])}) == 3


def test_labels_that_contradict_identities_are_counted() -> None:
    who = np.array([0, 0, 1], dtype=np.int32)
    assert contradictions(comparisons((0, 1, True), (0, 2, False)), who) == 0
    assert contradictions(comparisons((0, 1, False), (0, 2, True), (1, 2, False)), who) == 2
