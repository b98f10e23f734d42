"""Print every accepted face: start `gate demo` or `gate run`, then this."""

import sys

from gate.client import FaceStream

url = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379/0"
for face in FaceStream(url, group="recognizers", consumer="r1"):
    print(face.camera, face.event_id, f"quality {face.quality:.0f}", face.crop.shape, flush=True)
