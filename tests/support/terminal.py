"""A program in a terminal of its own: what it draws can be read, and keys can be pressed."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import wait_until

CTRL_C = b"\x03"
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")


@dataclass
class Terminal:
    """The terminal and the program in it."""

    program: "subprocess.Popen[bytes]"
    leader: int
    _chunks: list[bytes] = field(default_factory=list)

    @property
    def raw(self) -> str:
        """Everything that was written, with what moves the cursor and sets colours."""
        return b"".join(self._chunks).decode(errors="replace")

    @property
    def text(self) -> str:
        """Everything that was written, what was drawn over included."""
        return _ESCAPE.sub("", self.raw)

    @property
    def lines(self) -> list[str]:
        """Every line that was ever there."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", self.text)]

    @property
    def words(self) -> str:
        """The text without line breaks and spacing, which depend on the width."""
        return " ".join(self.text.split())

    def press(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def wait_for(self, text: str, *, timeout_seconds: float = 30.0) -> None:
        """Wait until it was written, whatever the spacing."""
        with suppress(TimeoutError):
            wait_until(
                lambda: text in self.words or self.program.poll() is not None,
                timeout_seconds=timeout_seconds,
                what=text,
            )
        assert text in self.words, self.text[-4_000:]

    def wait(self, *, timeout_seconds: float = 60.0) -> int:
        """The exit code."""
        return self.program.wait(timeout_seconds)

    def read(self) -> None:
        """Read until the program has gone: at its end Linux answers with EIO."""
        with suppress(OSError):
            while chunk := os.read(self.leader, 65_536):
                self._chunks.append(chunk)


@contextmanager
def terminal(
    argv: Sequence[str], *, width: int, cwd: Path, env: Mapping[str, str], height: int = 50
) -> Iterator[Terminal]:
    """Run a program in a terminal of this size, which is its controlling one: Ctrl-C reaches it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    try:
        program = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,  # noqa: PLW1509  # the tests have no threads here
        )
    finally:
        os.close(follower)
    screen = Terminal(program, leader)
    reader = threading.Thread(target=screen.read)
    reader.start()
    try:
        yield screen
    finally:
        program.kill()
        program.wait()
        reader.join()
        os.close(leader)
