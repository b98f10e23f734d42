"""From entries to rows, batch by batch, continuing behind an earlier run's rows.

A number can depend in its last bits on the batch that its crop is scored in. A batch is therefore always the next
`batch_size` images that can be scored, counted from the beginning of the inputs, whatever part of them an earlier run
has done: a batch of which it had written only a part is scored again as a whole. So a killed run that is continued
writes the same bytes as one that was not.

An image before the earlier run's last row which has no row of its own had failed; it is looked at again, so that what
is reported at the end is complete. Where it turns out to be fine, the inputs have changed, and nothing is written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from gate.errors import GateError
from gate.scoring.crops import Crop, Cropper
from gate.scoring.existing import ExistingRows, Known, check_same
from gate.scoring.failures import Failures
from gate.scoring.fault import Failure, Fault, Why
from gate.scoring.formats import Row
from gate.scoring.images import decode
from gate.scoring.inputs import Entry, Item
from gate.scoring.prefetch import ahead
from gate.scoring.progress import Progress
from gate.scoring.scorers import Scorer
from gate.scoring.sheet import REMEDY, Sheet
from gate.types import FloatArray, Image


@dataclass(frozen=True, slots=True)
class _Job:
    """An image on its way to a row."""

    item: Item
    path: str
    """As the row has it."""

    known: Known | None


@dataclass(frozen=True, slots=True)
class _Member:
    """An image that takes a place in a batch."""

    job: _Job
    crop: Crop | None
    """None for a known one, which is not looked at unless its batch is scored again."""


class Session:
    """Scores entries into sheets. Used once."""

    def __init__(
        self,
        *,
        sheets: Sequence[Sheet],
        scorer: Scorer,
        cropper: Cropper,
        failures: Failures,
        batch_size: int,
        rename: Callable[[str], str],
    ) -> None:
        """Prepare; reads the first existing row.

        Args:
            sheets: one for each of the scorer's.
            scorer: turns crops into numbers.
            cropper: turns images into crops.
            failures: takes the images without a score.
            batch_size: images a batch; another one may change the numbers' last digits.
            rename: from an input's path to the row's.
        """
        self.scored = 0
        self.skipped = 0
        self._sheets = sheets
        self._scorer = scorer
        self._cropper = cropper
        self._failures = failures
        self._batch_size = batch_size
        self._rename = rename
        self._existing = ExistingRows(sheets)
        self._kept = tuple(sheet.start() for sheet in sheets)
        self._known_seen = 0
        self._is_verified = False
        self._is_writing = False

    def run(
        self,
        entries: Iterable[Entry],
        executor: Executor,
        *,
        prefetch: int,
        progress: Progress,
        expected: Callable[[], int | None],
    ) -> None:
        """Score everything.

        Raises:
            GateError: the existing rows are another run's, or a file cannot be written. Rows already there stay.
        """
        batch: list[_Member] = []
        for done, (job, image) in enumerate(ahead(self._jobs(entries), self._task, executor, prefetch), start=1):
            member = self._member(job, image)
            if isinstance(member, Failure):
                self._failures.add(member)
            else:
                batch.append(member)
            if len(batch) == self._batch_size:
                self._finish(batch)
                batch = []
            progress.update(done, self.skipped, self._failures.total, expected())
        self._existing.check_exhausted()
        if batch:
            self._finish(batch)
        self._failures.flush()

    def _jobs(self, entries: Iterable[Entry]) -> Iterator[_Job | Failure]:
        seen: set[str] = set()
        for entry in entries:
            if isinstance(entry, Failure):
                yield entry
                continue
            path = self._rename(entry.path)
            fault = _name_fault(path, seen)
            seen.add(path)
            yield _Job(entry, path, self._existing.take(path)) if fault is None else Failure(entry.path, fault)

    def _task(self, job: _Job | Failure) -> Callable[[], Image | Fault] | None:
        if isinstance(job, Failure) or job.known is not None:
            return None
        return lambda: self._image(job.item)

    def _image(self, item: Item) -> Image | Fault:
        data = item.read()
        return data if isinstance(data, Fault) else decode(data, side_px=self._cropper.side_px)

    def _member(self, job: _Job | Failure, image: Image | Fault | None) -> _Member | Failure:
        if isinstance(job, Failure):
            return job
        if image is None:
            self.skipped += 1
            self._known_seen += 1
            return _Member(job, None)
        crop = image if isinstance(image, Fault) else self._cropper.crop(image)
        return Failure(job.item.path, crop) if isinstance(crop, Fault) else _Member(job, crop)

    def _finish(self, batch: list[_Member]) -> None:
        """Skip, verify or write one batch."""
        if self._is_verified and all(member.job.known for member in batch):
            self._keep(batch)
            return
        crops = [self._crop(member) for member in batch]
        numbers = self._scorer(np.stack([crop.image for crop in crops]))
        is_finite = [bool(np.isfinite(numbers[:, i]).all()) for i in range(len(batch))]
        rows = [self._rows(member, crops[i], numbers[:, i]) for i, member in enumerate(batch)]
        if not self._is_writing:
            self._verify(batch, rows, is_finite)
        for member, good in zip(batch, is_finite, strict=True):
            if not good:
                fault = Fault(Why.NOT_FINITE, "the method gives no finite number for this image")
                self._failures.add(Failure(member.job.item.path, fault))
        if all(member.job.known for member in batch) or self._rows_remain:
            self._keep(batch)
        else:
            self._write([row for row, good in zip(rows, is_finite, strict=True) if good])

    @property
    def _rows_remain(self) -> bool:
        """Whether there are existing rows behind the batch at hand; images are fed ahead of it."""
        return not self._existing.is_exhausted or self._existing.taken > self._known_seen

    def _crop(self, member: _Member) -> Crop:
        """The member's crop; a known image is now looked at after all."""
        if member.crop is not None:
            return member.crop
        image = self._image(member.job.item)
        crop = image if isinstance(image, Fault) else self._cropper.crop(image)
        if isinstance(crop, Fault):
            raise GateError(
                f"{self._sheets[0].name} has a row for {member.job.path}, which now has no score ({crop}). {REMEDY}"
            )
        return crop

    def _rows(self, member: _Member, crop: Crop, numbers: FloatArray) -> list[Row]:
        return [Row(member.job.path, (*map(float, sheet), *crop.details)) for sheet in numbers]

    def _verify(self, batch: list[_Member], rows: list[list[Row]], is_finite: list[bool]) -> None:
        """Raises `GateError` unless the existing rows are what this run computes."""
        last_known = max((i for i, member in enumerate(batch) if member.job.known), default=-1)
        if self._rows_remain:
            last_known = len(batch)
        for i, (member, scored) in enumerate(zip(batch, rows, strict=True)):
            if member.job.known is not None:
                for sheet, old, new in zip(self._sheets, member.job.known.rows, scored, strict=True):
                    check_same(sheet, old, new)
            elif i < last_known and is_finite[i]:
                raise GateError(
                    f"{self._sheets[0].name} has no row for {member.job.path}, but has rows for images behind it: the "
                    f"inputs have changed, or it was made from others. {REMEDY}"
                )
        self._is_verified = True

    def _keep(self, batch: list[_Member]) -> None:
        known = [member.job.known for member in batch if member.job.known is not None]
        self.scored += len(known)
        if known:
            self._kept = known[-1].ends

    def _write(self, rows: list[list[Row]]) -> None:
        for place, sheet in enumerate(self._sheets):
            behind = None if self._is_writing else self._kept[place]
            sheet.append([of_sheets[place] for of_sheets in rows], behind=behind)
        self._is_writing = True
        self.scored += len(rows)
        self._failures.flush()


def _name_fault(path: str, seen: set[str]) -> Fault | None:
    if "\n" in path or "\r" in path:
        return Fault(Why.UNUSABLE_NAME, "a line break in the path would be two lines in the output")
    if not path:
        return Fault(Why.UNUSABLE_NAME, "the path is empty")
    if path in seen:
        return Fault(Why.DUPLICATE, "another image of the inputs has this path; only the first one is scored")
    return None
