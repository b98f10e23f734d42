"""PyAV behind a door that lets no FFmpeg exception, and so no password, through."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from gate.capture.causes import Cause, classify, lost
from gate.capture.guard import Guard
from gate.capture.hardware import accelerator
from gate.capture.source import CorruptPictureError, Encoding, Picture
from gate.clock import Clock
from gate.config import Decode
from gate.types import Image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_CORRUPT_IN_A_ROW = 300
"""Twelve seconds of a 25 fps camera without one good picture: no interference, but a stream we cannot read."""

DECODE_THREADS = 2

TIMED_OUT_SHARE = 0.95
"""A call that took this share of its time-out has run into it."""


@dataclass(frozen=True, slots=True)
class Dial:
    """All that PyAV is told when it opens something."""

    url: str = field(repr=False)
    """With user and password, percent-encoded."""

    label: str
    """The same without secrets."""

    scheme: str
    """In lower case; empty for files."""

    options: dict[str, str] = field(default_factory=dict)
    """FFmpeg's options of the demuxer and the protocol."""

    open_timeout_s: float | None = None
    """Longest time for connecting, and again for finding out what the streams are; None waits for ever."""

    read_timeout_s: float | None = None
    """Longest silence between two packets; None waits for ever."""

    decode: Decode = "cpu"
    """Where pictures are decoded."""


