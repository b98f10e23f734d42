"""What an evaluation says beyond the curves: bias by group, response to labels, response to degradations."""

from collections.abc import Sequence

import numpy as np

from gate.errors import GateError
from gate.lab.attributes import AttributeResponse, attribute_response
from gate.lab.bias import BiasReport, bias_report
from gate.lab.datasets import CropSet
from gate.lab.fairness import GenuinePairs
from gate.lab.groups import group_images
from gate.lab.metadata import Metadata
from gate.lab.response import DegradationResponse, run_suite
from gate.lab.results import EvaluationResult, Samples
from gate.lab.scores import MethodRequest

BIAS_FMR = 1e-3
"""FNMR by group is counted at the threshold nearest to this false match rate."""


def samples_of(result: EvaluationResult) -> Samples:
    """The arrays of a result. Raises `GateError` for one that was read from a file."""
    if result.samples is None:
        raise GateError("this result was read from results.json, which holds no scores; evaluate again")
    return result.samples


def bias_reports(result: EvaluationResult, metadata: Metadata, columns: Sequence[str]) -> list[BiasReport]:
    """One report a column and method.

    Args:
        result: with its samples.
        metadata: says which group an image belongs to.
        columns: names, or `name=edge,edge,...` for a column of numbers that is to be cut at these edges.

    Raises:
        GateError: a column is missing or its values make no two groups.
    """
    samples = samples_of(result)
    pairs = _missed_pairs(result, samples)
    # Without comparisons nobody is known to be on two images; then each image counts for itself.
    identities = samples.identities if pairs is not None else None
    reports = []
    for text in columns:
        column, _, edges = text.partition("=")
        grouping = group_images(metadata.values(column, samples.paths), edges=_edges(text, edges))
        reports += [
            bias_report(
                scores,
                grouping,
                attribute=column,
                method=method,
                pairs=pairs,
                identities=identities,
                replicates=result.bootstrap,
                seed=result.seed,
            )
            for method, scores in samples.scores.items()
        ]
    return reports


def _edges(text: str, edges: str) -> list[float] | None:
    try:
        return [float(edge) for edge in edges.split(",")] if edges else None
    except ValueError:
        raise GateError(f"{text!r}: the edges of a column are numbers, such as age=0,18,60,120") from None


def _missed_pairs(result: EvaluationResult, samples: Samples) -> GenuinePairs | None:
    curves = [curve for curve in result.methods[0].curves if curve.mode != "crfiqa" and curve.error == "fnmr"]
    if not curves:
        return None
    nearest = min(curves, key=lambda curve: abs(np.log(curve.fmr_target / BIAS_FMR)))
    genuine = np.flatnonzero(samples.same)
    missed = samples.similarity[genuine] <= np.float32(nearest.threshold)
    return GenuinePairs(samples.first[genuine], samples.second[genuine], missed)


def attribute_responses(
    result: EvaluationResult, metadata: Metadata, columns: Sequence[str]
) -> list[AttributeResponse]:
    """One response a column and method; a column is written `name`, or `name=best,worse,worst` to order its levels.

    Raises:
        GateError: a column is missing or empty.
    """
    samples = samples_of(result)
    responses = []
    for text in columns:
        column, _, order = text.partition("=")
        labels = metadata.values(column, samples.paths)
        responses += [
            attribute_response(
                scores,
                labels,
                attribute=column,
                method=method,
                order=order.split(",") if order else None,
                replicates=result.bootstrap,
                seed=result.seed,
            )
            for method, scores in samples.scores.items()
        ]
    return responses


def degradation_responses(
    requests: Sequence[MethodRequest], crops: CropSet, faces: int, *, device: str, seed: int
) -> list[DegradationResponse]:
    """Run the degradation suite of every method on a seeded choice of `faces` crops; nothing for 0 faces.

    Raises:
        GateError: a method cannot be loaded, or a crop has changed on disk.
    """
    from gate.quality.device import resolve_device

    if not requests or faces == 0:
        return []
    chosen = np.random.default_rng(seed).permutation(len(crops.paths))[:faces]
    images = np.concatenate([batch for _, batch in crops.batches(np.sort(chosen).tolist())])
    where = resolve_device(device)
    return [run_suite(request.load(where), images, seed=seed, name=request.name) for request in requests]
