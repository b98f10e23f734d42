"""Why a camera is not there: one closed list that metrics, logs and health share, and how FFmpeg's errors map to it.

The text of FFmpeg's and OpenCV's exceptions holds the whole URL with its password, so nothing of it is passed on:
a cause brings its own words.
"""

import errno
from enum import Enum
from functools import cache

from gate.errors import CaptureError

TLS_SCHEMES = frozenset({"rtsps", "https"})
NETWORK_SCHEMES = TLS_SCHEMES | {"rtsp", "http"}


class Cause(str, Enum):
    """What kept pictures from coming; the value is what metrics and logs carry."""

    AUTH = "auth"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    TLS = "tls"
    CODEC = "codec"
    PROTOCOL = "protocol"
    END_OF_STREAM = "end_of_stream"
    UNREACHABLE = "unreachable"
    OTHER = "other"

    @classmethod
    def named(cls, text: str) -> "Cause":
        """The cause with this value; `OTHER` for what is not in the list."""
        return next((cause for cause in cls if cause.value == text), cls.OTHER)

    @property
    def meaning(self) -> str:
        """What happened, as the middle of a sentence."""
        return _MEANINGS[self][0]

    @property
    def remedy(self) -> str:
        """What the operator can do, as a sentence."""
        return _MEANINGS[self][1]


_MEANINGS = {
    Cause.AUTH: ("access was denied", "Check user, password and permissions; a wrong password can lock the account."),
    Cause.NOT_FOUND: ("there is nothing under this address", "Check the path of the stream, file or device."),
    Cause.REFUSED: ("the connection was refused", "Check the port, and whether the camera has clients to spare."),
    Cause.TIMEOUT: ("no answer in time", "Check that the camera is on, or raise open_timeout_s."),
    Cause.STALLED: ("the camera stopped sending pictures", "Check the camera and its line, or raise read_timeout_s."),
    Cause.TLS: ("the encrypted connection failed", "Check that the port speaks TLS, and the camera's certificate."),
    Cause.CODEC: ("what came is not video that can be decoded", "Choose H.264, H.265 or MJPEG in the camera."),
    Cause.PROTOCOL: ("what answered does not speak this protocol", "Check scheme, port and path, or try udp or tcp."),
    Cause.END_OF_STREAM: ("the stream ended", "It is opened again; check the camera if this repeats."),
    Cause.UNREACHABLE: ("the host cannot be reached", "Check its name, the network and the firewall."),
    Cause.OTHER: ("it failed in a way that has no name", "Try the address with ffprobe or VLC on this machine."),
}

_UNREACHABLE_ERRNOS = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN})


def lost(label: str, cause: Cause, *, detail: str = "", remedy: str = "") -> CaptureError:
    """The exception for a lost source.

    Args:
        label: the address without its secrets (`gate.redact.safe_address`).
        cause: what happened.
        detail: replaces the cause's own words; never text of another library.
        remedy: replaces the cause's own advice.
    """
    return CaptureError(f"{label}: {detail or cause.meaning}. {remedy or cause.remedy}", cause=cause.value)


def classify(error: BaseException, *, scheme: str, opening: bool, timed_out: bool = False) -> Cause:
    """The cause behind an exception of PyAV.

    Args:
        error: what PyAV raised.
        scheme: scheme of the address in lower case, empty for files.
        opening: True while connecting, False while reading.
        timed_out: the call took its whole time-out. It must be told: an RTSP server that accepts and then says
            nothing ends in "invalid data", a silent TLS server in "input/output error".
    """
    if timed_out:
        return Cause.TIMEOUT if opening else Cause.STALLED
    if scheme.startswith("rtsp") and _is_minus_one(error):
        # FFmpeg's -1 for a PLAY that was never answered reads as "not permitted". Taken for a wrong password, a
        # connection that broke at that moment would cost half a minute and more.
        return Cause.PROTOCOL if opening else Cause.END_OF_STREAM
    for kinds, cause in _by_class():
        if isinstance(error, kinds):
            # A TLS server that can agree with nobody sends an alert and hangs up; FFmpeg sees the end alone.
            handshake = opening and cause is Cause.END_OF_STREAM and scheme in TLS_SCHEMES
            return Cause.TLS if handshake else _late(cause, opening=opening)
    code = getattr(error, "errno", None)
    if code in _UNREACHABLE_ERRNOS:
        return Cause.UNREACHABLE
    if _is_invalid_data(error):
        # What is behind HTTP is read as a container; behind RTSP, the conversation itself was not understood.
        return Cause.PROTOCOL if scheme.startswith("rtsp") and opening else Cause.CODEC
    return _of_input_output_error(scheme, opening=opening) if code == errno.EIO else Cause.OTHER


def _of_input_output_error(scheme: str, *, opening: bool) -> Cause:
    """FFmpeg's one word for "name does not resolve", "TLS handshake failed" and "hung up in the middle"."""
    if scheme not in NETWORK_SCHEMES:
        return Cause.OTHER
    if not opening:
        return Cause.END_OF_STREAM
    return Cause.TLS if scheme in TLS_SCHEMES else Cause.UNREACHABLE


def _late(cause: Cause, *, opening: bool) -> Cause:
    """The same error after pictures had come: silence is a stall, a broken connection the end of the stream."""
    if opening:
        return cause
    return {Cause.TIMEOUT: Cause.STALLED, Cause.REFUSED: Cause.END_OF_STREAM}.get(cause, cause)


def _is_minus_one(error: BaseException) -> bool:
    from av.error import PermissionError as NotPermittedError

    return isinstance(error, NotPermittedError) and error.errno == errno.EPERM


def _is_invalid_data(error: BaseException) -> bool:
    from av.error import InvalidDataError

    return isinstance(error, InvalidDataError)


@cache
def _by_class() -> tuple[tuple[tuple[type[BaseException], ...], Cause], ...]:
    """PyAV's classes whose meaning does not depend on the scheme."""
    from av import error as av

    return (
        ((av.HTTPUnauthorizedError, av.HTTPForbiddenError, av.PermissionError), Cause.AUTH),
        ((av.HTTPNotFoundError, av.FileNotFoundError, av.IsADirectoryError, av.NotADirectoryError), Cause.NOT_FOUND),
        ((av.ConnectionRefusedError, av.ConnectionResetError, av.ConnectionAbortedError), Cause.REFUSED),
        ((av.BrokenPipeError, av.HTTPTooManyRequestsError, av.HTTPServerError), Cause.REFUSED),
        # PyAV's own time-outs interrupt FFmpeg, which calls that an exit.
        ((av.ExitError, av.TimeoutError), Cause.TIMEOUT),
        ((av.HTTPError, av.HTTPClientError), Cause.PROTOCOL),
        ((av.DecoderNotFoundError, av.DemuxerNotFoundError, av.PatchWelcomeError), Cause.CODEC),
        ((av.EOFError,), Cause.END_OF_STREAM),
    )
