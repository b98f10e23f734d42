"""Batches, and continuing what a killed run left behind."""

import csv
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gate.errors import GateError
from gate.scoring.crops import Aligned
from gate.scoring.failures import Failures
from gate.scoring.fault import Failure, Fault, Why
from gate.scoring.formats import CsvRows, JsonRows, RowFormat, TextRows
from gate.scoring.progress import LogProgress
from gate.scoring.session import Session
from gate.scoring.sheet import FileSheet
from gate.types import FloatArray, Image

PHIS = ("image", "block1", "block2")


@dataclass(frozen=True, slots=True)
class MemoryItem:
    path: str
    data: bytes

    def read(self) -> bytes | Fault:
        return self.data


@dataclass
class BatchMindingScorer:
    """The mean of a crop, with last digits that depend on the rest of its batch; black crops have no number."""

    sheets: tuple[str, ...] = ("",)
    columns: tuple[str, ...] = ("score",)
    shift: float = 0.0
    dies_after: int | None = None
    batches: list[int] = field(default_factory=list)

    def __call__(self, crops: Image) -> FloatArray:
        if len(self.batches) == self.dies_after:
            raise KeyboardInterrupt
        self.batches.append(len(crops))
        means = crops.astype(np.float64).mean(axis=(1, 2, 3))
        numbers = np.where(means == 0, np.nan, means * (1 + 1e-5 * means.mean() / 255) + self.shift)
        per_sheet = np.stack([numbers + place for place in range(len(self.sheets))])
        return np.repeat(per_sheet[..., None], len(self.columns), axis=2).astype(np.float32)


class StillClock:
    def monotonic_s(self) -> float:
        return 0.0

    def unix_ms(self) -> int:
        return 0


@dataclass
class Runner:
    """Runs sessions over images in memory, three crops a batch."""

    folder: Path
    row_format: RowFormat = field(default_factory=TextRows)

    def __call__(
        self,
        items: Iterable[MemoryItem | Failure],
        scorer: BatchMindingScorer | None = None,
        *,
        overwrite: bool = False,
    ) -> Session:
        scorer = scorer or BatchMindingScorer()
        with ExitStack() as stack:
            failures = stack.enter_context(closing(Failures(self.folder / "errors.csv")))
            sheets = [
                stack.enter_context(closing(FileSheet(self.path(name), self.row_format, overwrite=overwrite)))
                for name in scorer.sheets
            ]
            session = Session(
                sheets=sheets,
                scorer=scorer,
                cropper=Aligned(),
                failures=failures,
                batch_size=3,
                rename=lambda path: path,
            )
            executor = stack.enter_context(ThreadPoolExecutor(2))
            progress = LogProgress(lambda _: None, StillClock())
            session.run(items, executor, prefetch=4, progress=progress, expected=lambda: None)
        return session

    def path(self, sheet: str = "") -> Path:
        return self.folder / f"out{sheet}"

    def rows(self, sheet: str = "") -> list[bytes]:
        return self.path(sheet).read_bytes().splitlines(keepends=True)

    def errors(self) -> list[list[str]]:
        with (self.folder / "errors.csv").open(newline="") as file:
            return list(csv.reader(file))[1:]


