"""From what a user names (folders, files, methods) to the material of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gate.errors import GateError
from gate.lab.cache import Cache
from gate.lab.datasets import (
    CropSet,
    contradictions,
    folder_identities,
    identities_of_pairs,
    load_crops,
    numbered,
    table_identities,
)
from gate.lab.embeddings import Embeddings, Progress, compute_embeddings, read_embeddings
from gate.lab.evaluate import Material
from gate.lab.metadata import read_metadata
from gate.lab.pairs import Comparisons, genuine_pairs, impostor_pairs, read_pairs, resolve
from gate.lab.recognizers import load_recognizer
from gate.lab.scores import MethodRequest, MethodScores, compute_scores, load_scores
from gate.lab.trial import Settings

DEFAULT_IMPOSTORS = 1_000_000
DEFAULT_MAX_GENUINE = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for."""

    crops: str
    """Folder or archive of aligned crops."""

    methods: tuple[MethodRequest, ...] = ()
    scores: tuple[tuple[str, Path], ...] = ()
    """Name and score file."""

    recognizer: str | None = None
    embeddings: Path | None = None
    """In place of a recognizer."""

    pairs: Path | None = None
    impostors: int | None = None
    """Sampled impostor pairs; in place of the pair file's where there is one. Without either, a million."""

    max_genuine: int = DEFAULT_MAX_GENUINE
    """Most genuine pairs of one person, without a pair file."""

    metadata: Path | None = None
    identity_column: str | None = None
    """Column of the metadata that says who is on an image; without it the parent folder does."""

    device: str = "auto"
    cache: Path = Path()
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything that the evaluation needs, and what a reader should know of how it was made."""

    material: Material
    crops: CropSet
    """The same N images, for whoever wants to see them."""

    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    crops: CropSet
    identities: tuple[str, ...]
    pairs: Comparisons
    description: str
    warnings: tuple[str, ...]


def prepare(plan: Plan, progress: Progress | None = None) -> Prepared:
    """Read, embed and score; what the cache knows is not computed again.

    Raises:
        GateError: anything that is named cannot be used; the message says what and why.
    """
    from gate.quality.device import resolve_device

    crops = load_crops(plan.crops)
    compared = _compared(plan, crops)
    cache, device = Cache(plan.cache), resolve_device(plan.device)
    methods = [*_from_files(plan, compared.crops), *_computed(plan, compared.crops, cache, device, progress)]
    embeddings = _embeddings(plan, compared.crops, cache, device, progress)
    warnings = [*_left_out(crops), *compared.warnings]
    if embeddings is not None and embeddings.mirrored is None and "crfiqa" in plan.settings.modes:
        warnings.append("mode crfiqa is left out: the embeddings file has no embeddings of mirrored crops")
    material = Material(
        description=compared.description,
        paths=compared.crops.paths,
        identities=compared.identities,
        checksum=compared.crops.checksum,
        pairs=compared.pairs,
        embeddings=embeddings,
        methods=methods,
    )
    return Prepared(material, compared.crops, tuple(warnings))


def _left_out(crops: CropSet) -> list[str]:
    if not crops.failures:
        return []
    first = crops.failures[0]
    return [f"{len(crops.failures)} images are left out, such as {first.path} ({first.fault})"]


def _compared(plan: Plan, crops: CropSet) -> _Compared:
    name = Path(plan.crops).name
    if plan.recognizer is None and plan.embeddings is None:
        none = np.empty(0, dtype=np.int32)
        identities = _identities(plan, crops.paths)
        nobody = Comparisons(none, none, np.empty(0, dtype=np.bool_))
        return _Compared(crops, tuple(identities), nobody, f"{name}: scores only, no recognizer", ())
    return _all_pairs(plan, crops, name) if plan.pairs is None else _listed_pairs(plan, crops, name, plan.pairs)


def _identities(plan: Plan, paths: Sequence[str]) -> list[str]:
    if plan.identity_column is None:
        return folder_identities(paths)
    if plan.metadata is None:
        raise GateError("an identity column needs --metadata, the csv that it is in")
    table = read_metadata(plan.metadata)
    values = table.values(plan.identity_column, paths)
    return table_identities(
        {path: value for path, value in zip(paths, values, strict=True) if value}, paths, table.source
    )


def _all_pairs(plan: Plan, crops: CropSet, name: str) -> _Compared:
    names = _identities(plan, crops.paths)
    identities = numbered(names)
    seed = plan.settings.seed
    wanted = DEFAULT_IMPOSTORS if plan.impostors is None else plan.impostors
    pairs = genuine_pairs(identities, plan.max_genuine, seed).joined(impostor_pairs(identities, wanted, seed))
    description = (
        f"{name}: all genuine pairs, at most {plan.max_genuine} a person, "
        f"and {pairs.n_impostor} impostor pairs (seed {seed})"
    )
    return _Compared(crops, tuple(names), pairs, description, ())


def _listed_pairs(plan: Plan, crops: CropSet, name: str, file: Path) -> _Compared:
    pairs, warnings = _found(plan, crops, file)
    names = _identities(plan, crops.paths)
    disagreeing = contradictions(pairs, numbered(names))
    if disagreeing:
        warnings.append(
            f"{disagreeing} pairs contradict the identities of the folders or the metadata; "
            "who is who is taken from the pairs"
        )
        names = [str(label) for label in identities_of_pairs(pairs, len(names))]
    if plan.impostors is None:
        return _used(_Compared(crops, tuple(names), pairs, f"{name}: the pairs of {file.name}", tuple(warnings)))
    sample = impostor_pairs(numbered(names), plan.impostors, plan.settings.seed)
    description = (
        f"{name}: the {pairs.n_genuine} genuine pairs of {file.name} "
        f"and {sample.n_impostor} impostor pairs of all images (seed {plan.settings.seed})"
    )
    return _Compared(crops, tuple(names), pairs.genuine().joined(sample), description, tuple(warnings))


def _found(plan: Plan, crops: CropSet, file: Path) -> tuple[Comparisons, list[str]]:
    """The pairs of a file whose images are there, and what to say of the others."""
    named = read_pairs(file)
    pairs, lost = resolve(named, crops.paths)
    if len(lost) == len(named):
        raise GateError(
            f"pairs {file}: none of its images is in {plan.crops}; its first line means {named[0].first} and "
            f"{named[0].second}, where the crops are called like {crops.paths[0]}."
        )
    if not lost:
        return pairs, []
    return pairs, [f"{len(lost)} of {len(named)} pairs are left out: an image is missing (line {lost[0].line})"]


def _used(compared: _Compared) -> _Compared:
    """The same without the images that are in no pair."""
    pairs = compared.pairs
    used, renumbered = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    ends = renumbered.astype(np.int32).reshape(2, -1)
    return replace(
        compared,
        crops=compared.crops.taken(used.tolist()),
        identities=tuple(compared.identities[place] for place in used),
        pairs=replace(pairs, first=ends[0], second=ends[1]),
    )


def _from_files(plan: Plan, crops: CropSet) -> list[MethodScores]:
    return [load_scores(name, path, crops.paths) for name, path in plan.scores]


def _computed(plan: Plan, crops: CropSet, cache: Cache, device: str, progress: Progress | None) -> list[MethodScores]:
    seed = plan.settings.seed
    return [
        compute_scores(request, request.load(device), crops, cache, seed=seed, progress=progress)
        for request in plan.methods
    ]


def _embeddings(plan: Plan, crops: CropSet, cache: Cache, device: str, progress: Progress | None) -> Embeddings | None:
    if plan.embeddings is not None:
        return read_embeddings(plan.embeddings, crops.paths)
    if plan.recognizer is None:
        return None
    embedder = load_recognizer(plan.recognizer, device)
    return compute_embeddings(embedder, crops, cache, mirrored="crfiqa" in plan.settings.modes, progress=progress)
