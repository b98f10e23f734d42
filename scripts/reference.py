"""Writes docs/reference.md and docs/event.schema.json from the code.

python scripts/reference.py           writes the files
python scripts/reference.py --check   exits 1 when a file is not what the code says
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gate.cli import EXIT_CODES
from gate.client.dead import DEAD_FIELDS, DeadReason
from gate.client.metrics import CONSUMER_DESIGN
from gate.client.outcomes import Outcome
from gate.config import DecideOverrides, GateConfig
from gate.config_change import IN_PLACE, REASONS
from gate.observe.table import DESIGN
from gate.publish.event import FIELDS, json_schema
from gate.quality import methods
from gate.reasons import FallbackCause, Reason, Shed
from gate.types import Signals
from gate.weights.table import load_table

DOCS = Path(__file__).resolve().parent.parent / "docs"


def document() -> str:
    """The whole page."""
    parts = (
        "# Reference\n\nMade from the code by `make docs`; a test fails when the two differ.\n",
        configuration(),
        reloads(),
        section("Exit codes", "`gate --help` prints this.", ("code", "meaning"), EXIT_CODES.items()),
        section("Reasons", "Why a face was rejected.", ("reason", "meaning"), ((r.value, r.meaning) for r in Reason)),
        metrics(),
        causes(),
        shed(),
        events(),
        consuming(),
        signals(),
        quality_methods(),
        weights(),
    )
    return "\n".join(parts)


def section(title: str, words: str, headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A heading, a sentence and a table."""
    names = list(headings)
    lines = [f"## {title}\n", f"{words}\n", table_row(names), table_row("---" for _ in names)]
    return "\n".join([*lines, *(table_row(row) for row in rows)]) + "\n"


