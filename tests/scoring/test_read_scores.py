"""Score files of every format read back as they were written, and nothing else passes for one."""

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.errors import GateError
from gate.scoring import read_scores
from gate.scoring.formats import Row, format_of, row_format
from gate.scoring.pickled import finish_pickle, journal_of

names = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["a b.png", " a", "a ", "a,b", 'quote".png', "'", "ü/é.jpg", "caf\udce9.png", "0.5", "a 0.5", "#", "\x85", "\u2028"]
)
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(scores=st.dictionaries(names, float32s, min_size=1, max_size=8))
@pytest.mark.parametrize("extension", ["txt", "csv", "jsonl", "pkl"])
def test_every_format_reads_back_exactly(tmp_path: Path, extension: str, scores: dict[str, float]) -> None:
    path = tmp_path / f"scores.{extension}"
    rows = row_format(format_of(path.name), ("score",))
    data = rows.header + b"".join(rows.line(Row(name, (score,))) for name, score in scores.items())
    if extension == "pkl":
        journal_of(path).write_bytes(data)
        finish_pickle(path)
    else:
        path.write_bytes(data)
    found = read_scores(path)
    assert list(found) == list(scores)
    assert [np.float32(value) for value in found.values()] == [np.float32(value) for value in scores.values()]


@given(name=names, number=float32s)
@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_a_line_parses_to_the_row_it_was_made_of(kind: str, name: str, number: float) -> None:
    rows = row_format(kind, ("score",))
    line = rows.line(Row(name, (number,)))
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert rows.parse(line[:-1]) == Row(name, (number,))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.binary(max_size=60))
@pytest.mark.parametrize("extension", ["txt", "csv", "jsonl", "pkl"])
def test_arbitrary_bytes_are_scores_or_an_error_of_ours(tmp_path: Path, extension: str, data: bytes) -> None:
    path = tmp_path / f"scores.{extension}"
    path.write_bytes(data)
    try:
        scores = read_scores(path)
    except GateError:
        return
    assert all(math.isfinite(score) for score in scores.values())


def test_a_path_with_spaces_ends_at_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("my face 1.png 0.25\r\nother 1e-3")
    assert read_scores(tmp_path / "s.txt") == {"my face 1.png": 0.25, "other": 0.001}


def test_a_column_is_chosen_by_name(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("raw,path,score\n-1,a,1\n-2,b,2\n")
    assert read_scores(tmp_path / "s.csv") == {"a": 1.0, "b": 2.0}
    assert read_scores(tmp_path / "s.csv", column="raw") == {"a": -1.0, "b": -2.0}
    (tmp_path / "s.jsonl").write_text('{"path": "a", "score": 1, "raw": -1}\n')
    assert read_scores(tmp_path / "s.jsonl", column="raw") == {"a": -1.0}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("s.txt", "a 1\nb\n", "line 2"),
        ("s.txt", "a 1\n\nb 2\n", "line 2"),
        ("s.txt", "a 1\nb one\n", "line 2"),
        ("s.txt", "a nan\n", "line 1.*finite"),
        ("s.txt", "a 1\na 1\n", "line 2.*already"),
        ("s.txt", " 1\n", "line 1"),
        ("s.txt", "", "holds no scores"),
        ("s.csv", "a,1\n", "header"),
        ("s.csv", "path,score\na,1,2\n", "line 2.*cells"),
        ("s.csv", "path,score\na,\n", "line 2"),
        ("s.csv", "path,score\na,inf\n", "finite"),
        ("s.csv", 'path,score\n"a,1\n', "line 2"),
        ("s.csv", "", "header"),
        ("s.jsonl", '{"path": "a", "score": 1}\n{"path": "b", "sc', "line 2.*JSON"),
        ("s.jsonl", '{"path": "a"}\n', "line 1.*score"),
        ("s.jsonl", '{"path": "a", "score": "1"}\n', "line 1.*score"),
        ("s.jsonl", '{"path": "a", "score": true}\n', "line 1.*score"),
        ("s.jsonl", '{"path": "a", "score": NaN}\n', "finite"),
        ("s.jsonl", "[1]\n", "line 1.*object"),
    ],
)
def test_an_error_names_the_file_and_the_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(GateError, match=told) as caught:
        read_scores(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    for name in ("s.txt", "s.csv", "s.jsonl", "s.pkl"):
        with pytest.raises(GateError, match="No such file"):
            read_scores(tmp_path / name)


@pytest.mark.parametrize("number", [0.1, 3, np.float64(0.1), np.float32(0.1), np.float16(0.1)])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_of_published_tools_are_read(tmp_path: Path, number: float, protocol: int) -> None:
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"a.jpg": number}, protocol))
    assert read_scores(tmp_path / "s.pkl") == {"a.jpg": float(number)}


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("content", [Bomb(), {"a": Bomb()}, {Bomb(): 1.0}, {"a": np.zeros(3)}, {"a": np.int64(1)}])
def test_a_pickle_with_anything_else_in_it_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(GateError, match=r"s\.pkl"):
        read_scores(tmp_path / "s.pkl")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [[1.0], {1: 1.0}, {"a": "1"}, {"a": True}, {"a": None}, {"a": float("nan")}, {}])
def test_a_pickle_of_anything_else_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(GateError):
        read_scores(tmp_path / "s.pkl")


def test_json_lines_are_valid_json_for_any_name() -> None:
    line = row_format("jsonl", ("score",)).line(Row("caf\udce9 \u2028.png", (0.5,)))
    assert json.loads(line.decode("ascii")) == {"path": "caf\udce9 \u2028.png", "score": 0.5}
