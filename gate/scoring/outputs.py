"""The files that a run writes."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from gate.errors import GateError
from gate.scoring.formats import RowFormat, row_format
from gate.scoring.pickled import finish_pickle, journal_of, restore_journal
from gate.scoring.request import Request
from gate.scoring.sheet import FileSheet, Sheet, StreamSheet

PUBLISHED_STEM = "GraFIQs"
"""What the published tool's five files begin with: GraFIQs_image.txt to GraFIQs_block4.txt."""

_EXTENSIONS = {"txt": ".txt", "csv": ".csv", "jsonl": ".jsonl", "pickle": ".pkl"}


def output_paths(request: Request, names: Sequence[str]) -> list[Path]:
    """One file for each sheet; none for standard output.

    A single sheet goes to `-o` itself. For several ones `-o` is a folder, in which the published tool's names are
    taken, or a file `DIR/STEM.EXT`, which becomes DIR/STEM_image.EXT and so on.
    """
    if request.output is None:
        return []
    path = Path(request.output)
    if tuple(names) == ("",):
        return [path]
    is_folder = path.is_dir() or not path.suffix
    folder, stem = (path, PUBLISHED_STEM) if is_folder else (path.parent, path.stem)
    extension = _EXTENSIONS[request.file_format] if is_folder else path.suffix
    return [folder / f"{stem}_{name}{extension}" for name in names]


@contextmanager
def opened_sheets(request: Request, names: Sequence[str], columns: tuple[str, ...]) -> Iterator[list[Sheet]]:
    """Open a sheet for each name, and finish them when the run has come to its end.

    Raises:
        GateError: a file cannot be written, or holds something else.
    """
    rows = row_format(request.file_format, columns)
    paths = output_paths(request, names)
    with ExitStack() as stack:
        if not paths:
            yield [StreamSheet(sys.stdout.buffer, rows)]
        elif request.file_format == "pickle":
            yield [stack.enter_context(_pickled(path, rows, overwrite=request.overwrite)) for path in paths]
        else:
            yield [stack.enter_context(closing(_sheet(path, rows, request, stack))) for path in paths]


def _sheet(path: Path, rows: RowFormat, request: Request, stack: ExitStack) -> Sheet:
    if path.is_dir():
        raise GateError(f"-o {path} is a folder. Name a file.")
    if not path.exists() or path.is_file():
        return FileSheet(path, rows, overwrite=request.overwrite)
    try:
        return StreamSheet(stack.enter_context(path.open("wb")), rows, str(path))
    except OSError as error:
        raise GateError(f"{path} cannot be written: {error.strerror or error}. Give another -o.") from None


@contextmanager
def _pickled(path: Path, rows: RowFormat, *, overwrite: bool) -> Iterator[Sheet]:
    if path.exists() and not path.is_file():
        raise GateError(f"-o {path} is not a regular file, which a pickle needs. Give another -o.")
    journal = journal_of(path)
    is_restored = not overwrite and restore_journal(path)
    restored_bytes = journal.stat().st_size if is_restored else -1
    try:
        with closing(FileSheet(journal, rows, overwrite=overwrite)) as sheet:
            yield sheet
        if journal.exists():
            finish_pickle(path)
    finally:
        # A run that was refused leaves the folder as it was.
        if is_restored and journal.exists() and journal.stat().st_size == restored_bytes:
            journal.unlink()
