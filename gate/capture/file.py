"""Video files as cameras: once or for ever, in their own time or as fast as they are wanted."""

import threading
from dataclasses import replace
from pathlib import Path

from gate.capture.causes import Cause, lost
from gate.capture.pacing import Pacer, Timeline
from gate.capture.pyav import Decoder, Dial
from gate.capture.source import CorruptPictureError, Picture
from gate.clock import Clock
from gate.config import Decode
from gate.errors import CaptureError


class FileSource:
    """Every picture of a file, the ones its decoder holds back until the end included.

    Time stamps go on where the file starts again, and are made up where it has none. A file that is damaged at its
    end counts one corrupt picture there and ends; it is not lost, for opening it again would bring the same pictures
    twice.

    Args:
        path: the file.
        clock: decides when a picture is due.
        stop: ends the waiting between pictures.
        loop: start again at the end.
        realtime: hold pictures back until their time.
        decode: where pictures are decoded.
    """

    live = False

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        stop: threading.Event,
        loop: bool = False,
        realtime: bool = False,
        decode: Decode = "cpu",
    ) -> None:
        self.label = str(path)
        # An absolute path cannot be mistaken for a protocol, as "door:1.mp4" would be.
        self._dial = Dial(url=str(path.absolute()), label=self.label, scheme="", decode=decode)
        self._clock = clock
        self._loop = loop
        self._timeline = Timeline()
        self._pacer = Pacer(clock, stop) if realtime else None
        self._decoder: Decoder | None = None
        self._pictures_this_round = 0
        self._closed = False

    def open(self) -> None:
        """Open the file. Raises `CaptureError`."""
        self._decoder = Decoder(self._dial, self._clock)
        self._pictures_this_round = 0
        if self._closed:
            self._decoder.close()

    def read(self) -> Picture | None:
        """The next picture; None at the end. Raises `CorruptPictureError` or `CaptureError`."""
        picture = self._next()
        if picture is None:
            return None
        self._pictures_this_round += 1
        pts_ms = self._timeline.stamp(picture.pts_ms)
        if self._pacer is not None:
            self._pacer.wait_for(pts_ms)
        return replace(picture, pts_ms=pts_ms)

    def close(self) -> None:
        """Release the file. Safe from any thread, twice, and after a failed `open`."""
        self._closed = True
        if self._decoder is not None:
            self._decoder.close()

    def _next(self) -> Picture | None:
        if self._decoder is None:
            raise lost(self.label, Cause.OTHER, detail="read before it was opened")
        while True:
            damaged = False
            try:
                if (picture := self._decoder.pop()) is not None:
                    return picture
                if self._decoder.advance():
                    continue
            except CaptureError:
                damaged = True
            if damaged:
                self._decoder.close()
                raise CorruptPictureError("the rest of the file cannot be read")
            if self._closed or not self._loop:
                return None
            self._rewind()

    def _rewind(self) -> None:
        if not self._pictures_this_round:
            raise lost(self.label, Cause.CODEC, detail="there is not one picture in it")
        self._timeline.restart()
        if self._decoder is not None:
            self._decoder.close()
        self.open()
