"""`gate methods`: what can score a face, on what, at which cost."""

import argparse

from gate.commands.arguments import Subparsers


def add_arguments(commands: Subparsers) -> None:
    """Add `gate methods`."""
    parser = commands.add_parser("methods", help="list the quality methods")
    parser.set_defaults(run=list_methods)


def list_methods(_args: argparse.Namespace) -> int:
    """Print one line a method: name, what it measures, its paper and what it needs."""
    from rich.console import Console
    from rich.table import Table

    from gate.config import QualityConfig
    from gate.quality import methods

    table = Table(box=None, pad_edge=False)
    for heading in ("method", "what it measures", "needs", "paper"):
        table.add_column(heading)
    for info in methods():
        table.add_row(info.name, info.description, info.needs, info.paper)
    console = Console()
    console.print(table)
    first, *others = [entry.method for entry in QualityConfig().chain]
    console.print(f"gate run scores with {first}; when it cannot, with {' or '.join(others)}", style="dim")
    return 0
