"""What cameras send that no standard promises: it is read, or counted, and the stream goes on."""

import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gate.capture.changes import Change, ChangeSpotter
from gate.capture.file import FileSource
from gate.capture.source import CorruptPictureError, Encoding, FrameSource, Picture
from gate.capture.stream import StreamSource
from gate.clock import SystemClock
from gate.errors import CaptureError
from gate.types import Image
from tests.capture.rtsp_camera import Clip, Conduct, encode, grey_steps, serving
from tests.capture.sockets import send_stream, tcp_server


def source_at(port: int, **options: Any) -> StreamSource:
    return StreamSource(f"rtsp://127.0.0.1:{port}/live", clock=SystemClock(), **options)


def pictures_of(source: FrameSource, count: int) -> tuple[list[Picture], int]:
    """`count` pictures, and how many were corrupt on the way."""
    pictures: list[Picture] = []
    corrupt = 0
    while len(pictures) < count:
        try:
            picture = source.read()
        except CorruptPictureError:
            corrupt += 1
            continue
        assert picture is not None
        pictures.append(picture)
    return pictures, corrupt


def watched(conduct: Conduct, count: int) -> tuple[list[Picture], int, Counter[str]]:
    """What a camera that behaves so gives: pictures, corrupt ones, changes."""
    with serving(conduct) as camera, closing(source_at(camera.port)) as source:
        source.open()
        pictures, corrupt = pictures_of(source, count)
    spotter = ChangeSpotter()
    return pictures, corrupt, Counter(change.value for picture in pictures for change, _ in spotter.see(picture))


@pytest.fixture(scope="module")
def steps() -> Clip:
    return encode(grey_steps(10), fps=50)


def noise(count: int, size: tuple[int, int] = (160, 128)) -> list[Image]:
    grain = np.random.default_rng(0)
    return [grain.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("h265", "hevc"), ("mjpeg", "mjpeg")])
def test_every_usual_codec_comes_through_rtsp_as_it_was_sent(codec: str, name: str) -> None:
    sent = grey_steps(10)
    pictures, corrupt, _ = watched(Conduct(encode(sent, codec, fps=50)), 10)

    assert corrupt == 0
    assert {picture.image.shape for picture in pictures} == {(128, 160, 3)}
    assert {picture.encoding for picture in pictures} == {Encoding(name, "cpu")}
    means = [float(picture.image.mean()) for picture in pictures]
    # Whichever picture comes first, each that is shown is one of those sent, to a few levels.
    assert all(min(abs(mean - float(image.mean())) for image in sent) < 4 for mean in means)
    assert max(means) - min(means) > 100


def test_a_change_of_resolution_in_the_middle_is_followed_and_counted(steps: Clip) -> None:
    large = encode(grey_steps(10, (320, 256)), fps=50)
    pictures, corrupt, changes = watched(Conduct(steps + large), 25)

    assert corrupt == 0
    assert {picture.image.shape for picture in pictures} == {(128, 160, 3), (256, 320, 3)}
    # There and back again, as the two parts take turns.
    assert changes["resolution"] >= 1
    assert set(changes) == {"resolution"}


def test_time_stamps_that_run_backwards_are_counted_and_cost_nothing(steps: Clip) -> None:
    pictures, corrupt, changes = watched(Conduct(steps, stamp=lambda n: 900_000 + (n % 10) * 1800 - n * 10), 30)

    assert (len(pictures), corrupt) == (30, 0)
    assert 1 <= changes["time_back"] <= 3


def test_a_camera_that_claims_no_frames_a_second_and_no_time_is_read(steps: Clip) -> None:
    pictures, corrupt, changes = watched(Conduct(steps, stamp=lambda _: 0, sdp_extra="a=framerate:0"), 30)

    assert (len(pictures), corrupt, changes) == (30, 0, Counter())


