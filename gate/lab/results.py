"""What an evaluation found: frozen values, with their JSON form.

`EvaluationResult` is everything in `results.json`; `Samples` holds the arrays behind it (scores, pairs, similarities),
which a report needs for its galleries and group statistics but which would make the JSON unreadable.
Numbers that do not exist (a share of zero errors) are NaN in Python and `null` in JSON.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.lab.jsonform import plain, typed
from gate.lab.kept import KeptCurve
from gate.types import FloatArray

Mode: TypeAlias = Literal["iso", "crfiqa", "beyond-edc"]
"""Which published rule made a curve: see `gate.lab.curves` and `gate.lab.modes`."""

ErrorKind: TypeAlias = Literal["fnmr", "fmr"]
"""False non-matches of genuine pairs, or false matches of impostor pairs."""

IndexArray: TypeAlias = npt.NDArray[np.int32]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

FEW_ERRORS = 30
"""An operating point that rests on fewer errors than this is marked with a warning (the statisticians' rule of 30)."""

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Recognizer:
    """The face recognition network whose errors are counted."""

    name: str
    """Name in the weights zoo, or the file's name."""

    model: str
    """name@first 8 hex digits of the weights' sha256."""

    sha256: str
    """Of the weight file (of a zoo backbone its first 8 digits); of the embeddings file when embeddings were given."""

    kind: Literal["backbone", "onnx", "embeddings", "none"]
    """A network of the zoo, an ONNX file, embeddings that were computed elsewhere, or no recognizer at all: then
    there are no pairs and no curves, only scores."""

    dimensions: int
    """Length of one embedding."""

    ms_per_crop: float
    """Measured milliseconds per embedding when it was computed, NaN for embeddings from a file."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images and the comparisons."""

    description: str
    """One line: where the crops came from and how the pairs were made."""

    n_images: int
    """Images that take part in at least one comparison, or were scored."""

    n_identities: int

    n_genuine: int
    """Comparisons of two images of one person."""

    n_impostor: int
    """Comparisons of two images of different people."""

    checksum: str
    """sha256 over the sorted (path, sha256 of the image's bytes) list: the same images give the same number."""

    pairs_checksum: str
    """sha256 over the list of comparisons."""


@dataclass(frozen=True, slots=True)
class Pauc:
    """Partial area under one curve, from a discard fraction of 0 to `limit`; lower is better."""

    limit: float
    """Largest discard fraction counted, 0..1."""

    raw: float
    """The area, in units of the error rate."""

    normalised: float
    """`raw / (limit * error rate without discards)`: 1.0 is no better than discarding at random; NaN without errors."""

    share_of_ideal: float
    """How much of the way from random (0) to the ideal curve max(e0 - x, 0) (1) was gone; negative is worse than
    random; NaN without errors."""

    low: float
    """2.5 % quantile of `normalised` over the bootstrap; NaN without a bootstrap."""

    high: float
    """97.5 % quantile of `normalised` over the bootstrap; NaN without a bootstrap."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One error-versus-discard curve of one method."""

    mode: Mode

    error: ErrorKind

    fmr_target: float
    """False match rate at which the threshold was asked for, 0..1."""

    threshold: float
    """A pair matches when its similarity is above this (cosine, -1..1). In mode `crfiqa`: the arccos distance (0..1)
    below which a pair matches, with nothing discarded."""

    fmr0: float
    """False match rate that the threshold really gives, with nothing discarded."""

    fnmr0: float
    """False non-match rate at the threshold, with nothing discarded."""

    false_matches: int
    """Impostor pairs above the threshold with nothing discarded: what the threshold rests on."""

    false_non_matches: int
    """Genuine pairs not above the threshold with nothing discarded: what the FNMR rests on."""

    x: tuple[float, ...]
    """Discarded fractions, ascending from 0: of pairs (`iso`: of this kind; `crfiqa`: of both), of images
    (`beyond-edc`)."""

    y: tuple[float, ...]
    """Error rate among what is kept; same length as x. A step curve holds y[i] from x[i] up to x[i+1]
    (`interpolation` says which)."""

    interpolation: Literal["step", "linear"]
    """How to draw between the points: `step` (held until the next point) or `linear` (`crfiqa`)."""

    paucs: tuple[Pauc, ...]
    """One for each limit, ascending."""

    warning: str
    """Why these numbers must be read with care; empty when the operating point rests on enough errors."""

    def pauc(self, limit: float) -> Pauc:
        """The area up to `limit`.

        Raises:
            KeyError: The evaluation was not asked for this limit.
        """
        for pauc in self.paucs:
            if math.isclose(pauc.limit, limit):
                return pauc
        raise KeyError(limit)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of values between edges."""

    edges: tuple[float, ...]
    """B + 1 ascending bin edges."""

    counts: tuple[int, ...]
    """B counts."""


@dataclass(frozen=True, slots=True)
class ScoreStatistics:
    """How one method's scores are spread over the images."""

    mean: float
    std: float
    minimum: float
    median: float
    maximum: float
    distinct: int
    """How many different values there are: few values mean many ties."""

    histogram: Histogram


@dataclass(frozen=True, slots=True)
class DetCurve:
    """False non-match rate over false match rate, after the worst images were discarded."""

    discarded: float
    """Fraction of images that was asked to be discarded; 0.0 is the curve without discards."""

    n_genuine: int
    """Genuine pairs left."""

    n_impostor: int
    """Impostor pairs left."""

    fmr: tuple[float, ...]
    """Ascending."""

    fnmr: tuple[float, ...]
    """Descending; same length."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """Everything about one quality method."""

    name: str
    """As the user sees it: the method, with its options where two entries would share a name."""

    method: str
    """Name of the registered method; empty when the scores came from a file."""

    model: str
    """name@first 8 hex digits of the weights' sha256; `file@sha` when the scores came from a file."""

    options: dict[str, str]
    """Options of the method, as written by the user."""

    ms_per_crop: float
    """Milliseconds per crop, measured when the scores were computed; NaN when unknown (scores from a file)."""

    device: str
    """Where the scores were computed, empty when unknown."""

    statistics: ScoreStatistics

    curves: tuple[Curve, ...]

    det: tuple[DetCurve, ...]
    """With the largest fractions last; the first is without discards."""

    kept: tuple[KeptCurve, ...] = ()
    """One for each FMR target; empty without a recognizer, and in files of a gate that did not write it."""

    def curve(self, mode: Mode, error: ErrorKind, fmr_target: float) -> Curve:
        """The curve of one rule, kind and operating point.

        Raises:
            KeyError: The evaluation was not asked for it.
        """
        for curve in self.curves:
            if curve.mode == mode and curve.error == error and math.isclose(curve.fmr_target, fmr_target):
                return curve
        raise KeyError((mode, error, fmr_target))


@dataclass(frozen=True, slots=True)
class PairwiseTest:
    """Is one method's normalised pAUC (ISO curve, FNMR) lower than another's? A paired bootstrap over identities."""

    method_a: str
    method_b: str
    fmr: float
    limit: float
    difference: float
    """Normalised pAUC of a minus that of b: negative when a is better."""

    low: float
    """2.5 % quantile of the difference over the bootstrap."""

    high: float
    """97.5 % quantile of the difference over the bootstrap."""

    p: float
    """Two-sided p value; not corrected for the number of comparisons."""


@dataclass(frozen=True, slots=True)
class SpearmanMatrix:
    """Rank correlation of the methods' scores over the images."""

    methods: tuple[str, ...]
    rho: tuple[tuple[float, ...], ...]
    """Square, symmetric, ones on the diagonal; NaN where a method gives one value only."""


@dataclass(frozen=True, slots=True)
class Similarities:
    """How the recognizer's similarities are spread."""

    genuine: Histogram
    impostor: Histogram


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The arrays behind a result, not part of its JSON."""

    paths: tuple[str, ...]
    """N image paths as in the folder or tar, e.g. `Ann_Lee/Ann_Lee_0001.jpg`; every index below counts in these."""

    identities: tuple[str, ...]
    """N identity names."""

    scores: Mapping[str, FloatArray]
    """`MethodResult.name` → (N,) float32, higher = better, all finite."""

    first: IndexArray
    """(P,) int32 index of each pair's first image."""

    second: IndexArray
    """(P,) int32 index of each pair's second image."""

    same: BoolArray
    """(P,) True for genuine pairs."""

    similarity: FloatArray
    """(P,) float32 cosine of the two embeddings."""


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """One run of the laboratory: what `results.json` holds."""

    command: str
    """The exact command line, or a description when called from Python."""

    version: str
    """Version of this package."""

    libraries: dict[str, str]
    """Library → version, for whoever wants the same numbers again."""

    created_ms: int
    """Unix milliseconds."""

    seed: int

    bootstrap: int
    """How many bootstrap replicates the intervals rest on; 0 for none."""

    fmr_targets: tuple[float, ...]
    limits: tuple[float, ...]
    modes: tuple[Mode, ...]
    recognizer: Recognizer
    dataset: Dataset
    methods: tuple[MethodResult, ...]
    pairwise: tuple[PairwiseTest, ...]
    spearman: SpearmanMatrix
    similarities: Similarities
    warnings: tuple[str, ...]
    """What holds for the whole run; warnings of one operating point are on its curve."""

    samples: Samples | None = field(default=None, compare=False, repr=False, metadata={"json": False})
    """The arrays; None after reading `results.json`."""

    def method(self, name: str) -> MethodResult:
        """The result of one method.

        Raises:
            KeyError: No method has this name.
        """
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    def to_json(self) -> str:
        """The JSON text, without `samples`."""
        return json.dumps({"format": FORMAT, **plain(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "EvaluationResult":
        """Read what `to_json` wrote; `samples` is None.

        Raises:
            GateError: The text is not such a result.
        """
        try:
            data = json.loads(text)
            if data.pop("format") != FORMAT:
                raise GateError(f"results: format {FORMAT} is understood; this file was written by another version")
            return typed(cls, data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GateError(f"results: not a results.json of an evaluation: {error}") from None

    def save(self, folder: Path) -> Path:
        """Write `results.json` into the folder (made where missing) and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "results.json"
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path
