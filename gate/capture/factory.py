"""From a camera's configuration to the source that reads it."""

import math
import re
import threading
from urllib.parse import parse_qsl

from gate.capture.address import check_address, file_path, read_password, scheme_of
from gate.capture.causes import NETWORK_SCHEMES
from gate.capture.source import FrameSource
from gate.clock import Clock
from gate.config import CameraConfig
from gate.errors import ConfigError

KNOWN = "rtsp://, rtsps://, http://, https://, a file path, file://, webcam:N and virtual:"

_KIND = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")


def open_source_for(config: CameraConfig, clock: Clock, stop: threading.Event, *, listen: bool = False) -> FrameSource:
    """A new, unopened source for this camera. Call it again for every attempt: passwords are read anew.

    Args:
        config: the camera.
        clock: time of sources that pace themselves or watch over silence.
        stop: ends their waiting.
        listen: for `rtsp://`, wait there for a sender instead of dialling.

    Raises:
        ConfigError: the address is of no known kind, or cannot be understood without guessing.
        CaptureError: cause `auth`, when the password file cannot be read.
    """
    address = config.address
    check_address(config.name, address)
    scheme = scheme_of(address)
    if scheme in NETWORK_SCHEMES:
        return _stream(config, clock, listen=listen)
    kind = _KIND.match(address)
    if kind is None or scheme == "file" or file_path(address).exists():
        return _file(config, clock, stop)
    if kind[1].lower() == "webcam":
        return _webcam(config)
    if kind[1].lower() == "virtual":
        return _virtual(config, clock, stop)
    # The address is not repeated: without its "//", an RTSP URL with a password ends here too.
    raise ConfigError(f"camera {config.name!r}: the url is of no known kind. Known are {KNOWN}.")


def _stream(config: CameraConfig, clock: Clock, *, listen: bool) -> FrameSource:
    from gate.capture.stream import StreamSource

    return StreamSource(
        config.address,
        clock=clock,
        username=config.username,
        password=read_password(config),
        transport=config.transport,
        open_timeout_s=config.open_timeout_s,
        read_timeout_s=config.read_timeout_s,
        listen=listen,
    )


def _file(config: CameraConfig, clock: Clock, stop: threading.Event) -> FrameSource:
    from gate.capture.file import FileSource

    realtime = config.pace == "realtime"
    return FileSource(file_path(config.address), clock=clock, stop=stop, loop=config.loop, realtime=realtime)


def _webcam(config: CameraConfig) -> FrameSource:
    from gate.capture.webcam import WebcamSource

    number = config.address.partition(":")[2]
    if not re.fullmatch(r"[0-9]{1,3}", number):
        raise ConfigError(f"camera {config.name!r}: webcam: wants a number, such as webcam:0.")
    return WebcamSource(int(number))


def _virtual(config: CameraConfig, clock: Clock, stop: threading.Event) -> FrameSource:
    query = config.address.partition(":")[2].lstrip("?")
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    problem = f"camera {config.name!r}: virtual: takes seed, fps and seconds, such as virtual:?seed=1&fps=15&seconds=60"
    if set(wanted) - {"seed", "fps", "seconds"} or (query and not wanted):
        raise ConfigError(f"{problem}; there is something else in it.")
    try:
        seed, fps = int(wanted.get("seed", "0")), float(wanted.get("fps", "15"))
        duration_s = float(wanted["seconds"]) if "seconds" in wanted else None
    except ValueError:
        raise ConfigError(f"{problem}; one of them is not a number.") from None
    if seed < 0 or not 0 < fps <= 240 or not (duration_s is None or 0 < duration_s < math.inf):
        raise ConfigError(f"{problem}; one of them is out of range.")

    from gate.capture.virtual import VirtualSource

    realtime = config.pace == "realtime"
    return VirtualSource(seed=seed, fps=fps, duration_s=duration_s, realtime=realtime, clock=clock, wait=stop.wait)
