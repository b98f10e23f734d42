"""Every error of FFmpeg has one cause, and no cause repeats FFmpeg's text."""

import errno

import av.error
import pytest

from gate.capture.causes import Cause, classify, lost


def error(kind: str, code: int = 1) -> BaseException:
    made: BaseException = getattr(av.error, kind)(code, "secret", "rtsp://admin:secret@door")
    return made


@pytest.mark.parametrize(
    ("raised", "scheme", "opening", "cause"),
    [
        (error("HTTPUnauthorizedError"), "rtsp", True, Cause.AUTH),
        (error("HTTPForbiddenError"), "http", True, Cause.AUTH),
        (error("PermissionError", errno.EACCES), "", True, Cause.AUTH),
        (error("PermissionError", errno.EPERM), "rtsp", True, Cause.PROTOCOL),
        (error("PermissionError", errno.EPERM), "rtsp", False, Cause.END_OF_STREAM),
        (error("HTTPNotFoundError"), "rtsp", True, Cause.NOT_FOUND),
        (error("FileNotFoundError", errno.ENOENT), "", True, Cause.NOT_FOUND),
        (error("IsADirectoryError", errno.EISDIR), "", True, Cause.NOT_FOUND),
        (error("ConnectionRefusedError", errno.ECONNREFUSED), "rtsp", True, Cause.REFUSED),
        (error("HTTPServerError"), "http", True, Cause.REFUSED),
        (error("HTTPTooManyRequestsError"), "http", True, Cause.REFUSED),
        (error("ConnectionResetError", errno.ECONNRESET), "rtsp", True, Cause.REFUSED),
        (error("ConnectionResetError", errno.ECONNRESET), "rtsp", False, Cause.END_OF_STREAM),
        (error("ExitError"), "rtsp", True, Cause.TIMEOUT),
        (error("ExitError"), "rtsp", False, Cause.STALLED),
        (error("TimeoutError", errno.ETIMEDOUT), "rtsp", False, Cause.STALLED),
        (error("HTTPOtherClientError"), "rtsp", True, Cause.PROTOCOL),
        (error("HTTPBadRequestError"), "http", True, Cause.PROTOCOL),
        (error("InvalidDataError"), "rtsp", True, Cause.PROTOCOL),
        (error("InvalidDataError"), "http", True, Cause.CODEC),
        (error("InvalidDataError"), "", True, Cause.CODEC),
        (error("DecoderNotFoundError"), "rtsp", True, Cause.CODEC),
        (error("OSError", errno.EIO), "rtsps", True, Cause.TLS),
        (error("OSError", errno.EIO), "https", True, Cause.TLS),
        (error("OSError", errno.EIO), "rtsp", True, Cause.UNREACHABLE),
        (error("OSError", errno.EIO), "https", False, Cause.END_OF_STREAM),
        (error("OSError", errno.EIO), "", False, Cause.OTHER),
        (error("OSError", errno.EHOSTUNREACH), "rtsp", True, Cause.UNREACHABLE),
        (error("OSError", errno.ENETUNREACH), "rtsps", True, Cause.UNREACHABLE),
        (error("EOFError"), "http", True, Cause.END_OF_STREAM),
        (error("EOFError"), "rtsps", True, Cause.TLS),
        (error("EOFError"), "rtsps", False, Cause.END_OF_STREAM),
        (error("UnknownError"), "rtsp", True, Cause.OTHER),
        (ValueError("embedded null byte"), "rtsp", True, Cause.OTHER),
    ],
)
def test_each_error_has_its_cause(raised: BaseException, scheme: str, opening: bool, cause: Cause) -> None:
    assert classify(raised, scheme=scheme, opening=opening) is cause


@pytest.mark.parametrize("kind", ["InvalidDataError", "OSError", "ExitError"])
def test_a_call_that_took_its_whole_time_is_a_time_out_whatever_it_raised(kind: str) -> None:
    assert classify(error(kind, errno.EIO), scheme="rtsps", opening=True, timed_out=True) is Cause.TIMEOUT
    assert classify(error(kind, errno.EIO), scheme="rtsps", opening=False, timed_out=True) is Cause.STALLED


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_says_what_and_what_to_do(cause: Cause) -> None:
    failure = lost("rtsp://door.lan", cause)

    assert failure.cause == cause.value
    assert str(failure) == f"rtsp://door.lan: {cause.meaning}. {cause.remedy}"
    assert cause.meaning
    assert cause.remedy.endswith(".")


def test_an_unknown_word_is_the_cause_other() -> None:
    assert Cause.named("auth") is Cause.AUTH
    assert Cause.named("sunspots") is Cause.OTHER
