"""What verbs print: tables that fit the terminal, JSON, and JSON lines."""

import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.redaction import redacted
from switchover.reports.texts import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


Output = Annotated[
    Format, typer.Option("--output", "-o", help="json: one document, in camelCase; jsonl: one object per line.")
]

_STYLES = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "RESUMING": "cyan",
    "READY": "cyan",
    "PAUSED": "yellow",
    "ROLLING_BACK": "magenta",
    "ROLLED_BACK": "magenta",
    "FAILED": "bold red",
    "PARTIAL_FAILED": "bold red",
    "ROLLBACK_FAILED": "bold red",
    "CANCELLED": "bright_black",
}
_LEAST_FLEXIBLE = 16
_LEAST_READABLE = 6


def console(*, stderr: bool = False) -> "Console":
    """A terminal, or whatever stands in for one. Nothing is highlighted by guess."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the caller knows what that means; rich would end the process

    return Screen(stderr=stderr, highlight=False, markup=False, emoji=False)


def style_of(status: str | None) -> str:
    """The colour of a status."""
    return _STYLES.get(status or "", "")


def _json(value: object, *, pretty: bool = False) -> str:
    import orjson

    layout = orjson.OPT_INDENT_2 if pretty else 0
    return redacted(orjson.dumps(value, option=layout | orjson.OPT_NON_STR_KEYS)).decode()


def write_json(value: object) -> None:
    """One document."""
    sys.stdout.write(_json(value, pretty=True) + "\n")
    sys.stdout.flush()


def write_line(value: object) -> None:
    """One object on one line."""
    sys.stdout.write(_json(value) + "\n")


async def write_all(items: AsyncIterator[object], output: Format) -> int:
    """A list that may be long, written as it comes; gives its length."""
    number = 0
    if output is Format.JSONL:
        async for item in items:
            number += 1
            write_line(item)
    else:
        sys.stdout.write("[")
        async for item in items:
            sys.stdout.write("\n" if not number else ",\n")
            number += 1
            sys.stdout.write(_json(item))
        sys.stdout.write("\n]\n" if number else "]\n")
    sys.stdout.flush()
    return number


@dataclass(frozen=True, slots=True)
class Column:
    """
    What one column of a table is like.

    Attributes:
        right: Numbers are aligned at their end.
        flexible: Shortened first where the terminal is too narrow.
        optional: Left out, the highest first, before others would become unreadable; 0: never.
    """

    name: str
    right: bool = False
    flexible: bool = False
    optional: int = 0


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[object]], *, to: "Console | None" = None) -> None:
    """
    A table: one line per row, within the width of the terminal; whole where there is no terminal.

    Cells named like a status have its colour.
    """
    screen = console() if to is None else to
    for line in table_lines(columns, rows, screen.width if screen.is_terminal else None):
        screen.print(line, soft_wrap=True)


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[object]], width: int | None) -> "list[Text]":
    """The lines of a table; ``width`` None: as wide as it gets."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    widths = [
        max([cell_len(column.name), *(cell_len(row[index]) for row in cells)]) for index, column in enumerate(columns)
    ]
    kept = _fit(columns, widths, width)
    lines: list[Text] = []
    for number, row in enumerate([[column.name for column in columns], *cells]):
        line = Text()
        for index in kept:
            text, space = row[index], widths[index]
            if cell_len(text) > space:
                text = set_cell_size(text, max(space - 1, 0)).rstrip() + "…"
            padding = " " * (space - cell_len(text))
            last = index == kept[-1]
            if columns[index].right:
                text = padding + text
            style = "bold" if number == 0 else style_of(row[index])
            line.append(text, style=style)
            if not last:
                line.append("  " if columns[index].right else padding + "  ")
        line.rstrip()
        lines.append(line)
    return lines


def _fit(columns: Sequence[Column], widths: list[int], width: int | None) -> list[int]:
    """Which columns are shown; ``widths`` becomes what each may take."""
    kept = list(range(len(columns)))
    if width is None:
        return kept
    while True:
        flexible = [index for index in kept if columns[index].flexible]
        fixed = sum(widths[index] for index in kept if index not in flexible) + 2 * (len(kept) - 1)
        least = sum(min(widths[index], _LEAST_FLEXIBLE) for index in flexible)
        dispensable = [index for index in kept if columns[index].optional]
        if fixed + least <= width or not dispensable:
            break
        kept.remove(max(dispensable, key=lambda index: columns[index].optional))
    # The narrowest first: what it does not need is shared among the others.
    free = width - fixed
    for number, index in enumerate(sorted(flexible, key=lambda index: widths[index])):
        widths[index] = min(widths[index], max(free // (len(flexible) - number), _LEAST_READABLE))
        free -= widths[index]
    return kept


def write_paragraphs(lines: Iterable[str]) -> None:
    """
    Texts: on a terminal wrapped between words, below their beginning; elsewhere one line each.

    Commands to type are never broken.
    """
    import textwrap

    screen = console()
    for line in lines:
        text = line.lstrip(" ")
        indent = " " * (len(line) - len(text))
        if not screen.is_terminal or text.startswith("switchover "):
            print(line)
            continue
        wrapped = textwrap.wrap(
            text,
            max(screen.width, _LEAST_FLEXIBLE),
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
        )
        print("\n".join(wrapped))


def write_details(pairs: Iterable[tuple[str, object]], *, to: "Console | None" = None) -> None:
    """Names and values, one pair per line; long values are wrapped below their beginning on a terminal."""
    from rich.table import Table
    from rich.text import Text

    screen = console() if to is None else to
    shown = [(name, printable(str(value))) for name, value in pairs if value not in {None, ""}]
    longest = max((len(name) for name, _ in shown), default=0)
    if not screen.is_terminal:
        for name, value in shown:
            screen.print(f"{name:<{longest}}  {value}", soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for name, value in shown:
        grid.add_row(name, Text(value, style=style_of(value)))
    screen.print(grid)
