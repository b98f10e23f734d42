"""Files: every picture, in order, in time, whatever is broken."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gate.capture.file import FileSource
from gate.capture.source import CorruptPictureError, Picture
from gate.clock import SystemClock
from gate.errors import CaptureError
from gate.types import Image

MakeClip = Callable[..., Path]
ReadNumber = Callable[[Image], int]


def open_file(path: Path, **options: Any) -> FileSource:
    source = FileSource(path, clock=SystemClock(), stop=threading.Event(), **options)
    source.open()
    return source


def read_all(source: FileSource, limit: int = 10_000) -> tuple[list[Picture], int]:
    pictures: list[Picture] = []
    corrupt = 0
    for _ in range(limit):
        try:
            picture = source.read()
        except CorruptPictureError:
            corrupt += 1
            continue
        if picture is None:
            return pictures, corrupt
        pictures.append(picture)
    raise AssertionError(f"no end after {limit} reads")


@pytest.mark.parametrize(
    "form",
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx265", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.h264", "libx264", "yuv420p"),
        ("a.mp4", "libx264", "yuv422p10le"),
    ],
)
def test_every_picture_comes_in_order(
    tmp_path: Path, make_clip: MakeClip, read_number: ReadNumber, form: tuple[str, str, str]
) -> None:
    name, codec, pix_fmt = form
    options = {"x265-params": "log-level=none:pools=1"} if codec == "libx265" else {}
    clip = make_clip(tmp_path / name, 30, codec=codec, pix_fmt=pix_fmt, options=options)

    pictures, corrupt = read_all(open_file(clip))

    assert [read_number(picture.image) for picture in pictures] == list(range(30))
    assert corrupt == 0
    assert all(p.image.shape == (128, 160, 3) and p.image.dtype == np.uint8 for p in pictures)
    stamps = [picture.pts_ms for picture in pictures if picture.pts_ms is not None]
    assert np.diff(stamps) == pytest.approx(np.full(29, 40.0), abs=1)


def test_the_last_pictures_come_when_the_video_is_not_the_first_stream(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "sound-first.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        sound = target.add_stream("pcm_s16le", rate=8000, layout="mono")
        video = target.add_stream_from_template(source.streams.video[0])
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        silence.rate = 8000
        target.mux(sound.encode(silence))
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = video
                target.mux(packet)

    pictures, corrupt = read_all(open_file(path))

    assert (len(pictures), corrupt) == (20, 0)


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    image = np.empty((64, 64, 3), np.uint8)
    image[:] = (200, 60, 30)
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))

    picture = open_file(path).read()

    assert picture is not None
    assert np.abs(picture.image.astype(int) - (200, 60, 30)).max() <= 4


def test_a_portrait_recording_is_turned_upright(tmp_path: Path, clip: Path, read_number: ReadNumber) -> None:
    # PyAV cannot write a display matrix: the one in the header of the track is patched. 0x00010000 is 1.0.
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = (0x10000).to_bytes(4, "big")
    assert data[at : at + 4] == one
    zero, minus = bytes(4), (0x100000000 - 0x10000).to_bytes(4, "big")
    data[at : at + 20] = zero + one + zero + minus + zero
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)

    pictures, _ = read_all(open_file(turned))

    assert all(picture.image.shape == (160, 128, 3) and picture.image.flags.c_contiguous for picture in pictures)
    # The matrix says: show it a quarter turn clockwise. A quarter turn back, the bars can be read.
    assert [read_number(np.rot90(picture.image)) for picture in pictures] == list(range(20))


def test_a_change_of_size_in_the_middle_is_followed(tmp_path: Path, make_clip: MakeClip) -> None:
    small = make_clip(tmp_path / "small.ts", 10, size=(160, 128))
    large = make_clip(tmp_path / "large.ts", 10, size=(320, 256))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())

    pictures, _ = read_all(open_file(both))

    assert {picture.image.shape for picture in pictures} == {(128, 160, 3), (256, 320, 3)}


def test_a_loop_starts_again_and_its_time_goes_on(clip: Path, read_number: ReadNumber) -> None:
    source = open_file(clip, loop=True)

    pictures = [picture for picture in (source.read() for _ in range(50)) if picture is not None]
    source.close()

    assert [read_number(picture.image) for picture in pictures] == [n % 20 for n in range(50)]
    stamps = [picture.pts_ms or 0.0 for picture in pictures]
    assert np.diff(stamps) == pytest.approx(np.full(49, 40.0), abs=0.01)


class Skipping(threading.Event):
    """A stop event whose waiting moves the clock instead of the world."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock = clock
        self.waited_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_s.append(timeout or 0.0)
        self.clock.advance(timeout or 0.0)
        return self.is_set()


