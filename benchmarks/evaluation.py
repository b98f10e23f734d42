"""Time and memory of an evaluation once scores and embeddings exist.

Run as `python benchmarks/evaluation.py`; prints one line a phase and exits 1 past 60 s or 2 GB.
Synthetic people: embeddings around a centre each, noisier where the quality is low; scores that follow the quality more
or less well.
"""

import argparse
import resource
import sys
import time

import numpy as np

from gate.lab.embeddings import Embeddings
from gate.lab.evaluate import Material, Provenance, evaluate
from gate.lab.pairs import genuine_pairs, impostor_pairs
from gate.lab.results import Recognizer
from gate.lab.scores import MethodScores
from gate.lab.trial import Settings

MAX_SECONDS = 60
MAX_BYTES = 2e9


def material(images: int, people: int, impostors: int, methods: int) -> Material:
    """A synthetic set."""
    random = np.random.default_rng(0)
    identities = np.sort(random.integers(people, size=images)).astype(np.int32)
    quality = random.random(images).astype(np.float32)
    embeddings = [_embeddings(np.random.default_rng(1), identities, quality, people) for _ in range(2)]
    pairs = genuine_pairs(identities, 50, 0).joined(impostor_pairs(identities, impostors, 0))
    scores = [
        MethodScores(f"method {number}", quality + 0.2 * number * random.standard_normal(images, dtype=np.float32))
        for number in range(methods)
    ]
    recognizer = Recognizer("synthetic", "synthetic", "", "embeddings", 512, float("nan"))
    names = tuple(f"{identity:05d}" for identity in identities)
    paths = tuple(f"{name}/{place}.jpg" for place, name in enumerate(names))
    return Material("synthetic", paths, names, "", pairs, Embeddings(recognizer, *embeddings), scores)


def _embeddings(
    random: np.random.Generator, identities: "np.ndarray[tuple[int], np.dtype[np.int32]]", quality: object, people: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    centres = random.standard_normal((people, 512), dtype=np.float32)
    noise = random.standard_normal((len(identities), 512), dtype=np.float32)
    return np.asarray(centres[identities] + noise * (1.6 - np.asarray(quality)[:, None]), dtype=np.float32)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--impostors", type=int, default=3_000_000)
    parser.add_argument("--methods", type=int, default=6)
    parser.add_argument("--bootstrap", type=int, default=1000)
    args = parser.parse_args()
    start_s = time.perf_counter()
    made = material(args.images, args.people, args.impostors, args.methods)
    made_s, before_s = time.perf_counter(), time.process_time()
    print(f"pairs: {made.pairs.n_genuine} genuine, {made.pairs.n_impostor} impostor, made in {made_s - start_s:.1f} s")
    result = evaluate(made, Settings(bootstrap=args.bootstrap), Provenance("benchmark", 0))
    seconds, busy = time.perf_counter() - made_s, time.process_time() - before_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{len(result.methods)} methods, {args.bootstrap} replicates, modes {', '.join(result.modes)}:")
    print(f"{seconds:.1f} s ({busy:.1f} s of processor time), peak {peak / 1e9:.2f} GB")
    return int(seconds > MAX_SECONDS or peak > MAX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
