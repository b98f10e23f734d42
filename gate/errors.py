"""The one family of exceptions.

Each message says what was wrong, where, and what to do about it. No message carries a secret: whoever raises one
passes names and redacted URLs only.
"""


class GateError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(GateError):
    """The configuration cannot be used; the message names the file, the key and the remedy."""


class CaptureError(GateError):
    """A camera or file could not be opened or read.

    `cause` is one word of a closed set (see `gate.capture.causes`), safe as a metric label.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class WeightsError(GateError):
    """A weight file is missing, truncated, of another checksum, or of another network."""


class DeviceError(GateError):
    """The torch or onnxruntime installation or the requested device cannot be used."""


class QualityError(GateError):
    """A quality method was asked for something it cannot do."""


class NotCalibratedError(QualityError):
    """There is no raw → 0..100 map for this method, backbone and weights."""


class PublishError(GateError):
    """Redis refused or could not be reached."""


class SpoolError(GateError):
    """The disk does not keep events.

    `cause` is one word of a closed set (see `gate.publish.spool_file.SpoolCause`), safe as a metric label.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class EventError(GateError):
    """A stream entry is not an event of a schema this version reads."""
