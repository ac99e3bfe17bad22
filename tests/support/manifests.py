"""What the files in ``deploy/`` say, read the way their tools read them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
import yaml

from switchover.interfaces.cli.app import app


def documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every document of every YAML file, with its file."""
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path, document


def options_of(arguments: Sequence[str]) -> dict[str, Any]:
    """
    What the program understands of a command line; the command is not carried out.

    Raises:
        click.UsageError: It does not understand it.
    """
    root: Any = typer.main.get_command(app)
    verb, *rest = arguments
    command = root.commands[verb]
    with command.make_context(verb, list(rest)) as context:
        return dict(context.params)
