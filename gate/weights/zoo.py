"""Weights by name: where they are kept, whether they are what they claim, and how they get there."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from gate.errors import WeightsError
from gate.weights.fetch import Fetcher, Progress
from gate.weights.sums import sha256_of
from gate.weights.table import Contract, Entry, bundled_folder, load_table

__all__ = ["Contract", "Entry", "State", "Status", "Zoo", "default_folder", "load_table", "locate"]

State: TypeAlias = Literal["here", "missing", "damaged", "slot"]

# sha256 runs at about 1 GB/s here: below this size a check at every start costs nothing that anybody notices.
_CHECK_ALWAYS_BELOW_BYTES = 20_000_000


def default_folder() -> Path:
    """`$GATE_WEIGHTS`, else `facegate/weights` in the user's cache folder."""
    chosen = os.environ.get("GATE_WEIGHTS")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "facegate" / "weights"


@dataclass(frozen=True, slots=True)
class Status:
    """What is known about one entry without reading its file."""

    state: State
    """`damaged` is judged by size only; `slot` means that the user has to supply a path."""

    path: Path | None
    """Where the file is or would be; None for packs and for slots without a path."""

    bytes: int | None
    """Size of what is there."""


class Zoo:
    """The table joined with a folder of files.

    Args:
        folder: where pulled files are kept; made when first needed.
        local_paths: name → file that the user supplies, for slots and instead of a pull.
        table: name → entry; default is the table of the package.
        fetcher: how files are fetched.
        bundled: folder of the files that ship with the package; default is the package's own.
        fetching: False makes `ensure` an error where a file is missing or damaged, and touches no network.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        local_paths: Mapping[str, Path] | None = None,
        table: Mapping[str, Entry] | None = None,
        fetcher: Fetcher | None = None,
        bundled: Path | None = None,
        fetching: bool = True,
    ) -> None:
        self.folder = folder or default_folder()
        self._table = load_table() if table is None else table
        self._fetcher = fetcher or Fetcher()
        self._bundled = bundled or bundled_folder()
        self._fetching = fetching
        self._local = {self.entry(name).name: path.expanduser() for name, path in (local_paths or {}).items()}

    def entries(self) -> tuple[Entry, ...]:
        """All rows of the table, in its order."""
        return tuple(self._table.values())

    def entry(self, name: str) -> Entry:
        """The row of that name.

        Raises:
            WeightsError: there is none; the message names the nearest one.
        """
        if name in self._table:
            return self._table[name]
        near = difflib.get_close_matches(name, self._table, n=1, cutoff=0.4)
        meant = f"did you mean {near[0]!r}?" if near else "`gate models list` shows the names"
        raise WeightsError(f"no weights are called {name!r}; {meant}")

    def status(self, name: str) -> Status:
        """Whether the file is there, by its size; a pack is as far as the worst of its members."""
        entry = self.entry(name)
        if entry.members:
            states = {self.status(member).state for member in entry.members}
            worst: State = "damaged" if "damaged" in states else "missing" if "missing" in states else "here"
            return Status(worst, None, None)
        path = self._place(entry)
        if path is None:
            return Status("slot", None, None)
        if not path.is_file():
            return Status("missing", path, None)
        size = path.stat().st_size
        return Status("here" if size in _sizes(entry) or entry.slot else "damaged", path, size)

    def path(self, name: str) -> Path:
        """The file of that name, checked: its size always, its checksum too when it is below 20 MB.

        Raises:
            WeightsError: it is missing or damaged; the message says what to do.
        """
        entry = self.entry(name)
        if entry.members:
            raise WeightsError(f"{name} is a pack; its files are {', '.join(entry.members)}")
        return self._checked(entry, always=False)

    def verify(self, name: str) -> Path | None:
        """Read the whole file and compare its checksum; of a pack all members.

        Returns:
            The file's path; None for a pack.

        Raises:
            WeightsError: it is missing, or another checksum than the table's.
        """
        entry = self.entry(name)
        for member in entry.members:
            self._checked(self.entry(member), always=True)
        return None if entry.members else self._checked(entry, always=True)

    def ensure(self, name: str, progress: Progress | None = None) -> Path:
        """The file of that name, pulled first when it is missing or damaged.

        Raises:
            WeightsError: it cannot be had; the message says why for each source.
        """
        if not self._fetching:
            return self.path(name)
        entry = self.entry(name)
        state = self.status(name).state
        if not entry.members and state == "here":
            try:
                return self._checked(entry, always=False)
            except WeightsError:
                if entry.name in self._local:
                    raise
        return self.pull(name, progress)

    def pull(self, name: str, progress: Progress | None = None) -> Path:
        """Fetch the file of that name (of a pack all members), whether it is there or not.

        Returns:
            Its path; for a pack the folder that holds its members.

        Raises:
            WeightsError: no source delivered it, or it is a slot or a file of the user's.
        """
        entry = self.entry(name)
        if entry.members:
            return [self.ensure(member, progress) for member in entry.members][-1].parent
        if entry.bundled is not None and entry.name not in self._local:
            return self._checked(entry, always=True)
        expected = entry.fetched
        if entry.name in self._local or entry.file is None or expected is None:
            raise WeightsError(self._what_to_do(entry))
        target = self.folder / entry.file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._fetcher.fetched(name, expected, entry.sources, target.parent, progress) as part:
                if entry.original is not None:
                    _convert(entry, part)
                # mkstemp's 0600 would hide a shared folder's weights from every other account.
                part.chmod(0o644)
                part.replace(target)
        except OSError as error:
            reason = error.strerror or error
            raise WeightsError(
                f"{target} cannot be written: {reason}; set GATE_WEIGHTS to a writable folder"
            ) from error
        return target

    def _place(self, entry: Entry) -> Path | None:
        if entry.name in self._local:
            return self._local[entry.name]
        if entry.bundled is not None:
            return self._bundled / entry.bundled
        return self.folder / entry.file if entry.file is not None else None

    def _what_to_do(self, entry: Entry) -> str:
        if entry.name in self._local:
            return f"{entry.name} is set to {self._local[entry.name]}, which is for you to supply"
        return (
            f"{entry.name} cannot be pulled: its authors publish it ({entry.citation}); "
            f"get the file there and give its path"
        )

    def _remedy(self, entry: Entry) -> str:
        if entry.name in self._local:
            return "name an existing file"
        if entry.bundled is not None:
            return "it ships with the package: install facegate again"
        return f"`gate models pull {entry.name}` fetches it"

    def _checked(self, entry: Entry, *, always: bool) -> Path:
        path = self._place(entry)
        if path is None:
            raise WeightsError(self._what_to_do(entry))
        remedy = self._remedy(entry)
        if not path.is_file():
            raise WeightsError(f"{entry.name} is not here: {path} does not exist; {remedy}")
        if entry.slot:
            return path
        size = path.stat().st_size
        sizes = _sizes(entry)
        if size not in sizes:
            raise WeightsError(f"{path} has {size} bytes where {entry.name} has {min(sizes)}; {remedy}")
        if always or size < _CHECK_ALWAYS_BELOW_BYTES:
            found = sha256_of(path)
            if found != sizes[size]:
                raise WeightsError(
                    f"{path} is damaged or another file: its sha256 is {found[:12]}…, "
                    f"that of {entry.name} is {sizes[size][:12]}…; {remedy}"
                )
        return path


def _sizes(entry: Entry) -> dict[int, str]:
    """Size → checksum of the forms in which an entry may be kept: ours, and the published one a user may point to."""
    forms = {entry.bytes: entry.sha256}
    if entry.original is not None:
        forms[entry.original.bytes] = entry.original.sha256
    return {size: digest for size, digest in forms.items() if size is not None and digest is not None}


def _convert(entry: Entry, part: Path) -> None:
    """Rewrite a pickled module as safetensors, in place; the result has a checksum in the table too."""
    from gate.weights.checkpoint import without_parallel
    from gate.weights.convert import write_safetensors
    from gate.weights.unpickle import read_pickled

    write_safetensors(without_parallel(read_pickled(part)), part)
    found = sha256_of(part)
    if found != entry.sha256:
        raise WeightsError(f"{entry.name} was converted to sha256 {found[:12]}…, the table says {entry.sha256}")


def locate(weights: str | Path, zoo: Zoo | None = None) -> tuple[Path, str | None]:
    """The file that `weights` means, and its zoo name where it is one. Raises `WeightsError` as the zoo does."""
    shelf = zoo or Zoo()
    if isinstance(weights, str) and any(entry.name == weights for entry in shelf.entries()):
        return shelf.ensure(weights), weights
    return Path(weights), None
