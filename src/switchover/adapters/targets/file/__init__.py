"""
File targets: ``file:///path/map.json`` (one JSON object) and ``file:///path/dir/`` (one JSON file per key).

Writers of one file queue up, and everything that queued while the last write was being made durable goes into the next
one: fifty tenants cost as much as one. Source: interfaces, section 2.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from switchover.adapters.targets.file.storage import KeyDirectory, Kind, MapFile, Operation, Outcome, Place
from switchover.errors import ErrorCode, StageError, StepError
from switchover.redaction import without_credentials
from switchover.spi import BroadcastTarget, HeldValue

__all__ = ["FileTarget", "FileTargets"]

_THREADS = 4
_LARGEST_BATCH = 4096


class FileTargets:
    """Everything behind ``file://``."""

    def __init__(self) -> None:
        self._targets: dict[str, FileTarget] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="switchover-file")

    def config_target(self, url: str) -> "FileTarget":
        """Raises ``StageError`` when the URL names no absolute path."""
        target = self._targets.get(url)
        if target is None:
            place = _place(url)
            same = next((known for known in self._targets.values() if known.place.shown == place.shown), None)
            target = self._targets[url] = FileTarget(place, self._threads) if same is None else same
        return target

    def broadcast_target(self, url: str) -> BroadcastTarget:
        """Files send nothing."""
        msg = f"{without_credentials(url)!r}: a file tells nobody anything; broadcast to redis:// or http(s)://"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD)

    async def aclose(self) -> None:
        """Let what is being written finish."""
        targets = list(self._targets.values())
        self._targets.clear()
        for target in targets:
            await target.aclose()
        self._threads.shutdown(wait=False)


def _place(url: str) -> Place:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.strip("/") or "\0" in path:
        msg = f"{url!r} names no file; write file:///path/map.json or file:///path/directory/"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD)
    whole = Path(os.path.normpath(path))
    shown = f"file://{whole}"
    return KeyDirectory(whole, f"{shown}/") if path.endswith("/") else MapFile(whole, shown)


class FileTarget:
    """One map file or directory, as a ``ConfigTarget``."""

    def __init__(self, place: Place, threads: ThreadPoolExecutor) -> None:
        self.place = place
        self._threads = threads
        self._queue: list[tuple[Operation, asyncio.Future[Outcome]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def read(self, key: str, field: str | None) -> HeldValue:
        """The exact text of the value, without the space around it, and its generation."""
        outcome = await self._submit(Operation(kind=Kind.READ, key=key, field=field))
        return outcome if isinstance(outcome, HeldValue) else HeldValue(value=None, generation=0)

    async def write(self, key: str, field: str | None, value: bytes, generation: int) -> None:
        """Raises ``StaleGenerationError`` when a higher generation is there."""
        await self._submit(Operation(kind=Kind.WRITE, key=key, field=field, value=value, generation=generation))

    async def remove(self, key: str, field: str | None, generation: int) -> None:
        """Raises ``StaleGenerationError`` when a higher generation is there; the generation stays."""
        await self._submit(Operation(kind=Kind.REMOVE, key=key, field=field, generation=generation))

    async def aclose(self) -> None:
        """Wait for what is queued."""
        if self._writer is not None:
            await self._writer

    async def _submit(self, operation: Operation) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((operation, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain(), name=f"writer of {self.place.shown}")
        outcome = await future
        if isinstance(outcome, StepError):
            raise outcome
        return outcome

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = [entry for entry in self._queue[:_LARGEST_BATCH] if not entry[1].done()]
            del self._queue[:_LARGEST_BATCH]
            if not batch:
                continue
            try:
                outcomes: Sequence[Outcome] = await loop.run_in_executor(
                    self._threads, self.place.run, [operation for operation, _ in batch]
                )
            except StepError as error:
                outcomes = [error] * len(batch)
            except Exception as error:  # noqa: BLE001  # whoever waits must be told, or it waits for ever
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
