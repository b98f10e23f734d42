"""Quality scores of crops: computed by a method through the cache, or read from a score file."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gate import __version__
from gate.errors import GateError
from gate.lab.cache import Cache
from gate.lab.datasets import CropSet
from gate.lab.embeddings import Progress
from gate.lab.pairs import PathIndex
from gate.scoring import read_scores
from gate.types import FloatArray

if TYPE_CHECKING:
    from gate.quality import QualityMethod


_TEXTS = frozenset({"backbone", "weights"})
_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, slots=True, eq=False)
class MethodScores:
    """What one method says of N images."""

    name: str
    """As the user sees it."""

    scores: FloatArray
    """(N,) float32, higher is better, all finite."""

    method: str = ""
    """Name of the registered method; empty when the scores came from a file."""

    model: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    ms_per_crop: float = float("nan")
    device: str = ""


@dataclass(frozen=True, slots=True)
class MethodRequest:
    """A method as the user asks for it: `grafiqs`, or `grafiqs:phi=block3,backbone=iresnet50:/a/file.pt`."""

    name: str
    """The whole text: two requests of one method differ in it."""

    method: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "MethodRequest":
        """Read one request.

        Raises:
            GateError: an option is not `name=value`.
        """
        method, _, rest = text.partition(":")
        cells = [cell.partition("=") for cell in rest.split(",")] if rest else []
        if any(not name or not equals for name, equals, _ in cells):
            raise GateError(f"method {text!r}: options are written method:name=value,name=value")
        return cls(text, method, {name: value for name, _, value in cells})

    def load(self, device: str) -> "QualityMethod":
        """The method, ready to score; raises as `gate.quality.load_method`."""
        from gate.quality import load_method, method_info

        defaults = method_info(self.method).options
        options: dict[str, Any] = {
            name: _typed(name, value, defaults.get(name)) for name, value in self.options.items()
        }
        return load_method(self.method, device=device, **options)


def _typed(name: str, text: str, default: object) -> object:
    """Text for names, files and options whose default is text; else the number or word that it looks like."""
    if isinstance(default, str) or name in _TEXTS:
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def compute_scores(
    request: MethodRequest,
    method: "QualityMethod",
    crops: CropSet,
    cache: Cache,
    *,
    seed: int,
    progress: Progress | None,
) -> MethodScores:
    """Score every crop that the cache does not know yet; each crop draws its noise from the same seed.

    Raises:
        GateError: the method gives something that is not a finite number.
    """
    from gate.quality import method_info

    def compute(places: Sequence[int]) -> tuple[FloatArray, float]:
        rows: list[FloatArray] = []
        seconds = 0.0
        for _, images in crops.batches(places):
            start_s = time.perf_counter()
            rows.append(method.score(images, seeds=seed))
            seconds += time.perf_counter() - start_s
        return np.concatenate(rows)[:, None], seconds

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(request.name, done, total)

    options = {**method_info(request.method).options, **request.options}
    key = {
        "method": method.name,
        "model": method.model,
        "options": {name: str(value) for name, value in options.items()},
        "seed": seed,
        "device": method.device,
        "version": __version__,
    }
    rows, ms_per_crop = cache.fetch(f"score-{method.name}", key, crops.digests, compute, progress=tell)
    return MethodScores(
        name=request.name,
        scores=_finite(rows[:, 0], crops.paths, request.name),
        method=method.name,
        model=method.model,
        options=dict(request.options),
        ms_per_crop=ms_per_crop,
        device=method.device,
    )


def load_scores(name: str, path: Path, paths: Sequence[str]) -> MethodScores:
    """Scores from a file in any format of `gate score`, for N images.

    Raises:
        GateError: the file cannot be read, or lacks an image.
    """
    from gate.weights.sums import sha256_of

    table = read_scores(path)
    index, values = PathIndex(list(table)), list(table.values())
    found = [index.find(image) for image in paths]
    places = [place for place in found if place is not None]
    if len(places) < len(paths):
        lost = paths[found.index(None)]
        raise GateError(f"scores {path}: {len(paths) - len(places)} of {len(paths)} images have none, such as {lost}.")
    scores = np.array([values[place] for place in places], dtype=np.float32)
    return MethodScores(name, _finite(scores, paths, name), model=f"{path.name}@{sha256_of(path)[:8]}")


def _finite(scores: FloatArray, paths: Sequence[str], name: str) -> FloatArray:
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise GateError(f"{name}: {len(bad)} image(s) have no finite score, such as {paths[bad[0]]}. Leave them out.")
    return scores
