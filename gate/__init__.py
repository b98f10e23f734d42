"""A streaming camera-quality gate.

Camera frames in, usable faces in a Redis stream, metrics out. Importing this package imports neither torch nor
OpenCV; `gate.quality.load_method` and `gate.client.FaceStream` are the two doors for Python users.
"""

__version__ = "0.1.0"