class Decoder:
    """One opened container: packets in, pictures out that become RGB when they are asked for.

    One thread calls `advance` and `pop` and asks for the pixels; any thread may call `close`.

    Raises:
        CaptureError: it cannot be opened, or has no video.
    """

    def __init__(self, dial: Dial, clock: Clock) -> None:
        self._dial = dial
        self._clock = clock
        self._ready: deque[VideoFrame] = deque()
        self._corrupt_in_a_row = 0
        self._undevelopable = False
        """Whether the last picture that was to become RGB could not."""
        self._packets: Iterator[Packet[Stream]] = iter(())
        self._refused = ""
        self._container = self._open()
        self._guard = Guard(self._free)
        stream = _video_stream(self._container)
        if stream is None:
            self.close()
            raise lost(dial.label, Cause.CODEC, detail="there is no video in it that can be decoded")
        # Slices, not frames: frame threads hold back one picture per thread, and on a live camera that is age. One
        # 1080p H.264 stream decodes at 156 to 168 a second on one core either way.
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = DECODE_THREADS
        self._stream = stream
        self._packets = self._container.demux()
        self._to_rgb = _RgbConverter()

    def advance(self) -> bool:
        """Read one packet and decode it; False at the end of the stream, or when closed.

        Raises:
            CorruptPictureError: what came cannot be decoded, go on.
            CaptureError: the stream is lost.
        """
        with self._guard.use() as usable:
            return usable and self._advance()

    def pop(self) -> Picture | None:
        """The next decoded picture; None when `advance` is to be called.

        Its pixels raise the same where they cannot become RGB.

        Raises:
            CorruptPictureError: the decoder had to invent parts of it.
            CaptureError: none of many pictures in a row could be decoded.
        """
        if not self._ready:
            return None
        frame = self._ready.popleft()
        if frame.is_corrupt:
            self._count_corrupt()
            raise CorruptPictureError("the decoder reports missing parts")
        if not self._undevelopable:
            self._corrupt_in_a_row = 0
        pts_ms = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base * 1000)
        return Picture(_Negative(frame, self._develop), pts_ms, self._encoding(frame))

    def _develop(self, frame: "VideoFrame") -> Image:
        """The frame in RGB. Raises as `pop`."""
        try:
            image = self._to_rgb(frame)
        except Exception as error:  # noqa: BLE001 -- libswscale's own errors may quote the address; the class says enough
            problem = type(error).__name__
        else:
            self._corrupt_in_a_row, self._undevelopable = 0, False
            return image
        self._undevelopable = True
        self._count_corrupt()
        raise CorruptPictureError(f"conversion to RGB failed: {problem}")

    def close(self) -> None:
        """Release the container now, or as soon as its reader lets go of it."""
        self._guard.close()

    def _encoding(self, frame: "VideoFrame") -> Encoding:
        context = self._stream.codec_context
        # NVDEC's pictures come with interleaved colour planes (nv12, p010 …); FFmpeg's own decoders never make those.
        by_cuda = context.is_hwaccel and not frame.format.name.startswith("yuv")
        refused = self._refused
        if context.is_hwaccel and not by_cuda:
            refused = f"the card does not decode this {context.name}"
        return Encoding(context.name, "cuda" if by_cuda else "cpu", refused)

    def _open(self) -> "InputContainer":
        import av

        dial = self._dial
        hardware, self._refused = accelerator(dial.decode)
        started_s = self._clock.monotonic_s()
        try:
            return av.open(
                dial.url,
                "r",
                options=dial.options,
                timeout=(dial.open_timeout_s, dial.read_timeout_s),
                metadata_errors="replace",
                hwaccel=hardware,
            )
        except Exception as error:  # noqa: BLE001 -- whatever PyAV raises, its text holds the URL and must end here
            cause = self._cause_of(error, opening=True, since_s=started_s, timeout_s=dial.open_timeout_s)
        # Outside the handler, so that the exception with the password is not chained to ours. And made here: one that
        # stood in a local variable would hold this frame, which holds the decoder, whose threads would wait for the
        # collector (64 failing cameras: 225 threads, 123 without).
        raise lost(dial.label, cause)

    def _advance(self) -> bool:
        from av.error import InvalidDataError

        started_s = self._clock.monotonic_s()
        cause: Cause | None = None
        try:
            packet = next(self._packets, None)
            if packet is None:
                return False
            # The packets that flush the decoders at the end carry the number 0, whatever their stream.
            if packet.stream is self._stream:
                self._ready.extend(cast("list[VideoFrame]", packet.decode()))
        except InvalidDataError:
            # A demuxer's generator ends with its exception, a decoder's exception leaves it alive; a fresh one goes on
            # from the container's position in both cases.
            self._packets = self._container.demux()
        except Exception as error:  # noqa: BLE001 -- as in _open
            cause = self._cause_of(error, opening=False, since_s=started_s, timeout_s=self._dial.read_timeout_s)
        else:
            return True
        if cause is not None:
            raise lost(self._dial.label, cause)
        self._count_corrupt()
        raise CorruptPictureError("a packet cannot be decoded")

    def _count_corrupt(self) -> None:
        self._corrupt_in_a_row += 1
        if self._corrupt_in_a_row > MAX_CORRUPT_IN_A_ROW:
            detail = f"{self._corrupt_in_a_row} pictures in a row could not be decoded"
            raise lost(self._dial.label, Cause.CODEC, detail=detail)

    def _cause_of(self, error: Exception, *, opening: bool, since_s: float, timeout_s: float | None) -> Cause:
        took_s = self._clock.monotonic_s() - since_s
        timed_out = timeout_s is not None and took_s >= timeout_s * TIMED_OUT_SHARE
        return classify(error, scheme=self._dial.scheme, opening=opening, timed_out=timed_out)

    def _free(self) -> None:
        self._packets = iter(())
        self._container.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Negative:
    """A decoded frame that becomes RGB when it is asked for; see `gate.capture.source.Undeveloped`."""

    frame: "VideoFrame"
    develop: "Callable[[VideoFrame], Image]"

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height, upright."""
        width, height = self.frame.width, self.frame.height
        return (height, width) if self.frame.rotation // 90 % 2 else (width, height)

    def developed(self) -> Image:
        """(H, W, 3) uint8 RGB. Raises as `Decoder.pop`."""
        return self.develop(self.frame)


class _RgbConverter:
    """Frames of any pixel format, size and rotation to RGB; keeps libswscale's tables between frames.

    Measured on 1080p: 4.4 ms a frame, 6.1 ms with a new converter for each.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def __call__(self, frame: "VideoFrame") -> Image:
        image = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        quarter_turns = frame.rotation // 90 % 4
        if quarter_turns:
            image = np.rot90(image, quarter_turns)
        return np.ascontiguousarray(image, dtype=np.uint8)


def _video_stream(container: "InputContainer") -> "VideoStream | None":
    """The first video stream that is not a cover picture and has a decoder here."""
    from av.stream import Disposition

    for stream in container.streams.video:
        # A stream without a decoder has no codec context, whatever its type says.
        has_decoder = getattr(stream, "codec_context", None) is not None
        if has_decoder and not stream.disposition & Disposition.attached_pic:
            return stream
    return None
