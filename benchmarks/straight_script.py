"""The script that one writes first: OpenCV reads, insightface detects, a regressor scores, Redis gets every good face.

It scores every face of every frame, one after the other in one thread, which is what the gate is compared with.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one pass over a film."""

    frames: int
    faces: int
    """Faces that were found."""

    published: int
    cpu_s: float
    """Processor seconds of all threads, the loading of models left out."""

    wall_s: float
    latency_ms: list[float]
    """From the decode of a frame to each of its entries in Redis."""


def run(video: Path, redis_url: str, detector_file: Path, method: Any, *, bar: float, threads: int) -> Outcome:
    """Every frame of a film, as fast as it goes.

    Args:
        video: What OpenCV can open.
        redis_url: Where the stream is.
        detector_file: An SCRFD model as ONNX.
        method: Has `quality(crops)` for (N, 112, 112, 3) uint8 RGB.
        bar: Least quality, 0..100, of what is published.
        threads: Of OpenCV and of onnxruntime.
    """
    import cv2
    import redis
    from insightface.model_zoo.scrfd import SCRFD
    from insightface.utils.face_align import norm_crop

    cv2.setNumThreads(threads)
    detector = SCRFD(model_file=str(detector_file), session=_session(detector_file, threads))
    detector.prepare(-1, input_size=(640, 640), det_thresh=0.6)
    client = redis.Redis.from_url(redis_url)
    capture = cv2.VideoCapture(str(video))
    frames = faces = published = 0
    latency_ms: list[float] = []
    cpu_s, start_s = time.process_time(), time.perf_counter()
    while True:
        found, frame = capture.read()
        if not found:
            break
        decoded_s = time.perf_counter()
        frames += 1
        boxes, points = detector.detect(frame)
        for box, landmarks in zip(boxes, points if points is not None else [], strict=True):
            faces += 1
            crop = norm_crop(frame, landmarks)
            quality = float(method.quality(np.ascontiguousarray(crop[None, :, :, ::-1]))[0])
            if quality < bar:
                continue
            jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            client.xadd("straight", {"quality": quality, "score": float(box[4]), "crop": jpeg}, maxlen=5000)
            published += 1
            latency_ms.append(1e3 * (time.perf_counter() - decoded_s))
    outcome = Outcome(frames, faces, published, time.process_time() - cpu_s, time.perf_counter() - start_s, latency_ms)
    capture.release()
    client.close()
    return outcome


def _session(file: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
