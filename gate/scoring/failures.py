"""The images without a score: counted, kept in a file, summed up."""

import csv
from collections import Counter
from pathlib import Path
from typing import TextIO

from gate.errors import GateError
from gate.scoring.fault import Failure, Why

SHOWN = 10
"""How many failures the summary names one by one."""


class Failures:
    """Collects failures and writes them as CSV, `path,reason`, where a file is given.

    The file is written anew by every run, the continued one included, which comes across the same failures again.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the file; what is in it stays until the first `flush`. Raises `GateError` when it cannot be written."""
        self.counts: Counter[Why] = Counter()
        self.first: list[Failure] = []
        self._path = path
        self._waiting: list[Failure] = []
        self._file = None if path is None else self._opened(path)
        self._has_begun = False

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, failure: Failure) -> None:
        """Take note of one more."""
        self.counts[failure.fault.why] += 1
        if len(self.first) < SHOWN:
            self.first.append(failure)
        if self._file is not None:
            self._waiting.append(failure)

    def flush(self) -> None:
        """Write what has come together since the last time. Raises `GateError` when the disk is full."""
        if self._file is None:
            return
        try:
            if not self._has_begun:
                self._file.truncate(0)
                self._file.write("path,reason\n")
                self._has_begun = True
            plain = csv.writer(self._file, lineterminator="\n")
            quoted = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            for failure in self._waiting:
                # Left to itself, Python before 3.13 forgets to quote a carriage return.
                (quoted if "\r" in failure.path else plain).writerow((failure.path, str(failure.fault)))
            self._file.flush()
        except OSError as error:
            raise GateError(f"--errors {self._path} cannot be written: {error.strerror or error}.") from None
        self._waiting.clear()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _opened(path: Path) -> TextIO:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a", encoding="utf-8", errors="surrogateescape", newline="")
        except OSError as error:
            raise GateError(f"--errors {path} cannot be written: {error.strerror or error}.") from None
