"""From a camera's configuration to the source that reads it."""

import re
import threading

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
    if kind is None or scheme == "file" or _is_there(address):
        return _file(config, clock, stop)
    if kind[1].lower() == "webcam":
        return _webcam(config)
    if kind[1].lower() == "virtual":
        return _virtual(config, clock, stop)
    # The address is not repeated: without its "//", an RTSP URL with a password ends here too.
    raise ConfigError(f"camera {config.name!r}: the url is of no known kind. Known are {KNOWN}.")


def _is_there(address: str) -> bool:
    try:
        return file_path(address).exists()
    except OSError:
        # Too long for a name, or behind a door that is closed to us; the error's text would repeat the address.
        return False


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
        decode=config.decode,
    )


def _file(config: CameraConfig, clock: Clock, stop: threading.Event) -> FrameSource:
    from gate.capture.file import FileSource

    realtime = config.pace == "realtime"
    path = file_path(config.address)
    return FileSource(path, clock=clock, stop=stop, loop=config.loop, realtime=realtime, decode=config.decode)


def _webcam(config: CameraConfig) -> FrameSource:
    from gate.capture.webcam import WebcamSource

    number = config.address.partition(":")[2]
    if not re.fullmatch(r"[0-9]{1,3}", number):
        raise ConfigError(f"camera {config.name!r}: webcam: wants a number, such as webcam:0.")
    return WebcamSource(int(number))


def _virtual(config: CameraConfig, clock: Clock, stop: threading.Event) -> FrameSource:
    from gate.capture.virtual import VirtualSource, parse_virtual

    try:
        options = parse_virtual(config.address)
    except ConfigError as error:
        raise ConfigError(f"camera {config.name!r}: {error}") from None
    return VirtualSource(**options, realtime=config.pace == "realtime", clock=clock, wait=stop.wait)
