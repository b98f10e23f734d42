"""What can be measured on a face without a network: size, pose, sharpness, exposure and occlusion.

NumPy and OpenCV only: 0.5 ms a face on one core of an AMD EPYC, measured by `benchmarks/signals.py`.
"""

import math
from dataclasses import asdict

import numpy as np

from gate.quality.light import Planes, measure_light
from gate.quality.occlusion import occlusion
from gate.types import Face, FloatArray, Image, Signals

_HEAD = np.array(
    [
        [-0.500, 0.000, 0.000],
        [0.500, 0.000, 0.000],
        [0.000, 0.560, 0.380],
        [-0.417, 0.945, -0.060],
        [0.417, 0.945, -0.060],
    ]
)
"""(5, 3): the landmarks of a head that looks into the camera, in eye distances; x right, y down, z towards the camera.

x and y are medians over some 700 frontal of 3,200 faces as YuNet and SCRFD mark them (the two agree within 2 %); z of
nose and mouth follows from how far they move when the eyes draw together. The alignment template is 20 % longer from
eyes to mouth than either detector's faces, so it is no head to measure angles with.
"""

_FIT = np.linalg.pinv(_HEAD - _HEAD.mean(axis=0))
"""(3, 5): centred landmarks → the affine camera that shows the head so."""


def measure(face: Face, crop: Image) -> Signals:
    """Measure one face.

    Pose comes from five landmarks and one average head. On that very head with landmark noise of 2 % of the eye
    distance, yaw and pitch are 2.5° off on average and 6° at the 95th percentile (yaw up to 60°, pitch up to 30°, roll
    up to 40°). Real heads differ and detectors err: on 898 photographs, SCRFD's and YuNet's landmarks of the same face
    gave a median difference of 3.5° in yaw, 7° in pitch and 2° in roll, and 10°, 18° and 6° at the 90th percentile.
    Enough to tell turned from frontal; pitch is the weakest.

    Args:
        face: The detection, landmarks in pixels of the full frame. Landmarks in one point give angles of 0.
        crop: (112, 112, 3) uint8 RGB, aligned. Sharpness and exposure are those of the face's inner ellipse; pixels
            that are exactly black count as the border outside the frame and are left out.
    """
    eyes = face.landmarks[1].astype(np.float64) - face.landmarks[0]
    yaw_deg, pitch_deg, roll_deg = pose_deg(face.landmarks)
    planes = Planes.of(crop)
    return Signals(
        inter_eye_px=math.hypot(*eyes.tolist()),
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
        roll_deg=roll_deg,
        occlusion=occlusion(planes),
        **asdict(measure_light(planes)),
    )


def pose_deg(landmarks: FloatArray) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, signs as in `gate.types.Signals`.

    Roll is the slope of the eye line. Yaw and pitch follow from the scaled orthographic camera that shows an average
    head as the upright landmarks are: affine least squares, then the nearest rotation.

    Args:
        landmarks: (5, 2), pixels.
    """
    points = landmarks.astype(np.float64) - landmarks.mean(axis=0, dtype=np.float64)
    across, down = points[1] - points[0]
    roll = math.atan2(down, across)
    cos, sin = math.cos(roll), math.sin(roll)
    upright = points @ np.array([[cos, -sin], [sin, cos]])
    left, scales, right = np.linalg.svd((_FIT @ upright).T, full_matrices=False)
    if not scales[0] > 0:
        return 0.0, 0.0, math.degrees(roll)
    x_axis, y_axis = left @ right
    # Where the head's z axis, the way the nose points, appears: right, down, towards the camera.
    to_right, to_bottom = x_axis[2], y_axis[2]
    to_camera = x_axis[0] * y_axis[1] - x_axis[1] * y_axis[0]
    yaw = math.atan2(to_right, to_camera)
    pitch = -math.asin(min(1.0, max(-1.0, to_bottom)))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)
