"""
What the commit script is told: a list of small operations, and what each of them is about.

The letters are explained in the script itself.
"""

from collections.abc import Sequence
from typing import Final

from switchover.adapters.stores.batch import does_not_follow
from switchover.adapters.stores.codec import storable
from switchover.adapters.stores.redis.server import Argument
from switchover.errors import StorageError, StoreConflictError, StoreUnusableError

DONE: Final = b"done"
LEASE: Final = b"lease"
NUMBER: Final = b"number"

_CONFLICTS: Final = {
    b"version": "{about} is not in the store",
    b"plan exists": "plan {said} exists already; take another id",
    b"key exists": "the idempotency key was used before; read the plan that it created",
    b"task exists": "task {key} is in its plan twice",
    b"missing plan": "plan {said} is not in the store",
    b"missing task": "task {key} is not in the store",
    b"sequence": "event {about} does not follow: the newest one stored is number {said}",
    b"position": "event {about} does not follow: the plan has events up to position {said}",
    b"not staged": "what was laid ready for this commit is gone: somebody else drives",
}
"""What the script refuses, and the sentence for it."""


class Steps:
    """Operations in their order."""

    def __init__(self) -> None:
        self.arguments: list[Argument] = []
        self._about: list[tuple[str, int]] = []

    def __len__(self) -> int:
        return len(self._about)

    def add(self, letter: str, *values: Argument, about: str = "", written: int = 0) -> None:
        """
        Put an operation at the end.

        Args:
            about: What it is about, for the message when it is refused.
            written: The version or number that it writes.
        """
        self.arguments.append(letter)
        for value in values:
            self.arguments.append(storable(value) if isinstance(value, str) and not value.isascii() else value)
        self._about.append((about, written))

    def extend(self, others: "Steps") -> None:
        """Put operations at the end."""
        self.arguments += others.arguments
        self._about += others._about  # noqa: SLF001  # one class

    def error(self, place: str, answer: Sequence[bytes | int]) -> StorageError:
        """Why the script refused, apart from the lease and the number of the commit."""
        what, index, *found = answer
        about, written = self._about[int(index) - 1] if 0 < int(index) <= len(self._about) else ("", 0)
        texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in found]
        said = texts[0] if texts else ""
        if what == b"version" and said:
            return does_not_follow(about, int(said), written)
        sentence = _CONFLICTS.get(bytes(what) if isinstance(what, bytes) else b"")
        if sentence is not None:
            return StoreConflictError(sentence.format(about=about, said=said, key="-".join(texts)))
        rest = " ".join(texts[1:])
        message = (
            f"{place}: the key {said!r} holds what this program never writes there ({rest}); nothing was changed. "
            f"Another program uses the prefix of this store, or its data is damaged: take another prefix or database, "
            f"or restore the last backup"
        )
        return StoreUnusableError(message)