def test_real_time_holds_each_picture_until_its_turn(clip: Path, fake_clock: Any) -> None:
    stop = Skipping(fake_clock)
    source = FileSource(clip, clock=fake_clock, stop=stop, realtime=True)
    source.open()

    started_s = fake_clock.monotonic_s()
    pictures, _ = read_all(source)

    assert len(pictures) == 20
    assert fake_clock.monotonic_s() - started_s == pytest.approx(19 * 0.040, abs=0.001)
    assert stop.waited_s == pytest.approx([0.040] * 19, abs=0.001)


def test_real_time_catches_up_after_a_slow_reader(clip: Path, fake_clock: Any) -> None:
    source = FileSource(clip, clock=fake_clock, stop=Skipping(fake_clock), realtime=True)
    source.open()
    started_s = fake_clock.monotonic_s()
    source.read()
    fake_clock.advance(0.3)

    read_all(source)

    assert fake_clock.monotonic_s() - started_s == pytest.approx(19 * 0.040, abs=0.001)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_truncated_file_gives_what_is_left_and_ends(
    tmp_path: Path, make_clip: MakeClip, suffix: str, share: float
) -> None:
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    codec = ("mjpeg", "yuvj420p") if suffix == "avi" else ("libx264", "yuv420p")
    path = tmp_path / f"whole.{suffix}"
    with_front_index(path, make_clip, options, codec)
    data = path.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])

    pictures, corrupt = read_all(open_file(cut))

    assert 0 < len(pictures) < 30
    assert len(pictures) + corrupt <= 31


def with_front_index(path: Path, make_clip: MakeClip, options: dict[str, str], codec: tuple[str, str]) -> None:
    """MP4 keeps its index at the end unless it is rewritten, and without the index there is nothing to read."""
    if "movflags" not in options:
        make_clip(path, 30, codec=codec[0], pix_fmt=codec[1], noise=20)
        return
    raw = make_clip(path.with_name("raw.mp4"), 30, noise=20)
    with av.open(str(raw)) as source, av.open(str(path), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_are_counted_not_fatal(tmp_path: Path, make_clip: MakeClip, suffix: str, seed: int) -> None:
    clip = make_clip(tmp_path / f"clip.{suffix}", 40, options={"g": "10"}, noise=20)
    data = bytearray(clip.read_bytes())
    chance = random.Random(seed)
    for _ in range(60):
        data[chance.randrange(1000, len(data) - 4000)] = chance.randrange(256)
    clip.write_bytes(data)

    pictures, corrupt = read_all(open_file(clip))

    assert corrupt > 0
    assert 0 < len(pictures) < 40


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 200, bytes(5000)])
def test_a_file_that_is_no_video_is_a_codec_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)

    with pytest.raises(CaptureError, match=r"notes\.mp4") as caught:
        open_file(path)

    assert caught.value.cause in {"codec", "end_of_stream"}


def test_a_file_with_sound_only_is_a_codec_fault(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))

    with pytest.raises(CaptureError, match="no video") as caught:
        open_file(path)

    assert caught.value.cause == "codec"


@pytest.mark.parametrize(("path", "cause"), [("missing.mp4", "not_found"), (".", "not_found")])
def test_a_path_without_a_file_is_not_found(tmp_path: Path, path: str, cause: str) -> None:
    with pytest.raises(CaptureError) as caught:
        open_file(tmp_path / path)

    assert caught.value.cause == cause


def test_a_colon_in_a_relative_name_is_no_protocol(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("door:1.mp4").write_bytes(clip.read_bytes())

    pictures, _ = read_all(open_file(Path("door:1.mp4")))

    assert len(pictures) == 20


def test_closing_ends_the_reading_of_another_thread(clip: Path) -> None:
    source = open_file(clip, loop=True)
    started = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while source.read() is not None:
            seen.append(1)
            started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(10)
    source.close()
    source.close()
    reader.join(10)

    assert not reader.is_alive()
    assert source.read() is None


def test_closing_before_and_without_opening_is_allowed(clip: Path) -> None:
    source = FileSource(clip, clock=SystemClock(), stop=threading.Event())
    source.close()
    source.open()

    assert source.read() is None


@pytest.mark.parametrize(
    ("name", "frames"),
    [("crowd-1080p.mp4", 105), ("faces-480x270.mp4", 255), ("people-no-face-768x432.mp4", 1394)],
)
@pytest.mark.slow
def test_development_videos_give_as_many_pictures_as_ffprobe_counts(shared_data: Path, name: str, frames: int) -> None:
    pictures = 0
    source = open_file(shared_data / "data" / "video" / name)
    while source.read() is not None:
        pictures += 1
    source.close()

    assert pictures == frames
