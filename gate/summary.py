"""The file with the final counts of a run: whole or not there at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gate.errors import ConfigError


class SummaryFile:
    """Where a run leaves its counts as JSON.

    A file is replaced at once, so that nobody reads half of it. What is no file of its own, such as a link, a pipe or
    /dev/stdout, is written to where it is.

    Args:
        path: the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._in_place = path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir())

    def prepare(self) -> None:
        """Find out now, and not after a day, that it cannot be written.

        The summary of an earlier run goes, lest it be taken for that of a run that then fails.

        Raises:
            ConfigError: it cannot be written.
        """
        if self._in_place:
            return
        try:
            self._replace("")
            self._path.unlink()
        except OSError as error:
            problem = "it is a folder" if self._path.is_dir() else error.strerror
            raise ConfigError(f"--summary {self._path}: {problem}. Give a file in a folder that is there.") from None

    def write(self, counts: Mapping[str, Any]) -> None:
        """Write the counts. Raises `OSError`."""
        text = json.dumps(counts, indent=2) + "\n"
        if self._in_place:
            self._path.write_text(text, encoding="utf-8")
        else:
            self._replace(text)

    def _replace(self, text: str) -> None:
        part = self._path.with_name(f"{self._path.name}.part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(self._path)
        finally:
            part.unlink(missing_ok=True)