def test_damaged_packets_are_counted_and_later_pictures_come() -> None:
    grain = np.random.default_rng(1)

    def damage(number: int, packet: bytes) -> bytes:
        if number % 5 != 3:
            return packet
        broken = bytearray(packet)
        for place in grain.integers(12, len(broken), size=max(1, len(broken) // 8)):
            broken[place] ^= int(grain.integers(1, 255))
        return bytes(broken)

    pictures, corrupt, _ = watched(Conduct(encode(noise(10), fps=50), garble=damage), 30)

    assert len(pictures) == 30
    assert corrupt > 0


def test_lost_packets_are_counted_and_later_pictures_come() -> None:
    grain = np.random.default_rng(2)
    conduct = Conduct(encode(noise(10), fps=50), garble=lambda _, packet: None if grain.random() < 0.05 else packet)
    pictures, corrupt, _ = watched(conduct, 10)

    assert len(pictures) == 10
    assert corrupt > 0


def test_a_camera_that_sends_nothing_but_rubbish_is_stalled() -> None:
    grain = np.random.default_rng(3)

    def rubbish(number: int, packet: bytes) -> bytes:
        return packet if number < 5 else packet[:12] + grain.bytes(len(packet) - 12)

    conduct = Conduct(encode(noise(10), fps=50), garble=rubbish)
    with serving(conduct) as camera, closing(source_at(camera.port, read_timeout_s=0.5)) as source:
        source.open()
        with pytest.raises(CaptureError, match="no pictures come out") as caught:
            # Far more than the time-out sends: only the watchdog can end this.
            pictures_of(source, 500)

    assert caught.value.cause == "stalled"
    assert caught.value.__cause__ is None


def test_the_watchdog_looks_at_rubbish_too(steps: Clip, fake_clock: Any) -> None:
    def only_rubbish() -> bool:
        fake_clock.advance(1)
        raise CorruptPictureError("x")

    with serving(Conduct(steps)) as camera:
        source = StreamSource(f"rtsp://127.0.0.1:{camera.port}/live", clock=fake_clock, read_timeout_s=10)
        source.open()
        assert source._decoder is not None
        source.read()
        source._decoder.advance = only_rubbish  # type: ignore[method-assign]
        source._decoder.pop = lambda: None  # type: ignore[method-assign]
        for _ in range(10):
            with pytest.raises(CorruptPictureError):
                source.read()
        with pytest.raises(CaptureError) as caught:
            source.read()
        source.close()

    assert caught.value.cause == "stalled"


@pytest.mark.slow
def test_a_4k_camera_is_read() -> None:
    gradient = np.tile(np.linspace(0, 255, 3840, dtype=np.uint8)[None, :, None], (2160, 1, 3))
    pictures, corrupt, _ = watched(Conduct(encode([gradient, gradient[:, ::-1].copy()], fps=5)), 3)

    assert corrupt == 0
    assert {picture.image.shape for picture in pictures} == {(2160, 3840, 3)}
    assert abs(float(pictures[0].image[:, :200].mean()) - float(pictures[0].image[:, -200:].mean())) > 200


def test_a_camera_that_comes_back_with_another_codec_is_read_and_counted() -> None:
    spotter, seen = ChangeSpotter(), Counter[str]()
    for codec in ("h264", "h265", "h265", "mjpeg"):
        with (
            serving(Conduct(encode(grey_steps(6), codec, fps=50))) as camera,
            closing(source_at(camera.port)) as source,
        ):
            source.open()
            spotter.reopened()
            seen.update(change.value for picture in pictures_of(source, 3)[0] for change, _ in spotter.see(picture))

    assert seen["codec"] == 2


def test_a_codec_that_changes_in_the_middle_of_a_stream_loses_it_and_the_next_attempt_reads_it(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    before = make_clip(tmp_path / "a.ts", 40, options={"bf": "0", "g": "5"}).read_bytes()
    x265 = {"x265-params": "bframes=0:keyint=5:log-level=none"}
    after = make_clip(tmp_path / "b.ts", 40, codec="libx265", options=x265).read_bytes()
    well_read, over = threading.Event(), threading.Event()

    def go_on_with_another(connection: socket.socket) -> None:
        well_read.wait(20)
        connection.sendall(after)
        over.wait(20)

    with tcp_server(send_stream(before, go_on_with_another)) as port:
        source = StreamSource(f"http://127.0.0.1:{port}/live", clock=SystemClock(), read_timeout_s=1.0)
        source.open()
        pictures, _ = pictures_of(source, 20)
        well_read.set()
        with pytest.raises(CaptureError) as caught:
            pictures_of(source, 100)
        source.close()
        over.set()
    with (
        tcp_server(send_stream(after)) as port,
        closing(StreamSource(f"http://127.0.0.1:{port}/live", clock=SystemClock())) as source,
    ):
        source.open()
        pictures += pictures_of(source, 20)[0]

    assert caught.value.cause in {"stalled", "codec"}
    spotter = ChangeSpotter()
    assert [change.value for picture in pictures for change, _ in spotter.see(picture)] == ["codec", "time_back"]


def quartered(size: tuple[int, int]) -> Image:
    """A picture whose quarters are dark, red, green and white, from the upper left, row by row."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, width // 2 :] = (250, 0, 0)
    image[height // 2 :, : width // 2] = (0, 250, 0)
    image[height // 2 :, width // 2 :] = 250
    return image


def colours(image: Image) -> list[str]:
    """Names of the quarters' colours, from the upper left, row by row."""
    height, width = image.shape[:2]
    middles = [image[y, x].astype(int) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    names = {(False, False): "dark", (True, False): "red", (False, True): "green", (True, True): "white"}
    return [names[bool(red > 128), bool(green > 128)] for red, green, _ in middles]


@pytest.mark.parametrize(
    ("degrees", "shown"),
    [
        (0, ["dark", "red", "green", "white"]),
        (90, ["red", "white", "dark", "green"]),
        (180, ["white", "green", "red", "dark"]),
        (270, ["green", "dark", "white", "red"]),
    ],
)
def test_a_picture_filmed_upright_is_turned_as_its_display_matrix_says(
    tmp_path: Path, degrees: int, shown: list[str]
) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        stream.set_display_rotation(degrees)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(quartered((160, 128)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with closing(FileSource(path, clock=SystemClock(), stop=threading.Event())) as source:
        source.open()
        picture = source.read()

    assert picture is not None
    assert picture.image.shape == ((128, 160, 3) if degrees % 180 == 0 else (160, 128, 3))
    assert colours(picture.image) == shown


def test_a_changed_decoder_is_told_with_its_reason_once() -> None:
    def picture(device: str, refused: str = "") -> Picture:
        return Picture(np.zeros((2, 2, 3), np.uint8), None, Encoding("h264", device, refused))

    spotter = ChangeSpotter()
    told = [
        spotter.see(picture("cpu", "no card")),
        spotter.see(picture("cpu", "no card")),
        spotter.see(picture("cuda")),
        spotter.see(Picture(np.zeros((2, 2, 3), np.uint8))),
        spotter.see(picture("cuda")),
        spotter.see(picture("cpu", "the card went")),
    ]

    assert told == [
        [(Change.DECODER, "decoded by cpu: no card")],
        [],
        [(Change.DECODER, "decoded by cuda")],
        [],
        [],
        [(Change.DECODER, "decoded by cpu: the card went")],
    ]
