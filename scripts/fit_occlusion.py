"""Fits the coefficients of `gate/quality/occlusion.json` and says how well they do on people they have not seen.

python scripts/fit_occlusion.py FOLDER            prints the held-out report
python scripts/fit_occlusion.py FOLDER --write    also writes the coefficients, fitted on everything

FOLDER holds `train-faces.tar` and `train-faces.csv`: aligned faces, of which a part is labelled as masked or not and
another part is from WIDER FACE with its occlusion label (0 none, 1 partial, 2 heavy).
"""

import csv
import json
import re
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import rankdata

from gate.quality.light import Planes
from gate.quality.occlusion import COEFFICIENTS, features
from gate.types import CROP_SIDE_PX, Image

FOLDS = 5
VARIANTS = 3
PENALTY = 100.0
"""Weight of the squared coefficients; anything from 30 to 300 does as well."""

DETAIL_PX = 20.0
"""WIDER faces with eyes closer together are too small for their label to be seen in the crop."""

SHARES = {"mask": 1500, "bare": 700, "portrait": 1200, "none": 1500, "heavy": 600}
"""Say of each kind of face in the fit, however many there are of it; partly covered ones have none."""

COVERED_AT = 0.02
"""Occlusion 50 is what this share of uncovered faces exceeds."""

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The faces of the folder."""

    crops: list[Image]
    kinds: npt.NDArray[np.str_]
    """A key of `SHARES`, or partial, or nothing."""

    folds: npt.NDArray[np.int64]
    """The same for all crops of a person or a photograph."""

    eyes_px: Matrix
    races: npt.NDArray[np.str_]


def read(folder: Path) -> Faces:
    """All faces of the folder."""
    with (folder / "train-faces.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with tarfile.open(folder / "train-faces.tar") as tar:
        crops = [decode(tar, row["file"]) for row in rows]
    return Faces(
        crops=crops,
        kinds=np.array([kind_of(row) for row in rows]),
        folds=np.array([zlib.crc32(group_of(row).encode()) % FOLDS for row in rows]),
        eyes_px=np.array([float(row["iod_px"]) for row in rows]),
        races=np.array([row["race"] for row in rows]),
    )


def decode(tar: tarfile.TarFile, name: str) -> Image:
    """One picture, RGB."""
    member = tar.extractfile(name)
    bgr = None if member is None else cv2.imdecode(np.frombuffer(member.read(), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SystemExit(f"{name}: not a picture")
    return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)


def kind_of(row: dict[str, str]) -> str:
    """What is known of a face."""
    if row["source"] == "utkface":
        return "portrait"
    return {"1": "mask", "0": "bare"}.get(row["masked"]) or {"0": "none", "1": "partial", "2": "heavy"}[
        row["occlusion"]
    ]


def group_of(row: dict[str, str]) -> str:
    """Person or photograph: file names end in a number, or in the number of a copy; some hold a person's name."""
    stem = row["file"].rsplit(".", 1)[0]
    if row["source"] == "facemask":
        stem = re.sub(r"^.*?mask-| copy.*$", "", stem)
        person = re.match(r"\d_\d_([a-z]{3,})_\d+", stem)
        return person[1] if person else stem
    return re.sub(r"_\d+$", "", stem) if row["source"] == "wider" else stem


def varied(crop: Image, rng: np.random.Generator) -> Image:
    """The face as another camera, detector and light would give it."""
    turn = cv2.getRotationMatrix2D((56, 72), rng.uniform(-8, 8), rng.uniform(0.93, 1.07))
    turn = turn + np.pad(rng.uniform(-3, 3, (2, 1)), ((0, 0), (2, 0)))
    crop = np.asarray(cv2.warpAffine(crop, turn, (CROP_SIDE_PX, CROP_SIDE_PX)), dtype=np.uint8)
    if rng.random() < 0.5:
        share = rng.uniform(0.25, 1.0)
        small = cv2.resize(crop, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(small, (CROP_SIDE_PX, CROP_SIDE_PX)), dtype=np.uint8)
    if rng.random() < 0.3:
        crop = grey(crop)
    if rng.random() < 0.5:
        crop = (255.0 * (crop / 255.0) ** rng.uniform(0.6, 1.6) + 0.5).astype(np.uint8)
    return crop if rng.random() < 0.5 else np.ascontiguousarray(crop[:, ::-1])


