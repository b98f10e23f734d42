"""One run of `gate score`, from what was asked for to the files and a summary."""

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gate.clock import Clock, SystemClock
from gate.errors import GateError
from gate.scoring.crops import Aligned, Cropper, Detected
from gate.scoring.failures import Failures
from gate.scoring.fault import Failure, Why
from gate.scoring.inputs import Entry, Source, open_sources
from gate.scoring.outputs import opened_sheets, output_paths
from gate.scoring.progress import open_progress
from gate.scoring.request import DetectorChoice, Request
from gate.scoring.scorers import MethodScorer, PhiScorer, Scorer, is_calibrated
from gate.scoring.session import Session

if TYPE_CHECKING:
    from gate.quality import QualityMethod
    from gate.quality.grafiqs import Grafiqs

_WORKERS = 4
"""Threads that read and decode. One decodes 4,000 crops a second; more help with photos and slow disks."""

_PREFETCH_IMAGES = 8
"""Full pictures decoded ahead; a photo of 12 megapixels takes 36 MB."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run went."""

    scored: int
    """Images with a row, those of an earlier run included."""

    skipped: int
    """Those of them that an earlier run had scored."""

    failed: Counter[Why]
    """Images without a row, by what is wrong with them."""

    first_failures: tuple[Failure, ...]
    """Some of them, in the inputs' order."""

    ignored: int
    """Files in folders and archives that are not called like images."""

    elapsed_s: float

    files: tuple[str, ...]
    """What was written; empty for standard output."""


def score_images(request: Request, clock: Clock | None = None) -> Summary:
    """Score what is asked for, with progress on standard error.

    Raises:
        GateError: something named does not exist or cannot be used, or there is no image at all. Rows that are
            written already stay and are continued by the next run.
    """
    clock = clock or SystemClock()
    began_s = clock.monotonic_s()
    sources = open_sources(request.paths, request.lists)
    cropper = _cropper(request.detector, with_details=request.is_table)
    scorer = _scorer(request)
    columns = (*scorer.columns, *cropper.columns)
    with (
        closing(Failures(request.errors)) as failures,
        opened_sheets(request, scorer.sheets, columns) as sheets,
    ):
        session = Session(
            sheets=sheets,
            scorer=scorer,
            cropper=cropper,
            failures=failures,
            batch_size=request.batch_size,
            rename=_renamer(request.replace),
        )
        _run(session, sources, request, clock)
        if not (session.scored or failures.total):
            raise GateError(f"no images in {', '.join([*request.paths, *request.lists])}.")
    return Summary(
        scored=session.scored,
        skipped=session.skipped,
        failed=failures.counts,
        first_failures=tuple(failures.first),
        ignored=sum(source.ignored for source in sources),
        elapsed_s=clock.monotonic_s() - began_s,
        files=tuple(map(str, output_paths(request, scorer.sheets))) if session.scored else (),
    )


def _run(session: Session, sources: Sequence[Source], request: Request, clock: Clock) -> None:
    depth = _PREFETCH_IMAGES if request.detector else 2 * request.batch_size
    with (
        closing(open_progress(sys.stderr, clock)) as progress,
        warnings.catch_warnings(),
        _pool() as executor,
    ):
        # What Pillow warns of is either told as a failure or does not matter (a damaged EXIF block).
        warnings.filterwarnings("ignore", module=r"PIL\.")
        session.run(_chained(sources), executor, prefetch=depth, progress=progress, expected=lambda: _expected(sources))


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(max_workers=min(_WORKERS, os.cpu_count() or 1), thread_name_prefix="decode")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _chained(sources: Iterable[Source]) -> Iterator[Entry]:
    for source in sources:
        yield from source


def _expected(sources: Iterable[Source]) -> int | None:
    counts = [source.expected() for source in sources]
    return None if None in counts else sum(count for count in counts if count is not None)


def _renamer(replace: tuple[str, str] | None) -> "_Prefix":
    return _Prefix(*(replace or ("", "")))


@dataclass(frozen=True, slots=True)
class _Prefix:
    """Replaces one prefix."""

    old: str
    new: str

    def __call__(self, path: str) -> str:
        return self.new + path[len(self.old) :] if path.startswith(self.old) else path


def _cropper(choice: DetectorChoice | None, *, with_details: bool) -> Cropper:
    if choice is None:
        return Aligned()
    from gate.faces.build import DEFAULT_WEIGHTS, build_detector
    from gate.weights.zoo import Zoo

    wish = choice.weights or DEFAULT_WEIGHTS[choice.name]
    weights = Path(wish) if Path(wish).is_file() else Zoo().ensure(wish)
    return Detected(
        build_detector(choice.name, weights, min_score=choice.min_score), choice.faces, with_details=with_details
    )


def _scorer(request: Request) -> Scorer:
    from gate.quality import load_method

    method = load_method(
        request.method,
        backbone=request.backbone,
        weights=request.weights,
        device=request.device,
        max_batch=request.batch_size,
        calibration=request.calibration,
        **request.options,
    )
    if request.all_phis:
        return PhiScorer(cast("Grafiqs", method), _columns(request, None))
    return MethodScorer(method, _columns(request, method), request.seed)


def _columns(request: Request, method: "QualityMethod | None") -> tuple[str, ...]:
    """`method` is None where several numbers a crop stand in the way of a calibration."""
    if request.is_table:
        return ("score", "raw", "quality") if method is not None and is_calibrated(method) else ("score", "raw")
    # The published tool writes what it computes, where larger is worse.
    return (request.value or ("raw" if request.all_phis else "score"),)
