"""`gate config`: the configuration's schema and the effective values of a file."""

import argparse
import json
from pathlib import Path

from gate.commands.arguments import Subparsers


def add_arguments(commands: Subparsers) -> None:
    """Add `gate config schema|show`."""
    parser = commands.add_parser("config", help="print the configuration's JSON Schema, or a file with every default")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    schema = actions.add_parser("schema", help="JSON Schema of the configuration file")
    schema.set_defaults(run=print_schema)
    show = actions.add_parser("show", help="the effective configuration of a file, secrets hidden")
    show.add_argument("-c", "--config", type=Path, required=True, metavar="FILE")
    show.set_defaults(run=show_config)


def print_schema(_args: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    from gate.config import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


def show_config(args: argparse.Namespace) -> int:
    """Print the file's effective configuration as YAML; secrets stay hidden."""
    import yaml

    from gate.config import load_config

    print(yaml.safe_dump(load_config(args.config).model_dump(mode="json"), sort_keys=False), end="")
    return 0
