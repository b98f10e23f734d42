"""The table of known weights: what each file is, what it may be used for, and where it can be had."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias

from gate.errors import WeightsError
from gate.redact import safe_address

Kind: TypeAlias = Literal["detector", "recognizer", "regressor", "diffusion", "pack"]


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file behind an http(s) address."""

    url: str

    @property
    def kind(self) -> str:
        """One word for tables."""
        return "url"

    def __str__(self) -> str:
        return safe_address(self.url)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A member of a wheel, fetched by the machine's own package client under the user's index settings."""

    requirement: str
    """`name==version`."""

    member: str
    """Path inside the wheel."""

    @property
    def kind(self) -> str:
        """One word for tables."""
        return "wheel"

    def __str__(self) -> str:
        return f"package {self.requirement}"


@dataclass(frozen=True, slots=True)
class PackSource:
    """A member of one of insightface's released packs."""

    pack: str

    member: str
    """File name inside the pack, in whichever of its folders."""

    @property
    def kind(self) -> str:
        """One word for tables."""
        return "pack"

    def __str__(self) -> str:
        return f"insightface pack {self.pack}"


@dataclass(frozen=True, slots=True)
class PathSource:
    """A file of this machine or a mounted share."""

    path: Path

    @property
    def kind(self) -> str:
        """One word for tables."""
        return "path"

    def __str__(self) -> str:
        return str(self.path)


Source: TypeAlias = UrlSource | WheelSource | PackSource | PathSource


@dataclass(frozen=True, slots=True)
class Contract:
    """What the network expects and returns: it is fed (x - mean) / scale of 8-bit values x, channels first."""

    colour: Literal["rgb", "bgr"]
    """Order of the channels."""

    mean: float

    scale: float

    side_px: int | None
    """Side of the square input; None for any size."""

    output: str
    """What comes out, with shape and range."""

    dropout_p: float | None = None
    """Dropout the network was trained with before its last layer; None where it had none or nobody says."""


@dataclass(frozen=True, slots=True)
class Original:
    """The file as published, where what is kept is a conversion of it (a pickled module to safetensors)."""

    sha256: str

    bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table."""

    name: str

    kind: Kind

    description: str

    architecture: str

    license_code: str
    """Licence of the code that made the weights."""

    license_weights: str
    """Licence of the weights themselves, as published."""

    commercial: bool
    """Whether that licence permits commercial use; False also where it does not say."""

    citation: str

    file: str | None = None
    """Path inside the weights folder; None for packs, for slots and for what ships with the package."""

    bundled: str | None = None
    """File that ships with the package; None for everything else."""

    sha256: str | None = None
    """Checksum of the file as kept; None for packs and slots."""

    bytes: int | None = None
    """Size of the file as kept; None for packs and slots."""

    contract: Contract | None = None
    """None for packs."""

    original: Original | None = None
    """Set where sources deliver a pickled module that is converted after the checksum matched."""

    sources: tuple[Source, ...] = ()
    """Tried in order; empty for packs and slots."""

    members: tuple[str, ...] = ()
    """Names of the entries a pack consists of."""

    twin: str | None = None
    """Name of the entry that holds the same weights as an ONNX file."""

    @property
    def slot(self) -> bool:
        """True when no file is published under a known checksum, so that the user supplies a path."""
        return self.file is None and self.bundled is None and not self.members

    @property
    def fetched(self) -> Original | None:
        """Checksum and size of what a source delivers."""
        if self.original is not None:
            return self.original
        return Original(self.sha256, self.bytes) if self.sha256 is not None and self.bytes is not None else None


def _source(row: dict[str, str]) -> Source:
    if "url" in row:
        return UrlSource(**row)
    if "wheel" in row:
        return WheelSource(requirement=row["wheel"], member=row["member"])
    if "insightface_pack" in row:
        return PackSource(pack=row["insightface_pack"], member=row["member"])
    return PathSource(Path(row["path"]))


def _entry(row: dict[str, Any]) -> Entry:
    values = dict(row)
    if "contract" in values:
        values["contract"] = Contract(**values["contract"])
    if "original" in values:
        values["original"] = Original(**values["original"])
    values["sources"] = tuple(_source(source) for source in values.get("sources", ()))
    values["members"] = tuple(values.get("members", ()))
    entry = Entry(**values)
    if entry.sources and (entry.file is None or entry.sha256 is None or entry.bytes is None):
        raise ValueError(f"{entry.name} has sources but no checksum, size or file name: nothing could be trusted")
    if entry.bundled is not None and (entry.sha256 is None or entry.bytes is None or entry.file or entry.sources):
        raise ValueError(f"{entry.name} ships with the package: it has a checksum and a size, and is kept nowhere else")
    return entry


def _by_name(entries: list[Entry]) -> dict[str, Entry]:
    table = {entry.name: entry for entry in entries}
    if len(table) != len(entries):
        raise ValueError("two entries share a name")
    unknown = {member for entry in entries for member in entry.members} - table.keys()
    if unknown:
        raise ValueError(f"packs name unknown entries: {', '.join(sorted(unknown))}")
    return table


def parse_table(text: str, where: str) -> dict[str, Entry]:
    """Entries by name from the JSON of a table.

    Raises:
        WeightsError: the text is not such a table.
    """
    try:
        return _by_name([_entry(row) for row in json.loads(text)["entries"]])
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{where} is not a table of weights: {error}") from error


def bundled_folder() -> Path:
    """Where the weights are that ship with the package."""
    return Path(str(resources.files("gate.weights"))) / "bundled"


def load_table() -> dict[str, Entry]:
    """The table that ships with the package: name → entry, in the order it is shown."""
    text = (resources.files("gate.weights") / "zoo.json").read_text(encoding="utf-8")
    return parse_table(text, "zoo.json")
