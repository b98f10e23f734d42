"""Fixtures that every room shares."""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog

from gate.types import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parent.parent
TEST_DATA = Path(os.environ.get("GATE_TEST_DATA", REPOSITORY.parent / "shared")).resolve()


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Commands set up the log of the whole process; the next test wants it as it was."""
    root, ours = logging.getLogger(), logging.getLogger("gate")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's gate could not deliver is nothing to the next one's, nor to the user's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / secrets.token_hex(8)))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of development data; tests that truly need it skip where it is missing."""
    if not (TEST_DATA / "data").is_dir():
        pytest.skip("the development data is not here; GATE_TEST_DATA names its folder")
    return TEST_DATA


@pytest.fixture(scope="session")
def portable() -> Path:
    """Two aligned portraits and the numbers the published code returned for them."""
    return REPOSITORY / "tests" / "reference" / "portable"


@pytest.fixture(scope="session")
def portraits() -> dict[str, Image]:
    """Pictures of faces that pip packages ship, RGB uint8: one astronaut, one admiral, one group of six."""
    import cv2
    import insightface
    import matplotlib as mpl
    import skimage

    def read(path: Path) -> Image:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise FileNotFoundError(path)
        return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)

    return {
        "astronaut": read(Path(skimage.__file__).parent / "data" / "astronaut.png"),
        "grace_hopper": read(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"),
        "group": read(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"),
    }


@dataclass
class FakeClock:
    """A clock that moves only when told."""

    now_s: float = 1000.0
    now_ms: int = 1_700_000_000_000

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def fake_clock() -> FakeClock:
    """Time in the hands of the test."""
    return FakeClock()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The system's Chromium, headless. Not for the session: its event loop would be in the way of other tests' own."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed; scripts/servers.sh installs it where apt is")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where weight files are kept between test runs: `$GATE_WEIGHTS`, else the user's cache as in production."""
    from gate.weights.zoo import default_folder

    return default_folder()
