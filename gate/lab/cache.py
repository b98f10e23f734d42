"""Results of networks on images, kept on disk so that nothing is computed twice.

One file holds what one computation (method, model, options, seed) gave for every image it has seen, keyed by the sha256
of the image file's bytes: renaming a folder, adding images or packing them into a tar costs nothing. A file that is
damaged in any way fails its checksum and is computed again; one that another process wrote meanwhile is merged.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.types import FloatArray

_FORMAT = 1

SAVE_EVERY = 1024
"""Images after which the file is written: what an interruption can cost."""

Compute = Callable[[Sequence[int]], tuple[FloatArray, float]]
"""Places of images to their rows, (n, columns) float32, and the seconds that the computation alone took."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known about some images."""

    rows: dict[str, FloatArray]
    """sha256 of the image → (columns,) float32."""

    seconds: float
    """Time that computing took, images of all runs together."""

    timed: int
    """Images that `seconds` was spent on."""

    @property
    def ms_per_crop(self) -> float:
        """Milliseconds per image, NaN when nothing was timed."""
        return 1000 * self.seconds / self.timed if self.timed else float("nan")


def default_folder() -> Path:
    """`facegate/lab` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "facegate" / "lab"


class Cache:
    """A folder of results."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made when first needed."""
        self.folder = folder

    def fetch(
        self,
        kind: str,
        key: Mapping[str, object],
        digests: Sequence[str],
        compute: Compute,
        *,
        progress: Callable[[int, int], None] | None = None,
        batch: int = 64,
    ) -> tuple[FloatArray, float]:
        """Rows for all images, computing those that are not known yet.

        Args:
            kind: first word of the file's name, such as the method's.
            key: everything that the numbers depend on beside the image.
            digests: N sha256 of the images, repeats allowed.
            compute: called with places in `digests` whose rows are wanted.
            progress: called with (known, N) after each batch.
            batch: how many places at once.

        Returns:
            (N, columns) float32, and the measured milliseconds per image (NaN when never measured).

        Raises:
            GateError: the folder cannot be written.
        """
        path = self._path(kind, key)
        known = _read(path)
        missing = list({digest: place for place, digest in enumerate(digests) if digest not in known.rows}.values())
        unsaved = 0
        for start in range(0, len(missing), batch):
            some = missing[start : start + batch]
            # Another process may have written some of them since.
            places = [place for place in some if digests[place] not in known.rows]
            rows, seconds = compute(places) if places else (np.empty((0, 0), dtype=np.float32), 0.0)
            known.rows.update({digests[place]: row for place, row in zip(places, rows, strict=True)})
            # The first of several batches pays for warming up, which is not the method's cost.
            if start or len(missing) <= batch:
                known = Known(known.rows, known.seconds + seconds, known.timed + len(places))
            unsaved += len(places)
            done = start + len(some)
            if unsaved >= SAVE_EVERY or done == len(missing):
                known = _write(path, known)
                unsaved = 0
            if progress is not None:
                progress(len(digests) - len(missing) + done, len(digests))
        return np.stack([known.rows[digest] for digest in digests]), known.ms_per_crop

    def _path(self, kind: str, key: Mapping[str, object]) -> Path:
        text = json.dumps({"format": _FORMAT, **key}, sort_keys=True, default=str)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def _read(path: Path) -> Known:
    """What the file holds; nothing when it is missing or damaged."""
    try:
        # Given the path, numpy leaves the file open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            digests, rows, timing, checksum = (data[name] for name in ("digests", "rows", "timing", "checksum"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return Known({}, 0.0, 0)
    if _checksum(digests, rows, timing) != str(checksum) or len(digests) != len(rows):
        return Known({}, 0.0, 0)
    return Known(dict(zip(digests.tolist(), rows, strict=True)), float(timing[0]), int(timing[1]))


def _write(path: Path, known: Known) -> Known:
    """Write what is known together with what another process has written meanwhile; returns both."""
    there = _read(path)
    merged = Known({**there.rows, **known.rows}, known.seconds, known.timed)
    digests = np.array(list(merged.rows), dtype=np.str_)
    rows = np.stack(list(merged.rows.values()))
    timing = np.array([merged.seconds, merged.timed], dtype=np.float64)
    packed = io.BytesIO()
    np.savez(packed, digests=digests, rows=rows, timing=timing, checksum=np.array(_checksum(digests, rows, timing)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as part:
            part.write(packed.getbuffer())
        # tempfile's 0600 would hide a shared folder's results from every other account.
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)
    except OSError as error:
        raise GateError(
            f"cache {path.parent}: {error.strerror or error}. Name a writable folder with --cache."
        ) from None
    return merged


def _checksum(*arrays: npt.NDArray[np.generic]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
