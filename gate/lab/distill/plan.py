"""What the user asked for, and the folder that holds what came of it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gate.errors import GateError
from gate.lab.distill.recipe import Recipe
from gate.lab.scores import MethodRequest

DEFAULT_TEACHERS = ("w600k-mbf", "facexzoo-mobilefacenet")

_FILE_PREFIX = "scores:"


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """One source of labels and what it counts for."""

    name: str
    """A method, with options as `gate evaluate` writes them, or `scores:FILE`."""

    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "LabelRequest":
        """Read `METHOD[=WEIGHT]`, where METHOD may hold `=` itself.

        >>> LabelRequest.parse("serfiq=0.5")
        LabelRequest(name='serfiq', weight=0.5)
        >>> LabelRequest.parse("diffiqa:t=5")
        LabelRequest(name='diffiqa:t=5', weight=1.0)

        Raises:
            GateError: it is neither.
        """
        head, equals, tail = text.rpartition("=")
        try:
            weight = float(tail) if equals else 1.0
        except ValueError:
            equals = ""
        if equals and _is_whole(head):
            if not 0 <= weight < float("inf"):
                raise GateError(f"--label {text}: a weight is 0 or more")
            return cls(head, weight)
        if not _is_whole(text):
            raise GateError(f"--label {text}: expected METHOD, METHOD=WEIGHT or scores:FILE=WEIGHT")
        return cls(text)

    @property
    def file(self) -> Path | None:
        """The score file, where it is one."""
        return Path(self.name.removeprefix(_FILE_PREFIX)) if self.name.startswith(_FILE_PREFIX) else None


def _is_whole(name: str) -> bool:
    """Whether this names a method with its options, or a score file."""
    if "=" in name.partition(":")[0]:
        return False
    if name.startswith(_FILE_PREFIX):
        return len(name) > len(_FILE_PREFIX)
    try:
        return bool(MethodRequest.parse(name).method)
    except GateError:
        return False


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for."""

    sources: tuple[str, ...]
    """Folders or archives of aligned crops."""

    output: Path
    recipe: Recipe
    identities: tuple[Path, ...] = ()
    teachers: tuple[str, ...] = DEFAULT_TEACHERS
    """Recognizers; only the rule `recognizers` asks them."""

    witnesses: tuple[str, ...] = ()
    """Methods whose scores help to foretell the label of crops whose person is unknown; same rule."""

    labels: tuple[LabelRequest, ...] = ()
    start: str | None = None
    held_back: float = 0.1
    """Share of the people, and of the crops of unknown people, that training does not see."""

    seed: int = 0
    limit: int | None = None
    threads: int = 1
    device: str = "cpu"

    @property
    def asked(self) -> dict[str, object]:
        """What decides the result, in a form that can be written down; not where and how fast it is computed."""
        uses_teachers = self.recipe.rule == "recognizers"
        return {
            "sources": list(self.sources),
            "identities": [str(path) for path in self.identities],
            "recipe": asdict(self.recipe),
            "teachers": list(self.teachers) if uses_teachers else [],
            "witnesses": list(self.witnesses),
            "labels": [[label.name, label.weight] for label in self.labels],
            "start": self.start,
            "held_back": self.held_back,
            "seed": self.seed,
            "limit": self.limit,
        }


class RunFolder:
    """The folder of one run, which no other run may use."""

    def __init__(self, path: Path, result: str) -> None:
        """`result` is the file that is written last but one: where it and the card are, the run is done."""
        self.path = path
        self.result = path / result
        self.card = path / "model-card.md"
        self._facts = path / "recipe.json"

    def compare(self, facts: Mapping[str, object]) -> None:
        """Refuse a folder that another run has used; the message says how that one differs.

        Raises:
            GateError: it has, or its `recipe.json` cannot be read.
        """
        told = self._told()
        for name, value in json.loads(json.dumps(facts)).items():
            if name in told and told[name] != value:
                raise GateError(
                    f"{self.path} holds a run with another {name.replace('_', ' ')} ({_apart(told[name], value)}); "
                    "name another folder, or remove this one."
                )

    def claim(self, facts: Mapping[str, object]) -> None:
        """Write down what this run is; the same facts may be claimed again.

        Raises:
            GateError: another run has used the folder, or it cannot be written.
        """
        self.compare(facts)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self._facts, json.dumps({**self._told(), **facts}, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise GateError(f"{self.path} cannot be written: {error.strerror or error}") from None

    @property
    def is_finished(self) -> bool:
        """Whether everything has been written."""
        return self.result.is_file() and self.card.is_file()

    def _told(self) -> dict[str, object]:
        if not self._facts.exists():
            return {}
        try:
            told = json.loads(self._facts.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise GateError(f"{self._facts} cannot be read ({error}); remove it to start again.") from None
        return told if isinstance(told, dict) else {}


def _apart(old: object, new: object) -> str:
    """Where two facts differ, in words."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{old}, not {new}"
    return ", ".join(f"{name} {old.get(name)}, not {new[name]}" for name in new if old.get(name) != new[name])


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8", errors="surrogateescape")
    part.replace(path)
