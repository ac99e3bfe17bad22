"""A real server, as `switchover serve` starts it, over the database in a folder."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.command_line import CommandLine, wait_for_output
from tests.support.processes import Program


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    program: Program


def start_server(command_line: CommandLine, *options: str, env: Mapping[str, str] | None = None) -> Served:
    """Start one on any free port; the command line stops it when its block ends."""
    program = command_line.start("serve", "--open-to-all", "--port", "0", *options, env=env)
    wait_for_output(program, "serving ")
    found = re.findall(r"at (http://\S+?),", program.output())
    return Served(found[-1], program)


@contextmanager
def serving(command_line: CommandLine, *options: str) -> Iterator[Served]:
    """For the length of a block; it has to end in good order."""
    served = start_server(command_line, *options)
    yield served
    assert served.program.stop(timeout_seconds=60) == 0, served.program.tail()
