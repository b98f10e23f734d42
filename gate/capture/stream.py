"""Network cameras: RTSP and HTTP, over TLS or not."""

import math
from typing import Literal

from gate.capture.address import host_of, scheme_of, with_credentials
from gate.capture.causes import Cause, lost
from gate.capture.pyav import Decoder, Dial
from gate.capture.source import CorruptPictureError, Picture
from gate.clock import Clock
from gate.config import Decode
from gate.names import NAMES, Names
from gate.redact import safe_address

PYAV_READS_TWICE = 2.0
"""On RTSP, PyAV gives up after twice its read time-out (measured: 3.01 s for 1.5 s; 1.01 s for 1 s on HTTP)."""


class StreamSource:
    """A live stream: it never ends, it is only lost.

    A camera that is silent for `read_timeout_s`, or that keeps sending but no pictures, is lost as `stalled`; one
    whose server went away, which PyAV reports as nothing at all, as `end_of_stream`.

    Args:
        url: `rtsp://`, `rtsps://`, `http://` or `https://`.
        clock: for the watchdog.
        username: user, when not in the URL.
        password: password as it is, not percent-encoded, when not in the URL.
        transport: RTSP over TCP or UDP.
        open_timeout_s: longest time for looking up the name, again for connecting, and again for learning what the
            stream holds.
        read_timeout_s: longest time without a picture.
        listen: wait at this address for an RTSP sender instead of dialling it.
        decode: where pictures are decoded.
        names: looks its host up.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        username: str | None = None,
        password: str | None = None,
        transport: Literal["tcp", "udp"] = "tcp",
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 10.0,
        listen: bool = False,
        decode: Decode = "cpu",
        names: Names = NAMES,
    ) -> None:
        self.label = safe_address(url)
        self._clock = clock
        self._names = names
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        scheme = scheme_of(url)
        rtsp = scheme.startswith("rtsp")
        self._dial = Dial(
            url=with_credentials(url, username, password),
            label=self.label,
            scheme=scheme,
            options=_options(rtsp=rtsp, transport=transport, listen_s=open_timeout_s if listen else None),
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s / PYAV_READS_TWICE if rtsp else read_timeout_s,
            decode=decode,
        )
        self._decoder: Decoder | None = None
        self._closed = False
        self._deadline_s = 0.0

    def open(self) -> None:
        """Connect. Raises `CaptureError`."""
        self._find_host()
        self._decoder = Decoder(self._dial, self._clock)
        # The first picture waits for a key frame, which may be seconds away.
        self._deadline_s = self._clock.monotonic_s() + self._open_timeout_s + self._read_timeout_s
        if self._closed:
            self._decoder.close()

    def read(self) -> Picture:
        """The next picture. Raises `CorruptPictureError` or, when the camera is lost, `CaptureError`."""
        if self._decoder is None:
            raise lost(self.label, Cause.OTHER, detail="read before it was opened")
        try:
            while (picture := self._decoder.pop()) is None:
                if not self._decoder.advance():
                    raise lost(self.label, Cause.END_OF_STREAM)
                self._watch()
        except CorruptPictureError:
            # Rubbish is no picture either: a camera that sends nothing else is blind.
            self._watch()
            raise
        self._deadline_s = self._clock.monotonic_s() + self._read_timeout_s
        return picture

    def close(self) -> None:
        """Hang up. Safe from any thread, twice, and after a failed `open`."""
        self._closed = True
        if self._decoder is not None:
            self._decoder.close()

    def _find_host(self) -> None:
        # FFmpeg looks it up without a time-out, and says the same for an unknown name and a failed TLS handshake.
        detail = remedy = ""
        try:
            self._names.check(host_of(self._dial.url), self._open_timeout_s)
        except TimeoutError:
            detail = f"nobody said within {self._open_timeout_s:g} s which address the name has"
            remedy = "Check this machine's name servers, or write the address."
        except OSError:
            detail = "the name has no address"
        if detail:
            raise lost(self.label, Cause.UNREACHABLE, detail=detail, remedy=remedy)

    def _watch(self) -> None:
        if self._clock.monotonic_s() > self._deadline_s:
            detail = "the camera sends, but no pictures come out of it"
            # Without what was being handled: nothing of it is news.
            raise lost(self.label, Cause.STALLED, detail=detail) from None


def _options(*, rtsp: bool, transport: str, listen_s: float | None) -> dict[str, str]:
    # Without counting frames to guess the rate, a stream opens in 0.4 s instead of 1.2 s and starts that much fresher.
    options = {"fpsprobesize": "0"}
    if rtsp:
        options |= {"rtsp_transport": transport, "allowed_media_types": "video"}
    if rtsp and listen_s is not None:
        # FFmpeg 8 finds its own default of the time-out out of range; ours, a little longer, leaves it to PyAV's.
        options |= {"rtsp_flags": "listen", "listen_timeout": str(math.ceil(listen_s) + 1)}
    return options
