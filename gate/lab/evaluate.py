"""The evaluation itself: scores, pairs and embeddings in, one `EvaluationResult` out. No files, no networks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations

import numpy as np

from gate import __version__
from gate.errors import GateError
from gate.lab.bootstrap import interval, p_value
from gate.lab.curves import DoubleArray
from gate.lab.datasets import numbered
from gate.lab.det import histogram, score_statistics, spearman
from gate.lab.embeddings import Embeddings, similarities, unit
from gate.lab.modes import joined
from gate.lab.pairs import Comparisons
from gate.lab.results import (
    Dataset,
    EvaluationResult,
    Histogram,
    MethodResult,
    PairwiseTest,
    Recognizer,
    Samples,
    Similarities,
)
from gate.lab.scores import MethodScores
from gate.lab.trial import MethodCurves, Settings, Trial
from gate.types import FloatArray

_LIBRARIES = ("torch", "numpy", "scipy", "onnxruntime", "cv2", "PIL")

_NO_RECOGNIZER = Recognizer("none", "none", "", "none", 0, float("nan"))
_EMPTY = Histogram((), ())


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is evaluated."""

    description: str
    """Where the crops came from and how the pairs were made, one line."""

    paths: tuple[str, ...]
    """N image paths."""

    identities: tuple[str, ...]
    """N identity names."""

    checksum: str
    """`Dataset.checksum`."""

    pairs: Comparisons
    """Which images are compared; none without a recognizer."""

    embeddings: Embeddings | None
    """Of the N images; None when only scores are looked at."""

    methods: Sequence[MethodScores]
    """At least one, with different names."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the numbers came about."""

    command: str
    created_ms: int
    warnings: tuple[str, ...] = ()


def evaluate(material: Material, settings: Settings, provenance: Provenance) -> EvaluationResult:
    """Judge every method on the same pairs at the same thresholds.

    Raises:
        GateError: two methods share a name, scores and images differ in number, or one kind of pairs is missing.
    """
    _check(material)
    similarity = np.empty(0, dtype=np.float32)
    trial: Trial | None = None
    if material.embeddings is not None:
        similarity = similarities(unit(material.embeddings.plain, material.paths), material.pairs)
        trial = _trial(material, similarity, settings)
    judged = [trial.judge(method.scores) if trial else MethodCurves((), (), None) for method in material.methods]
    areas = {
        method.name: curves.iso_areas
        for method, curves in zip(material.methods, judged, strict=True)
        if curves.iso_areas is not None
    }
    results = tuple(_method(method, curves) for method, curves in zip(material.methods, judged, strict=True))
    return EvaluationResult(
        command=provenance.command,
        version=__version__,
        libraries=_libraries(),
        created_ms=provenance.created_ms,
        seed=settings.seed,
        bootstrap=settings.bootstrap,
        fmr_targets=settings.fmr_targets,
        limits=settings.limits,
        modes=settings.modes,
        recognizer=material.embeddings.recognizer if material.embeddings else _NO_RECOGNIZER,
        dataset=_dataset(material),
        methods=results,
        pairwise=tuple(_tests(results, areas, settings)),
        spearman=spearman([method.name for method in results], [method.scores for method in material.methods]),
        similarities=_spread(similarity, material.pairs),
        warnings=provenance.warnings,
        samples=_samples(material, similarity),
    )


def _check(material: Material) -> None:
    names = [method.name for method in material.methods]
    if not names:
        raise GateError("nothing to evaluate: name at least one method or score file")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GateError(f"two sets of scores are called {twice[0]!r}; give each its own name")
    for method in material.methods:
        if len(method.scores) != len(material.paths):
            raise GateError(f"{method.name}: {len(method.scores)} scores for {len(material.paths)} images")
    if material.embeddings is not None and not (material.pairs.n_genuine and material.pairs.n_impostor):
        raise GateError(
            f"{material.pairs.n_genuine} genuine and {material.pairs.n_impostor} impostor pairs; both are needed. Give "
            " --pairs, or crops in one folder a person with several images of some of them."
        )


def _trial(material: Material, similarity: FloatArray, settings: Settings) -> Trial:
    embeddings = material.embeddings
    twin = None
    if embeddings is not None and embeddings.mirrored is not None and "crfiqa" in settings.modes:
        both = unit(joined(embeddings.plain, embeddings.mirrored), material.paths)
        twin = similarities(both, material.pairs)
    return Trial(material.pairs, similarity, twin, numbered(material.identities), settings)


def _method(method: MethodScores, judged: MethodCurves) -> MethodResult:
    return MethodResult(
        name=method.name,
        method=method.method,
        model=method.model,
        options=dict(method.options),
        ms_per_crop=method.ms_per_crop,
        device=method.device,
        statistics=score_statistics(method.scores),
        curves=judged.curves,
        det=judged.det,
        kept=judged.kept,
    )


def _tests(methods: Sequence[MethodResult], areas: dict[str, DoubleArray], settings: Settings) -> "list[PairwiseTest]":
    tests = []
    for a, b in combinations([method for method in methods if method.name in areas], 2):
        if "iso" not in settings.modes:
            continue
        for row, fmr in enumerate(settings.fmr_targets):
            for column, limit in enumerate(settings.limits):
                differences = areas[a.name][row, column] - areas[b.name][row, column]
                at = [method.curve("iso", "fnmr", fmr).pauc(limit).normalised for method in (a, b)]
                low, high = interval(differences)
                tests.append(PairwiseTest(a.name, b.name, fmr, limit, at[0] - at[1], low, high, p_value(differences)))
    return tests


def _dataset(material: Material) -> Dataset:
    return Dataset(
        description=material.description,
        n_images=len(material.paths),
        n_identities=len(set(material.identities)),
        n_genuine=material.pairs.n_genuine,
        n_impostor=material.pairs.n_impostor,
        checksum=material.checksum,
        pairs_checksum=_pairs_checksum(material),
    )


def _pairs_checksum(material: Material) -> str:
    """sha256 over the image paths in order, then the pairs' indices and labels."""
    digest = hashlib.sha256("\n".join(material.paths).encode("utf-8", "surrogateescape"))
    for array in (material.pairs.first, material.pairs.second, material.pairs.same):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _spread(similarity: FloatArray, pairs: Comparisons) -> Similarities:
    if len(similarity) == 0:
        return Similarities(_EMPTY, _EMPTY)
    return Similarities(histogram(similarity[pairs.same]), histogram(similarity[~pairs.same]))


def _samples(material: Material, similarity: FloatArray) -> Samples:
    compared = material.pairs if len(similarity) else material.pairs.taken(np.empty(0, dtype=np.int32))
    return Samples(
        paths=material.paths,
        identities=material.identities,
        scores={method.name: method.scores for method in material.methods},
        first=compared.first,
        second=compared.second,
        same=compared.same,
        similarity=similarity,
    )


def _libraries() -> dict[str, str]:
    """Versions of what makes the numbers. Import names, because OpenCV has four distributions."""
    distributions = metadata.packages_distributions()
    known = {name: distributions[name][0] for name in _LIBRARIES if name in distributions}
    return {name: metadata.version(distribution) for name, distribution in known.items()}
