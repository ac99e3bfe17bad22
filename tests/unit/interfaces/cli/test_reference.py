"""The reference and the program name the same verbs and options."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from switchover.interfaces.cli.app import app

VERBS = {
    *("demo", "lint", "plan", "run", "get", "watch", "events", "explain", "forecast", "history", "observe"),
    *("pause", "resume", "cancel", "retry", "rollback"),
    *(
        "hold",
        "unhold",
        "adopt",
        "stop-line",
        "start-line",
        "prune",
        "doctor",
        "export",
        "serve",
        "worker",
        "token",
        "audit",
        "apply",
    ),
}
SHARED = {"--db", "--store", "--server", "--config", "--debug", "--output", "-o", "--help", "-h"}


def commands() -> Iterator[tuple[str, Any]]:
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        for inner in getattr(command, "commands", {}).values():
            yield name, inner
        if not hasattr(command, "commands"):
            yield name, command


@pytest.fixture
def reference(repository: Path) -> str:
    return (repository / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def test_the_verbs_are_those_of_this_release() -> None:
    assert {name for name, _ in commands()} == VERBS


def test_every_verb_and_every_option_is_documented(reference: str) -> None:
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL))
    assert set(sections) >= VERBS
    for name, command in commands():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
        missing = [option for option in options - SHARED if option not in sections[name]]
        assert not missing, f"{name}: {missing}"
    for option in SHARED - {"-h", "--output"}:
        assert option in reference


def test_no_documented_option_is_unknown(reference: str) -> None:
    known = {option for _, command in commands() for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", reference)) | set(
        re.findall(r"switchover [a-z-]+[^`]* (--[a-z-]+)", reference)
    )
    assert named - known <= {"--version", "--help"}


def test_every_verb_says_what_it_does_in_one_sentence() -> None:
    for name, command in commands():
        assert re.fullmatch(r"[A-Z][^\n]+\.", command.help or ""), name
