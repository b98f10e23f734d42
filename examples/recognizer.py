"""Say who comes: recognizer.py REDIS-URL [FOLDER of NAME.jpg, crops of 112x112 as `gate tail --save` writes them]."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gate.client import FaceStream
from gate.lab.recognizers import load_recognizer

SAME_PERSON = 0.5  # cosine of two embeddings; `gate evaluate` measures what fits your faces
network = load_recognizer("facexzoo-mobilefacenet")
gallery: dict[str, np.ndarray] = {}  # name -> embedding of length 1


def embedding(crop: np.ndarray) -> np.ndarray:
    vector = network.embed(crop[None])[0]
    return vector / np.linalg.norm(vector)


for file in sorted(Path(sys.argv[2]).glob("*.jpg")) if len(sys.argv) > 2 else ():
    gallery[file.stem] = embedding(np.asarray(Image.open(file).convert("RGB")))
for face in FaceStream(sys.argv[1], group="recognizers", consumer="r1"):
    seen = embedding(face.crop)
    alike = {name: float(known @ seen) for name, known in gallery.items()}
    name = max(alike, key=alike.__getitem__, default="")
    if alike.get(name, -1.0) < SAME_PERSON:
        name = f"visitor-{len(gallery) + 1}"
        gallery[name] = seen
    print(face.camera, face.visit, name, f"{alike.get(name, 1.0):.2f}", flush=True)
