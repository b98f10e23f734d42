"""`gate events`: what the stream holds, for readers in any language."""

import argparse
import json

from gate.commands.arguments import Subparsers


def add_arguments(commands: Subparsers) -> None:
    """Add `gate events schema`."""
    parser = commands.add_parser("events", help="print the JSON Schema of the events in the stream")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    schema = actions.add_parser("schema", help="JSON Schema of an event, as `gate tail --json` prints them")
    schema.set_defaults(run=print_schema)


def print_schema(_args: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    from gate.publish.event import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
