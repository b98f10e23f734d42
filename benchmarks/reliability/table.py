"""The table of what was seen."""

from collections.abc import Sequence

from benchmarks.reliability.scenario import Row

HEADER = ("fault", "expected", "seen", "in", "out", "copies in the stream", "twice at the consumer", "longest stall")


def markdown(rows: Sequence[Row]) -> str:
    """A table for each family."""
    parts = []
    for family in dict.fromkeys(row.scenario.family for row in rows):
        lines = [_line(row) for row in rows if row.scenario.family == family]
        rule = "| " + " | ".join(["---"] * len(HEADER)) + " |"
        parts.append("\n".join([f"### {family[0].upper()}{family[1:]}", "", f"| {' | '.join(HEADER)} |", rule, *lines]))
    return "\n\n".join(parts) + "\n"


def _line(row: Row) -> str:
    seen = row.seen
    words = "; ".join([*(f"**{problem}**" for problem in seen.problems), *seen.notes]) or "as expected"
    stall = "-" if seen.stall_s is None else f"{seen.stall_s:.2f} s"
    numbers = [_number(n) for n in (seen.events_in, seen.events_out, seen.copies, seen.twice)]
    cells = [row.scenario.fault, row.scenario.expected, words if row.ok else f"FAILED: {words}", *numbers, stall]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number}"
