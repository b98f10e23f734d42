"""What `gate tune` writes: a page to read, a patch to copy, a baseline to keep, a table to look deeper."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from gate.baseline import LEAST_OF_HOUR, Baselines
from gate.config import GateConfig, build_config
from gate.errors import GateError
from gate.tuning.propose import Outcome, Proposal, Tuned, with_quality
from gate.tuning.records import FaceRecord, faces_csv

BASELINE, PATCH, REPORT, FACES = "baseline.json", "patch.yaml", "report.md", "faces.csv"


def patch_of(tuned: Sequence[Tuned], config: GateConfig, baseline: Path) -> dict[str, Any]:
    """The `decide:` keys of each camera that are proposed, as a configuration has them."""
    cameras = []
    for camera in tuned:
        keys: dict[str, Any] = {proposal.key: proposal.value for proposal in camera.proposals}
        rules = config.rules_of(next(known for known in config.cameras if known.name == camera.camera))
        if "min_quality" in keys:
            keep = with_quality(rules, keys["min_quality"]).keep_quality
            keys |= {} if keep == rules.keep_quality else {"keep_quality": keep}
        cameras.append({"name": camera.camera, "decide": {**keys, "baseline": str(baseline)}})
    return {"cameras": cameras}


def patched(config: GateConfig, patch: dict[str, Any]) -> GateConfig:
    """The configuration with the patch in it. Raises `ConfigError` where gate would not take it."""
    data = config.model_dump(exclude_unset=True)
    own = {camera["name"]: camera["decide"] for camera in patch["cameras"]}
    cameras = [
        {**camera, "decide": {**camera.get("decide", {}), **own.get(camera["name"], {})}} for camera in data["cameras"]
    ]
    return build_config({**data, "cameras": cameras}, where=PATCH)


def write(folder: Path, tuned: Sequence[Tuned], records: Sequence[FaceRecord], config: GateConfig, what: str) -> Path:
    """Write the four files into the folder, made where missing; returns the page's path.

    Raises:
        GateError: the folder cannot be written.
    """
    baselines = Baselines({camera.camera: camera.baseline for camera in tuned}, BASELINE)
    patch = patch_of(tuned, config, (folder / BASELINE).resolve())
    patched(config, patch)
    ordered = [record for camera in tuned for record in records if record.camera == camera.camera]
    verdicts = [reasons for camera in tuned for reasons in camera.verdicts]
    head = "# Copy the keys of each camera into your configuration, below the camera of the same name.\n"
    texts = {
        FACES: faces_csv(ordered, verdicts),
        BASELINE: baselines.to_text(),
        PATCH: head + yaml.safe_dump(patch, sort_keys=False),
        REPORT: report(tuned, what),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise GateError(f"-o {folder}: {error.strerror}. Give a folder that can be written.") from None
    return folder / REPORT


def report(tuned: Sequence[Tuned], what: str) -> str:
    """The page, Markdown."""
    head = (
        "# Thresholds from a shadow run\n\n"
        f"{what} Nothing was published, and no picture is kept. Every face was scored, also those that today's bars "
        "reject.\n\n"
        "Numbers in brackets are 95 % intervals over visits: another day like this one would give a number in there. "
        f"`{PATCH}` holds the proposals; `{BASELINE}` is for `decide.baseline`; `{FACES}` has a line a face.\n"
    )
    return "\n".join([head, *(_camera(camera) for camera in tuned)])


def _camera(tuned: Tuned) -> str:
    lines = [f"## {tuned.camera}\n"]
    lines += [f"> {note}\n" for note in tuned.notes]
    rows = [("today", tuned.today)]
    rows += [(f"{_change(proposal)} alone", proposal.outcome) for proposal in tuned.proposals]
    if len(tuned.proposals) > 1:
        rows.append(("all proposals", tuned.together))
    lines.append(_table(("rules", "visits accepted", "faces accepted"), (_row(name, found) for name, found in rows)))
    if tuned.proposals:
        lines.append("Proposed:\n")
        lines.append(_table(("key", "today", "proposed", "why"), map(_proposal, tuned.proposals)))
    lines.append("Why faces are rejected (the decisive reason):\n")
    names = dict.fromkeys([*tuned.today.reasons, *tuned.together.reasons])
    counts = ((f"`{n}`", tuned.today.reasons.get(n, 0), tuned.together.reasons.get(n, 0)) for n in names)
    lines.append(_table(("reason", "today", "with all proposals"), counts))
    lines.append(f"Baseline: {_baseline(tuned)}\n")
    return "\n".join(lines)


def _change(proposal: Proposal) -> str:
    return f"`{proposal.key}: {proposal.value:g}`"


def _row(name: str, outcome: Outcome) -> tuple[str, str, str]:
    visits = f"{outcome.accepted_visits} of {outcome.visits}, {outcome.visit_rate:.0%}"
    faces = f"{outcome.accepted_faces} of {outcome.faces}, {outcome.face_rate:.0%}"
    return name, f"{visits} ({outcome.low:.0%} to {outcome.high:.0%})", faces


def _proposal(proposal: Proposal) -> tuple[str, str, str, str]:
    interval = f"{proposal.value:g} ({proposal.low:g} to {proposal.high:g})"
    return f"`{proposal.key}`", f"{proposal.today:g}", interval, proposal.why


def _baseline(tuned: Tuned) -> str:
    known = tuned.baseline
    model = f" with {known.model}" if known.model else ""
    own = ", ".join(str(hour) for hour in range(24) if known.has_hour(hour)) or "none"
    tens = ", ".join(str(sum(known.histogram[place : place + 2])) for place in range(0, len(known.histogram), 2))
    return (
        f"{known.faces} faces that pass the cheap bars, scored by {known.method or 'nothing'}{model}; "
        f"by tens of quality from 0 to 100: {tens}. Hours of the day (UTC) with a baseline of their own, for which it "
        f"takes {LEAST_OF_HOUR} faces: {own}."
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"
