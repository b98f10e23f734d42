from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import GateError
from gate.lab.pairs import Comparisons, NamedPair, PathIndex, genuine_pairs, impostor_pairs, read_pairs, resolve


def written(tmp_path: Path, text: str, name: str = "pairs.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_official_lfw_file_has_its_six_thousand_pairs(shared_data: Path) -> None:
    pairs = read_pairs(shared_data / "data" / "lfw-pairs.txt")
    assert len(pairs) == 6000
    assert sum(pair.same for pair in pairs) == 3000
    assert (pairs[0].first, pairs[0].second) == ("Abel_Pacheco/Abel_Pacheco_0001", "Abel_Pacheco/Abel_Pacheco_0004")
    impostor = next(pair for pair in pairs if not pair.same)
    assert impostor.line == 302
    images = {name for pair in pairs for name in (pair.first, pair.second)}
    assert len(images) == 7701
    found, lost = resolve(pairs, [f"{name}.jpg" for name in sorted(images)])
    assert not lost
    assert (found.n_genuine, found.n_impostor) == (3000, 3000)


@pytest.mark.parametrize("heading", ["10\t300\n", "300\n", ""])
def test_lfw_lines_name_numbered_images(tmp_path: Path, heading: str) -> None:
    same, different = read_pairs(written(tmp_path, f"{heading}Ann_Lee\t1\t12\nAnn_Lee\t2\tBo\t10000\n"))
    assert (same.first, same.second, same.same) == ("Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0012", True)
    assert (different.first, different.second, different.same) == ("Ann_Lee/Ann_Lee_0002", "Bo/Bo_10000", False)


@pytest.mark.parametrize("separator", [" ", ", ", "\t"])
def test_path_lines_end_in_a_label(tmp_path: Path, separator: str) -> None:
    lines = [separator.join(cells) for cells in (("a/1.jpg", "a/2.jpg", "1"), ("a/1.jpg", "b/1.jpg", "0"))]
    pairs = read_pairs(written(tmp_path, "\n".join(lines) + "\n\n"))
    assert [(pair.first, pair.second, pair.same) for pair in pairs] == [
        ("a/1.jpg", "a/2.jpg", True),
        ("a/1.jpg", "b/1.jpg", False),
    ]


def test_csv_columns_stand_in_any_order_and_paths_may_hold_spaces(tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, 'same,b,note,a\nTrue,"x y.jpg",n,z.jpg\n', "p.csv"))
    assert (pair.first, pair.second, pair.same, pair.line) == ("z.jpg", "x y.jpg", True, 2)


def test_tabs_keep_spaces_in_names(tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, "Ann Lee\t1\t2\n"))
    assert pair.first == "Ann Lee/Ann Lee_0001"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.jpg b.jpg 1\na.jpg b.jpg maybe\n", "line 2: 'maybe' must be 1"),
        ("a.jpg b.jpg\n", "line 1: 'a.jpg b.jpg' is no pair"),
        ("a,b,same\nx,,1\n", "line 2: a and b must both"),
        ("", "no pairs in it"),
        ("10\t300\n", "no pairs in it"),
        ("a b c d e\n", "is no pair"),
    ],
)
def test_a_line_that_is_no_pair_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(GateError, match=told):
        read_pairs(written(tmp_path, text))


def test_a_missing_or_binary_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="No such file"):
        read_pairs(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(GateError, match="not UTF-8"):
        read_pairs(tmp_path / "binary")


@given(st.text(max_size=200))
def test_no_text_makes_anything_but_pairs_or_a_readable_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    pairs: list[NamedPair] = []
    with suppress(GateError):
        pairs = read_pairs(path)
    assert all(pair.first and pair.second for pair in pairs)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("lfw/Ann/Ann_0001.jpg", 0),
        ("Ann/Ann_0001", 0),
        ("/data/other/Ann/Ann_0001.png", 0),
        ("./lfw/Bo/1.jpg", 1),
        ("Bo\\1.jpg", 1),
        ("Ann_0001", 0),
        ("1.jpg", None),
        ("Di/1.jpg", None),
        ("", None),
    ],
)
def test_names_are_found_by_as_much_as_is_unambiguous(name: str, place: int | None) -> None:
    assert PathIndex(["lfw/Ann/Ann_0001.jpg", "lfw/Bo/1.jpg", "lfw/Cy/1.jpg"]).find(name) == place


def test_an_exact_path_wins_over_its_twin_with_another_extension() -> None:
    index = PathIndex(["a/1.jpg", "a/1.png"])
    assert index.find("a/1.png") == 1
    assert index.find("a/1") is None


def test_pairs_with_a_missing_image_are_set_apart(tmp_path: Path) -> None:
    named = read_pairs(written(tmp_path, "a/1.jpg a/2.jpg 1\na/1.jpg c/9.jpg 0\n"))
    found, lost = resolve(named, ["a/2.jpg", "a/1.jpg"])
    assert (found.first.tolist(), found.second.tolist(), found.same.tolist()) == ([1], [0], [True])
    assert [pair.second for pair in lost] == ["c/9.jpg"]


people = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@given(people, st.integers(1, 30), st.integers(0, 3))
def test_genuine_pairs_are_all_up_to_the_cap(identities: list[int], most: int, seed: int) -> None:
    who = np.array(identities, dtype=np.int32)
    pairs = genuine_pairs(who, most, seed)
    assert np.all(who[pairs.first] == who[pairs.second])
    assert np.all(pairs.first != pairs.second)
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == len(pairs.first)
    for person in set(identities):
        images = identities.count(person)
        assert np.count_nonzero(who[pairs.first] == person) == min(most, images * (images - 1) // 2)


@given(people, st.integers(0, 200), st.integers(0, 3))
def test_impostor_pairs_are_different_people_never_twice_and_as_many_as_asked(
    identities: list[int], count: int, seed: int
) -> None:
    who = np.array(identities, dtype=np.int32)
    pairs = impostor_pairs(who, count, seed)
    there_are = sum(a != b for place, a in enumerate(identities) for b in identities[:place])
    assert len(pairs.first) == min(count, there_are)
    assert np.all(who[pairs.first] != who[pairs.second])
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == len(pairs.first)
    assert not pairs.same.any()


def test_samples_depend_on_the_seed_alone() -> None:
    who = np.repeat(np.arange(50, dtype=np.int32), 10)
    makers: list[Callable[[int], Comparisons]] = [
        lambda seed: genuine_pairs(who, 5, seed),
        lambda seed: impostor_pairs(who, 1000, seed),
    ]
    for make in makers:
        np.testing.assert_array_equal(make(1).first, make(1).first)
        assert not np.array_equal(make(1).second, make(2).second)


def test_impostor_sample_is_even_over_images() -> None:
    who = np.arange(200, dtype=np.int32)
    pairs = impostor_pairs(who, 8000, 0)
    share = np.bincount(np.concatenate([pairs.first, pairs.second]), minlength=200) / 8000
    np.testing.assert_allclose(share, 0.01, atol=0.004)