@pytest.fixture
def session(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture(scope="module")
def mixed(png: Callable[..., bytes]) -> list[MemoryItem]:
    """Twenty images; 13 are fine, others truncated, of another size, without a finite number, or there twice."""
    items = []
    for number in range(20):
        data = png(10 + 11 * number)
        if number in {0, 7, 8}:
            data = data[: len(data) // 2]
        elif number == 12:
            data = png(90, side_px=100)
        elif number in {4, 15}:
            data = png(0)
        items.append(MemoryItem("face 2.png" if number == 17 else f"face {number}.png", data))
    return items


@pytest.fixture(
    scope="module", params=[TextRows(), CsvRows(("score",)), JsonRows(("score",))], ids=["txt", "csv", "jsonl"]
)
def unbroken(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mixed: list[MemoryItem]
) -> Runner:
    runner = Runner(tmp_path_factory.mktemp("unbroken"), request.param)
    runner(mixed)
    return runner


def test_every_image_has_a_row_or_a_reason(session: Runner, mixed: list[MemoryItem]) -> None:
    done = session(mixed)
    paths = [row.rpartition(b" ")[0].decode() for row in session.rows()]
    assert paths == [f"face {n}.png" for n in (1, 2, 3, 5, 6, 9, 10, 11, 13, 14, 16, 18, 19)]
    assert done.scored == 13
    told = {path: reason.partition(":")[0] for path, reason in session.errors()}
    assert told == {
        "face 0.png": "unreadable",
        "face 7.png": "unreadable",
        "face 8.png": "unreadable",
        "face 4.png": "no finite score",
        "face 12.png": "wrong size",
        "face 15.png": "no finite score",
        "face 2.png": "duplicate",
    }


def test_batches_are_full_whatever_fails_between(session: Runner, mixed: list[MemoryItem]) -> None:
    scorer = BatchMindingScorer()
    session(mixed, scorer)
    assert scorer.batches == [3, 3, 3, 3, 3]


def test_a_file_cut_anywhere_is_continued_to_the_same_bytes(
    unbroken: Runner, tmp_path: Path, mixed: list[MemoryItem]
) -> None:
    whole = unbroken.path().read_bytes()
    errors = unbroken.errors()
    broken = Runner(tmp_path, unbroken.row_format)
    for length in range(0, len(whole) + 1, 5):
        broken.path().write_bytes(whole[:length])
        broken(mixed)
        assert broken.path().read_bytes() == whole, f"cut to {length} bytes"
        assert broken.errors() == errors, f"cut to {length} bytes"


@pytest.mark.parametrize("batches", range(6))
def test_a_run_that_dies_after_any_batch_is_continued_to_the_same_bytes(
    session: Runner, unbroken: Runner, mixed: list[MemoryItem], batches: int
) -> None:
    session.row_format = unbroken.row_format
    if batches < 5:
        with pytest.raises(KeyboardInterrupt):
            session(mixed, BatchMindingScorer(dies_after=batches))
    session(mixed)
    assert session.path().read_bytes() == unbroken.path().read_bytes()


def test_whole_batches_are_not_scored_again_but_for_the_first(session: Runner, png: Callable[..., bytes]) -> None:
    items = [MemoryItem(str(number), png(1 + number)) for number in range(30)]
    session(items)
    session.path().write_bytes(b"".join(session.rows()[:20]))
    scorer = BatchMindingScorer()
    done = session(items, scorer)
    # Of ten batches: the first to compare, the one that was cut, the three behind it.
    assert len(scorer.batches) == 5
    assert (done.scored, done.skipped) == (30, 20)


def test_a_finished_file_stays_as_it_is(session: Runner, mixed: list[MemoryItem]) -> None:
    session(mixed)
    before = session.path().read_bytes()
    session(mixed)
    assert session.path().read_bytes() == before


@pytest.mark.parametrize("keep", [1, 2, 3, 8])
def test_another_methods_file_is_refused_and_left_alone(session: Runner, mixed: list[MemoryItem], keep: int) -> None:
    session(mixed)
    cut = b"".join(session.rows()[:keep])
    session.path().write_bytes(cut)
    with pytest.raises(GateError, match="made with another method"):
        session(mixed, BatchMindingScorer(shift=0.1))
    assert session.path().read_bytes() == cut


@pytest.mark.parametrize("foreign", [b"shopping list\n", b"milk", b"face 1.png many\n", b"face 9.png 3.5\n", b"\n\n"])
def test_a_file_of_something_else_is_refused_and_left_alone(
    session: Runner, mixed: list[MemoryItem], foreign: bytes
) -> None:
    session.path().write_bytes(foreign)
    with pytest.raises(GateError, match="--overwrite"):
        session(mixed)
    assert session.path().read_bytes() == foreign


def test_overwrite_starts_again(session: Runner, mixed: list[MemoryItem]) -> None:
    session.path().write_bytes(b"shopping list\n" * 100)
    session(mixed, overwrite=True)
    assert len(session.rows()) == 13


@pytest.mark.parametrize("place", [0, 2, 7, 10])
def test_an_image_that_came_to_the_inputs_between_is_refused(
    session: Runner, mixed: list[MemoryItem], png: Callable[..., bytes], place: int
) -> None:
    session(mixed)
    before = session.path().read_bytes()
    with pytest.raises(GateError, match="inputs have changed"):
        session([*mixed[:place], MemoryItem("new.png", png(99)), *mixed[place:]])
    assert session.path().read_bytes() == before


def test_an_image_that_went_from_the_inputs_is_refused(session: Runner, mixed: list[MemoryItem]) -> None:
    session(mixed)
    before = session.path().read_bytes()
    with pytest.raises(GateError):
        session([item for item in mixed if item.path != "face 9.png"])
    assert session.path().read_bytes() == before


def test_images_that_came_behind_the_others_are_added(
    session: Runner, mixed: list[MemoryItem], png: Callable[..., bytes], tmp_path: Path
) -> None:
    more = [*mixed, MemoryItem("new 1.png", png(99)), MemoryItem("new 2.png", png(98))]
    session(mixed)
    session(more)
    (tmp_path / "fresh").mkdir()
    fresh = Runner(tmp_path / "fresh")
    fresh(more)
    assert session.path().read_bytes() == fresh.path().read_bytes()


def test_sheets_of_which_some_are_a_batch_ahead_are_continued(
    session: Runner, tmp_path: Path, mixed: list[MemoryItem]
) -> None:
    session(mixed, BatchMindingScorer(sheets=PHIS))
    whole = {phi: session.rows(phi) for phi in PHIS}
    # What a kill in the second batch leaves, which has two rows: both of them, one and a torn one, none.
    session.path("image").write_bytes(b"".join(whole["image"][:5]))
    session.path("block1").write_bytes(b"".join(whole["block1"][:4]) + whole["block1"][4][:5])
    session.path("block2").write_bytes(b"".join(whole["block2"][:3]))
    session(mixed, BatchMindingScorer(sheets=PHIS))
    assert {phi: session.rows(phi) for phi in PHIS} == whole


def test_a_foreign_sheet_among_new_ones_is_refused_and_left_alone(session: Runner, mixed: list[MemoryItem]) -> None:
    session.path("block1").write_bytes(b"something else\n")
    with pytest.raises(GateError, match="--overwrite"):
        session(mixed, BatchMindingScorer(sheets=PHIS))
    assert session.path("block1").read_bytes() == b"something else\n"


def test_a_file_that_another_run_writes_is_refused(session: Runner, mixed: list[MemoryItem]) -> None:
    with closing(FileSheet(session.path(), TextRows())), pytest.raises(GateError, match="another run"):
        session(mixed)


def test_a_full_disk_keeps_what_is_scored_and_says_so(
    session: Runner, mixed: list[MemoryItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    session(mixed)
    whole = session.path().read_bytes()
    session.path().unlink()
    with _largest_file(90), pytest.raises(GateError, match="run the same command again"):
        session(mixed)
    assert whole.startswith(session.path().read_bytes())
    assert session.path().stat().st_size > 0
    session(mixed)
    assert session.path().read_bytes() == whole


def _largest_file(size_bytes: int) -> "ExitStack":
    """The system refuses to let files grow beyond this, as a full disk does."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    stack = ExitStack()
    stack.callback(signal.signal, signal.SIGXFSZ, ignored)
    stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, before)
    return stack


@pytest.mark.parametrize("name", ["a\nb.png", "a\r.png", ""])
def test_a_path_that_would_break_a_line_is_a_failure(session: Runner, png: Callable[..., bytes], name: str) -> None:
    done = session([MemoryItem(name, png(5)), MemoryItem("fine.png", png(6))])
    assert done.scored == 1
    assert session.errors()[0][0] == name
    assert session.errors()[0][1].startswith("unusable name")


def test_failures_of_the_inputs_are_passed_on_in_their_place(session: Runner, png: Callable[..., bytes]) -> None:
    broken = Failure("archive.tar", Fault(Why.UNREADABLE, "ends early"))
    session([MemoryItem("a.png", png(5)), broken, MemoryItem("b.png", b"")])
    assert session.errors() == [["archive.tar", "unreadable: ends early"], ["b.png", "unreadable: empty file"]]


def test_a_refused_run_leaves_the_errors_file_alone(session: Runner, mixed: Sequence[MemoryItem]) -> None:
    session(mixed)
    before = (session.folder / "errors.csv").read_bytes()
    with pytest.raises(GateError):
        session(mixed[5:], BatchMindingScorer(shift=3))
    assert (session.folder / "errors.csv").read_bytes() == before


def test_an_empty_new_file_does_not_stay_behind(session: Runner) -> None:
    session([MemoryItem("a.png", b"not an image")])
    assert not session.path().exists()
