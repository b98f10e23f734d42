import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.cache import Cache, default_folder
from gate.types import FloatArray

KEY = {"model": "m@12345678", "seed": 0}


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Work:
    """Counts what is asked of it; an image's row is made of its digest."""

    def __init__(self, digests: Sequence[str], *, stop_after: int = 10**9) -> None:
        self.digests = digests
        self.asked: list[str] = []
        self.stop_after = stop_after

    def __call__(self, places: Sequence[int]) -> tuple[FloatArray, float]:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += [self.digests[place] for place in places]
        rows = [[int(self.digests[place][:4], 16), len(places)] for place in places]
        return np.array(rows, dtype=np.float32), 0.01 * len(places)


def fetched(folder: Path, digests: Sequence[str], **key: object) -> tuple[FloatArray, float, list[str]]:
    work = Work(digests)
    rows, ms_per_crop = Cache(folder).fetch("score-x", {**KEY, **key}, digests, work, batch=4)
    return rows, ms_per_crop, work.asked


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    digests = [digest(str(number)) for number in range(10)]
    first, _, asked = fetched(tmp_path, digests)
    assert asked == digests
    again, _, asked = fetched(tmp_path, digests)
    assert asked == []
    np.testing.assert_array_equal(first, again)
    assert first[:, 0].tolist() == [int(name[:4], 16) for name in digests]


def test_only_new_images_are_computed_and_order_follows_the_question(tmp_path: Path) -> None:
    a, b, c = (digest(name) for name in "abc")
    fetched(tmp_path, [a, b])
    rows, _, asked = fetched(tmp_path, [c, b, a, c])
    assert asked == [c]
    assert rows[:, 0].tolist() == [int(name[:4], 16) for name in (c, b, a, c)]


def test_another_model_or_option_is_another_result(tmp_path: Path) -> None:
    fetched(tmp_path, [digest("a")])
    assert fetched(tmp_path, [digest("a")], seed=1)[2] == [digest("a")]
    assert fetched(tmp_path, [digest("a")], model="m@87654321")[2] == [digest("a")]
    assert fetched(tmp_path, [digest("a")])[2] == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "garbage", "other arrays"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: str) -> None:
    digests = [digest(str(number)) for number in range(40)]
    whole, _, _ = fetched(tmp_path, digests)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        # Inside the rows; the zip's own checksum is one of two that must notice.
        data[data.index(b"rows.npy") + 200] ^= 0xFF
        file.write_bytes(data)
    elif damage == "other arrays":
        np.savez(file, rows=np.zeros(3))
    else:
        file.write_bytes(b"" if damage == "empty" else b"no archive at all")
    rows, _, asked = fetched(tmp_path, digests)
    assert asked == digests
    np.testing.assert_array_equal(rows, whole)
    assert fetched(tmp_path, digests)[2] == []


def test_rows_that_were_changed_under_a_valid_archive_are_noticed(tmp_path: Path) -> None:
    digests = [digest("a"), digest("b")]
    fetched(tmp_path, digests)
    (file,) = tmp_path.iterdir()
    with np.load(file) as data:
        arrays = dict(data)
    arrays["rows"] = arrays["rows"] + 1
    np.savez(file, **arrays)
    assert fetched(tmp_path, digests)[2] == digests


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    a, b = digest("a"), digest("b")

    def slow(_places: Sequence[int]) -> tuple[FloatArray, float]:
        fetched(tmp_path, [b])
        return np.array([[1, 1]], dtype=np.float32), 0.0

    Cache(tmp_path).fetch("score-x", KEY, [a], slow)
    assert fetched(tmp_path, [a, b])[2] == []


def test_two_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.lab.cache.SAVE_EVERY", 1)
    digests = [digest(name) for name in "abc"]
    asked: list[int] = []

    def slow(places: Sequence[int]) -> tuple[FloatArray, float]:
        asked.extend(places)
        fetched(tmp_path, digests[1:])
        return np.ones((len(places), 2), dtype=np.float32), 0.0

    rows, _ = Cache(tmp_path).fetch("score-x", KEY, digests, slow, batch=1)
    assert asked == [0]
    assert rows.shape == (3, 2)


def test_an_interrupted_run_loses_at_most_what_was_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.lab.cache.SAVE_EVERY", 8)
    digests = [digest(str(number)) for number in range(30)]
    work = Work(digests, stop_after=20)
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).fetch("score-x", KEY, digests, work, batch=4)
    assert fetched(tmp_path, digests)[2] == digests[16:]


def test_cost_is_measured_after_the_first_batch_and_kept(tmp_path: Path) -> None:
    digests = [digest(str(number)) for number in range(12)]
    seconds = iter([100.0, 0.004, 0.004])

    def work(places: Sequence[int]) -> tuple[FloatArray, float]:
        return np.zeros((len(places), 1), dtype=np.float32), next(seconds)

    assert Cache(tmp_path).fetch("x", KEY, digests, work, batch=4)[1] == pytest.approx(1.0)
    assert Cache(tmp_path).fetch("x", KEY, digests[:3], work, batch=4)[1] == pytest.approx(1.0)


def test_progress_counts_what_was_known(tmp_path: Path) -> None:
    digests = [digest(str(number)) for number in range(10)]
    fetched(tmp_path, digests[:3])
    told: list[tuple[int, int]] = []
    Cache(tmp_path).fetch("score-x", KEY, digests, Work(digests), batch=4, progress=lambda *now: told.append(now))
    assert told == [(7, 10), (10, 10)]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match="--cache"):
        fetched(tmp_path / "file", [digest("a")])


def test_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "facegate" / "lab"
