"""Score files that are a pickled dictionary, written without a half-finished one ever being there."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gate.errors import GateError
from gate.scoring.formats import Row, TextRows

_SCALARS = {"f2": "e", "f4": "f", "f8": "d"}


def journal_of(path: Path) -> Path:
    """Where the rows of a pickle are kept until the last one is there."""
    return path.with_name(f"{path.name}.part")


def restore_journal(path: Path) -> bool:
    """Make the journal of a finished pickle, so that it is checked and continued like any other file.

    Returns:
        Whether a journal was made: not when there is one already, nor when there is nothing to make it of.

    Raises:
        GateError: the pickle is no dictionary of scores.
    """
    journal = journal_of(path)
    if journal.exists() or not path.exists() or not path.stat().st_size:
        return False
    rows = TextRows()
    lines = b"".join(rows.line(Row(name, (score,))) for name, score in read_pickle(path).items())
    try:
        journal.write_bytes(lines)
    except OSError as error:
        raise GateError(f"{journal} cannot be written: {error.strerror or error}. Give another -o.") from None
    return True


def finish_pickle(path: Path) -> None:
    """Turn the journal into the pickle. Raises `GateError` when the disk is full; the journal stays then."""
    journal, draft = journal_of(path), path.with_name(f"{path.name}.new")
    rows = TextRows()
    try:
        with journal.open("rb") as lines:
            parsed = [rows.parse(line.removesuffix(b"\n")) for line in lines]
        with draft.open("wb") as file:
            pickle.dump({row.path: row.numbers[0] for row in parsed}, file, protocol=4)
        draft.replace(path)
        journal.unlink()
    except OSError as error:
        raise GateError(
            f"{path} cannot be written: {error.strerror or error}. Run the same command again; the scores are kept."
        ) from None


def read_pickle(path: Path) -> dict[str, float]:
    """A pickled dictionary of path → score without running anything that a pickle may contain.

    Scores may be Python's or numpy's numbers.

    Raises:
        GateError: the file cannot be read, or is anything else.
    """
    try:
        with path.open("rb") as file:
            document: Any = _ScoresUnpickler(file).load()
    except OSError as error:
        raise GateError(f"{path}: {error.strerror or error}.") from None
    # A damaged pickle makes the unpickler raise nearly every class there is.
    except Exception as error:  # noqa: BLE001
        raise GateError(f"{path} is no pickled dictionary of path and score: {error}.") from None
    if not isinstance(document, Mapping):
        raise GateError(f"{path} holds a pickled {type(document).__name__}, not a dictionary of path and score.")
    scores: dict[str, float] = {}
    for name, score in document.items():
        if not isinstance(name, str) or isinstance(score, bool) or not isinstance(score, (int, float)):
            raise GateError(f"{path} holds {name!r}: {score!r}, which is not a path and its score.")
        scores[name] = float(score)
    return scores


class _Dtype:
    """Stands in for numpy.dtype."""

    def __init__(self, code: str, *_flags: object) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: _Dtype, data: bytes) -> float:
    """Stands in for numpy's own function, for floating-point numbers."""
    number: float = struct.unpack(dtype.order + _SCALARS[dtype.code], data)[0]
    return number


def _bytes(text: str, _encoding: str) -> bytes:
    """Stands in for codecs.encode, by which old protocols carry bytes."""
    return text.encode("latin1")


class _ScoresUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        if name == "scalar" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return _scalar
        if (module, name) == ("numpy", "dtype"):
            return _Dtype
        if (module, name) == ("_codecs", "encode"):
            return _bytes
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which a score file has no use for")