def grey(crop: Image) -> Image:
    """The face as an infrared camera shows it."""
    return np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def measure(crops: list[Image]) -> Matrix:
    """(N, 320)."""
    return np.stack([features(Planes.of(crop)) for crop in crops]).astype(np.float64)


def fit(views: list[Matrix], kinds: npt.NDArray[np.str_]) -> Matrix:
    """(321,): weights and intercept of a logistic regression on all views of the faces."""
    covered = np.isin(kinds, ["mask", "heavy"]).astype(np.float64)
    weights = sum((kinds == kind) * (share / max(1, (kinds == kind).sum())) for kind, share in SHARES.items())
    told = np.asarray(weights) > 0
    x = np.concatenate([view[told] for view in views])
    y, w = np.tile(covered[told], len(views)), np.tile(np.asarray(weights)[told], len(views)) / len(views)

    def loss(theta: Matrix) -> tuple[float, Matrix]:
        z = x @ theta[:-1] + theta[-1]
        slope = w * (1.0 / (1.0 + np.exp(-z)) - y)
        gradient = np.append(x.T @ slope + PENALTY * theta[:-1], slope.sum())
        return float(w @ (np.logaddexp(0.0, z) - y * z) + 0.5 * PENALTY * theta[:-1] @ theta[:-1]), gradient

    start = np.zeros(x.shape[1] + 1)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 400}).x)


def separation(covered: Matrix, bare: Matrix) -> float:
    """Area under the ROC curve."""
    ranks = rankdata(np.concatenate([covered, bare]))[: len(covered)]
    return float((ranks.sum() - len(covered) * (len(covered) + 1) / 2) / (len(covered) * len(bare)))


def report(title: str, scores: Matrix, faces: Faces, bar: float) -> None:
    """How well scores of held-out faces tell covered ones."""
    large = faces.eyes_px >= DETAIL_PX
    kinds = {kind: faces.kinds == kind for kind in (*SHARES, "partial")}
    none = kinds["none"] & large
    pairs = {
        "mask": (kinds["mask"], kinds["bare"]),
        "heavy": (kinds["heavy"] & large, none),
        "partial": (kinds["partial"] & large, none),
    }
    print(title)
    for name, (covered, bare) in pairs.items():
        found = float((scores[covered] > bar).mean())
        area = separation(scores[covered], scores[bare])
        print(f"  {name:8} {int(covered.sum()):5} faces, area under ROC {area:.3f}, found {found:.3f}")
    for name, bare in {"bare": kinds["bare"], "none": none, "portrait": kinds["portrait"]}.items():
        print(f"  {name:8} {int(bare.sum()):5} faces, false alarms {float((scores[bare] > bar).mean()):.4f}")
    for race in sorted(set(faces.races[kinds["portrait"]])):
        alarms = scores[kinds["portrait"] & (faces.races == race)] > bar
        print(f"  portraits, race {race}: {alarms.size} faces, false alarms {float(alarms.mean()):.4f}")


def main() -> int:
    """Fit, report, and write on request."""
    folder = next((Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")), None)
    if folder is None:
        print(__doc__, file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    faces = read(folder)
    rng = np.random.default_rng(0)
    plain, shades = measure(faces.crops), measure([grey(crop) for crop in faces.crops])
    mirrored = measure([np.ascontiguousarray(crop[:, ::-1]) for crop in faces.crops])
    views = [plain, mirrored, *(measure([varied(crop, rng) for crop in faces.crops]) for _ in range(VARIANTS))]
    scores, in_grey = np.zeros(len(plain)), np.zeros(len(plain))
    for fold in range(FOLDS):
        held = faces.folds == fold
        theta = fit([view[~held] for view in views], faces.kinds[~held])
        scores[held], in_grey[held] = plain[held] @ theta[:-1] + theta[-1], shades[held] @ theta[:-1] + theta[-1]
    large = faces.eyes_px >= DETAIL_PX
    uncovered: Mask = np.isin(faces.kinds, ["bare", "portrait"]) | ((faces.kinds == "none") & large)
    bar = float(np.quantile(scores[uncovered], 1.0 - COVERED_AT))
    report("in colour", scores, faces, bar)
    report("without colour", in_grey, faces, bar)
    if "--write" in sys.argv[1:]:
        theta = fit(views, faces.kinds)
        stored = {"intercept": round(float(theta[-1] - bar), 4), "weights": [round(float(t), 4) for t in theta[:-1]]}
        COEFFICIENTS.write_text(json.dumps(stored) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
