"""Where an export goes: a file, whole or not at all, or the standard output."""

import os
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from switchover.interfaces.cli.failing import CommandError


async def write_export(chunks: AsyncIterator[bytes], to: Path | None) -> None:
    """
    Write it to a file, whole or not at all, or to the standard output.

    Raises:
        CommandError: The file cannot be written.
    """
    if to is None:
        async for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
        return
    try:
        with _whole(to) as file:
            async for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise CommandError(f"{to} cannot be written, and was not: {error.strerror or error}") from error


@contextmanager
def _whole(to: Path) -> Generator[IO[bytes]]:
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(to)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
