"""How the demo talks: headings, sentences, commands, and claims that it checks before it makes them."""

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

MAX_WIDTH = 100
"""Longer lines are hard to read, however wide the terminal is."""

_BEAT_SECONDS = 0.7


class Marks(NamedTuple):
    """Signs for what became of something; plain ones for terminals that cannot show others."""

    done: str
    failed: str
    running: str
    restored: str
    waiting: str

    @staticmethod
    def of(console: Console) -> "Marks":
        """Those that the console can show."""
        if console.encoding.lower().startswith("utf"):
            return Marks("✓", "✗", "●", "↩", "·")
        return Marks("ok", "X", "*", "<", ".")


class Narrator:
    """
    Prints the story, and keeps count of what was proven.

    Attributes:
        width: Columns that are used.
        proven, failed: Claims that held, and those that did not.
    """

    def __init__(self, console: Console, *, beat_seconds: float | None = None) -> None:
        self.console = console
        self._beat_seconds = beat_seconds if beat_seconds is not None else _BEAT_SECONDS if console.is_terminal else 0.0
        self.width = min(console.width, MAX_WIDTH)
        self.proven = 0
        self.failed: list[str] = []
        self._started_at = time.monotonic()
        self._chapters = 0

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._started_at

    async def chapter(self, title: str) -> None:
        """A heading; a reader at a terminal gets a moment before it."""
        if self._beat_seconds and self._chapters:
            await asyncio.sleep(self._beat_seconds)
        self._chapters += 1
        heading = Rule(Text(f"{self._chapters}  {title}", style="bold"), align="left", style="dim", characters="─")
        self.console.print()
        self.console.print(heading, width=self.width)

    def say(self, text: str) -> None:
        """A sentence; ``[b]`` and the like are understood."""
        self.console.print(text, width=self.width, highlight=False)

    def command(self, line: str, comment: str = "") -> None:
        """What one would type in real life."""
        text = Text.assemble(("  $ ", "dim"), (line, "bold cyan"), (f"   # {comment}" if comment else "", "dim"))
        self.console.print(text, width=self.width, highlight=False)

    def answer(self, text: str) -> None:
        """What the command said."""
        self.console.print(Padding(Text(text, style="dim"), (0, 2, 0, 4), expand=False), width=self.width)

    def quote(self, text: str, style: str = "") -> None:
        """Somebody else's words, whole."""
        self.console.print(Padding(Text(text, style=style), (0, 2, 0, 4), expand=False), width=self.width)

    def entries(self, rows: Iterable[tuple[str, str, int, bytes | None]]) -> None:
        """Entries of the routing table, byte by byte: service, when, generation, value."""
        table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim", pad_edge=False)
        table.add_column("")
        for name in ("entry", "", "generation", "bytes"):
            table.add_column(name, justify="right" if name == "generation" else "left", no_wrap=name != "bytes")
        for service, when, generation, value in rows:
            shown = Text("no entry", style="dim") if value is None else Text(repr(value)[1:])
            table.add_row("", service, Text(when, style="dim"), Text(str(generation), style="dim"), shown)
        self.console.print(table, width=self.width, highlight=False)

    def claim(self, *, holds: bool, text: str) -> None:
        """State what was checked, and whether it is so."""
        if holds:
            self.proven += 1
        else:
            self.failed.append(text)
        marks = Marks.of(self.console)
        mark = Text(marks.done, style="bold green") if holds else Text(f"{marks.failed} NOT TRUE:", style="bold red")
        line = Table.grid(padding=(0, 1))
        line.add_row("", mark, Text(text))
        self.console.print(line, width=self.width, highlight=False)