def table_row(cells: Iterable[Any]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def configuration() -> str:
    """Every key of the YAML file."""
    rows = ((f"`{key}`", default, text) for key, default, text in keys(GateConfig, ""))
    return section("Configuration", "One YAML file; unknown keys are refused.", ("key", "default", "meaning"), rows)


def reloads() -> str:
    """What of a changed file a running gate takes over."""
    in_place = " and ".join(f"`{key}`" for key in sorted(IN_PLACE))
    words = (
        "`gate run -c FILE` reads the file again on SIGHUP, and when its content has changed and then stayed the same "
        "for two seconds. New cameras are started, missing ones are stopped and their visits closed, those that are to "
        f"be read in another way are restarted alone; the rest run on. {in_place}, the common `decide` included, and "
        "`log.level` change in place: visits that are open go on. A file that is broken, or that differs in a key "
        "below, is not taken over at all, and the log (`config_kept`), `facegate_config_reload_success`, `/readyz` and "
        "`/status` say why. These ask for a restart:"
    )
    return section("Reload", words, ("key", "why"), ((f"`{key}`", why) for key, why in REASONS.items()))


def keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Key, default and description of every field, sections opened."""
    for name, field in model.model_fields.items():
        inner = inner_model(field)
        if inner is None:
            yield f"{prefix}{name}", shown_default(field), field.description or ""
        elif issubclass(inner, DecideOverrides):
            yield f"{prefix}{name}", "`{}`", field.description or ""
        else:
            is_list = get_origin(field.annotation) is tuple
            yield from keys(inner, f"{prefix}{name}{'[]' if is_list else ''}.")


def inner_model(field: FieldInfo) -> type[BaseModel] | None:
    """The section behind a field, None for a plain value."""
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def shown_default(field: FieldInfo) -> str:
    """The default as YAML would write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    words = {None: "null", True: "true", False: "false"}
    return f"`{words[value] if value is None or isinstance(value, bool) else value}`"


def metrics() -> str:
    """Every metric."""
    rows = ((f"`{spec.name}`", spec.kind, ", ".join(spec.labels), spec.help) for spec in DESIGN)
    return section("Metrics", "Scraped at `/metrics`.", ("metric", "kind", "labels", "meaning"), rows)


def causes() -> str:
    """Every cause of `facegate_fallback_total`."""
    rows = ((cause.value, cause.meaning) for cause in FallbackCause)
    words = "Causes of `facegate_fallback_total` and of the log's lines about it."
    return section("Fallbacks", words, ("cause", "meaning"), rows)


def shed() -> str:
    """Everything that is left out under load."""
    words = (
        "What `facegate_shedding` and `facegate_shed_total` are about. An engine that loses a fifth of its frames over "
        "five seconds leaves out the first of these, then the next; one that has lost none for ten seconds takes the "
        "last back, and waits twice as long each time that was too early. Cameras go on being decoded, and accepted "
        "faces are never left out. `max_fps` asks for fewer frames in the first place."
    )
    return section("Load", words, ("what", "meaning"), ((what.value, what.meaning) for what in Shed))


def events() -> str:
    """Every field of every event type."""
    tables = [
        section(
            f"Event `{kind}`",
            "One Redis stream entry; absent optional fields are unknown.",
            ("field", "meaning", "unit", "in the stream"),
            ((f"`{f.name}`{' (optional)' if f.optional else ''}", f.meaning, f.unit, f.kind.form) for f in fields),
        )
        for kind, fields in FIELDS.items()
    ]
    return "\n".join(tables)


def consuming() -> str:
    """What a consumer counts, measures and writes off."""
    headings = ("metric", "kind", "labels", "meaning")
    words = "`gate.client.ConsumerMetrics` registers these in a consumer's process; see [consuming](consuming.md)."
    rows = ((f"`{spec.name}`", spec.kind, ", ".join(spec.labels), spec.help) for spec in CONSUMER_DESIGN)
    letters = [(f"`{name}`", meaning) for name, meaning in DEAD_FIELDS.items()]
    tables = (
        section("Consumer metrics", words, headings, rows),
        section(
            "Outcomes",
            "What became of an entry: `FaceStream.counts`, and `outcome` of the metric.",
            ("outcome", "meaning"),
            ((outcome.value, outcome.meaning) for outcome in Outcome),
        ),
        section("Dead letters", "Beside the fields of the entry.", ("field", "meaning"), letters),
        section(
            "Reasons of dead letters",
            "`dead_reason`.",
            ("reason", "meaning"),
            ((r.value, r.meaning) for r in DeadReason),
        ),
    )
    return "\n".join(tables)


def signals() -> str:
    """Every measurement of an event, from the docstrings that stand below the fields."""
    (body,) = ast.parse(inspect.getsource(Signals)).body
    statements = body.body if isinstance(body, ast.ClassDef) else []
    rows = [
        (f"`{field.target.id}`", text.value.value)
        for field, text in pairwise(statements)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    ]
    words = "What `signals` of an event holds; the bars of `decide` are held against these."
    return section("Signals", words, ("signal", "range and meaning"), rows)


def quality_methods() -> str:
    """Every method of the registry."""
    rows = ((f"`{info.name}`", info.description, info.needs, info.paper) for info in methods())
    return section("Quality methods", "`gate methods` prints this.", ("method", "measures", "needs", "paper"), rows)


def weights() -> str:
    """Every entry of the zoo with its licence."""
    rows = (
        (
            f"`{entry.name}`",
            entry.kind,
            "" if entry.bytes is None else f"{entry.bytes / 1e6:.1f} MB",
            entry.license_code,
            entry.license_weights,
            "yes" if entry.commercial else "**no**",
        )
        for entry in load_table().values()
    )
    headings = ("name", "kind", "size", "licence of the code", "licence of the weights", "commercial use")
    words = "`gate models list` prints this with what is here. Where the licence is unclear, commercial use says no."
    return section("Weights", words, headings, rows)


def main() -> int:
    """Write, or compare with `--check`."""
    pages = {
        DOCS / "reference.md": document(),
        DOCS / "event.schema.json": json.dumps(json_schema(), indent=2) + "\n",
    }
    status = 0
    for target, text in pages.items():
        if "--check" not in sys.argv[1:]:
            target.write_text(text, encoding="utf-8")
        elif not target.is_file() or target.read_text(encoding="utf-8") != text:
            print(f"{target.name} is not what the code says; run make docs", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    raise SystemExit(main())
