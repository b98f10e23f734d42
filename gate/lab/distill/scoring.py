"""Scores of a method on the material, kept on disk as they come: a slow one may take days."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gate import __version__
from gate.errors import GateError
from gate.lab.cache import Cache
from gate.lab.distill.material import Material
from gate.lab.distill.plan import LabelRequest
from gate.lab.scores import MethodRequest, load_scores
from gate.types import FloatArray

CHUNK = 128
"""Crops between two writes: two minutes of FaceQAN on two cores."""


def label_scores(
    request: LabelRequest,
    material: Material,
    folder: Path,
    *,
    seed: int,
    device: str,
    progress: Callable[[int, int], None],
) -> FloatArray:
    """(N,) scores of every crop, by a method or from a file.

    Args:
        request: the method or file.
        material: the crops.
        folder: keeps what has been scored.
        seed: of every crop.
        device: `cpu` or `cuda:N`.
        progress: told (done, all) after every chunk.

    Raises:
        GateError: the method or file cannot be used, or gives a score that is no finite number.
    """
    if request.file is not None:
        return load_scores(request.name, request.file, material.paths).scores
    from gate.quality import method_info

    wish = MethodRequest.parse(request.name)
    method = wish.load(device)
    options = {**method_info(wish.method).options, **wish.options}
    key = {
        "method": method.name,
        "model": method.model,
        "options": {name: str(value) for name, value in options.items()},
        "seed": seed,
        "version": __version__,
    }
    cache, digests = Cache(folder), crop_digests(material)
    parts = []
    for start in range(0, len(material), CHUNK):
        stop = min(start + CHUNK, len(material))

        def compute(places: Sequence[int], start: int = start) -> tuple[FloatArray, float]:
            crops = material.crops[start + np.asarray(places)]
            return method.score(crops, seeds=seed)[:, None], 0.0

        parts.append(cache.fetch(f"score-{method.name}", key, digests[start:stop], compute, batch=CHUNK)[0])
        progress(stop, len(material))
    scores = np.concatenate(parts)[:, 0]
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise GateError(f"{request.name}: {len(bad)} crops have no finite score, such as {material.paths[bad[0]]}.")
    return scores


def crop_digests(material: Material) -> list[str]:
    """sha256 of each crop's pixels."""
    return [hashlib.sha256(np.ascontiguousarray(crop).data).hexdigest() for crop in material.crops]
