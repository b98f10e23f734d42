from pathlib import Path

import pytest

from gate.errors import GateError
from gate.lab.metadata import read_metadata


def written(folder: Path, text: str) -> Path:
    path = folder / "people.csv"
    path.write_bytes(text.encode())
    return path


def test_values_are_found_by_path_and_by_the_end_of_a_path(tmp_path: Path) -> None:
    table = read_metadata(written(tmp_path, "file,age,race\nutk/a.jpg, 30 ,1\nb.jpg,40,\n"))
    assert table.columns == ("age", "race")
    assert table.values("age", ["utk/a.jpg", "x/y/b.jpg", "C:\\data\\utk\\a.jpg", "c.jpg"]) == ("30", "40", "30", "")
    assert table.values("race", ["utk/a.jpg", "b.jpg"]) == ("1", "")


def test_quoted_newlines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    table = read_metadata(written(tmp_path, '\ufefffile,age\r\n"od\nd, name.jpg",5\r\n'))
    assert table.values("age", ["od\nd, name.jpg"]) == ("5",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a heading row"),
        ("file\na.jpg\n", "another column"),
        ("file,age\na.jpg,1,2\n", "row 2 has 3 fields, the heading has 2"),
        ("file,age\na.jpg,1\na.jpg,2\n", "row 3 names the image 'a.jpg' a second time"),
    ],
)
def test_what_is_no_table_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        read_metadata(written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"file,age\n\xff\xfe,1\n")
    with pytest.raises(GateError, match="cannot be read as CSV"):
        read_metadata(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"nowhere\.csv"):
        read_metadata(tmp_path / "nowhere.csv")


def test_an_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    table = read_metadata(written(tmp_path, "file,gender\na.jpg,0\n"))
    with pytest.raises(GateError, match="did you mean 'gender'"):
        table.values("gendre", ["a.jpg"])


def test_a_table_of_other_images_is_refused(tmp_path: Path) -> None:
    table = read_metadata(written(tmp_path, "file,gender\na.jpg,0\n"))
    with pytest.raises(GateError, match=r"none of the 1 images is in it.*'b\.jpg'"):
        table.values("gender", ["b.jpg"])
