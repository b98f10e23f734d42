"""Decoding on a graphics card, where there is one that does it."""

from typing import TYPE_CHECKING

from gate.config import Decode

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel


def accelerator(decode: Decode) -> "tuple[HWAccel | None, str]":
    """What PyAV is to be given, and, where hardware was asked for and is not to be had, why not.

    The device is tried before the camera is called: PyAV raises when it is missing, although it was told that software
    will do, and by then the connection has been made. It is tried at every connection, so that a card that went away
    costs speed, not pictures.
    """
    if decode == "cpu":
        return None, ""
    try:
        from av.codec import Codec
        from av.codec.hwaccel import HWAccel, hwdevices_available
    except ImportError:
        return None, "this PyAV knows no hardware decoding; version 14 does"
    if "cuda" not in hwdevices_available():
        return None, "this FFmpeg was built without CUDA"
    # One context for all cameras: each of its own would take some hundred megabytes of the card.
    wanted = HWAccel("cuda", allow_software_fallback=True, options={"primary_ctx": "1"})
    try:
        wanted.create(Codec("h264", "r"))
    except Exception as error:  # noqa: BLE001 -- whatever the driver says, software decodes too
        return None, f"no CUDA device can be used ({type(error).__name__})"
    return wanted, ""
