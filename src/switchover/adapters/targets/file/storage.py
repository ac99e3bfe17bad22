"""
The blocking half of the file targets: lock, read, change in memory, write durably, unlock.

Theory: a file is replaced, never written into: temp file, fsync, rename, fsync of the directory. So a reader sees the
old content or the new one, whatever happens. Generations are durable before the values are: a crash in between leaves
a generation that is too high for nobody but the run that was interrupted, which comes back with a higher one; the other
order would leave a new value that an old run could overwrite.

Everything between reading and renaming happens under a lock that also holds across processes (``flock`` on a file
beside it). A process that is frozen while it holds the lock keeps the others out until it goes on or dies; they fail
after ``LOCK_SECONDS``. It cannot overwrite what they did, because they did nothing.
"""

import errno
import fcntl
import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import orjson

from switchover.adapters.targets.file.document import NEW_FILE, ObjectText, value_text
from switchover.adapters.targets.file.generations import (
    OWN,
    GenerationMap,
    Slot,
    as_ours,
    generation_of,
    is_ours,
    not_ours,
    read_slot,
    with_generation,
)
from switchover.errors import ErrorCode, ErrorType, StaleGenerationError, StepError, TargetError
from switchover.spi import HeldValue

LOCK_SECONDS = 5.0
GENERATION_SUFFIX = ".generation"
_LOCK_POLL_SECONDS = 0.005
_NAME_BYTES = 200


class Kind(Enum):
    """What an operation does."""

    READ = "read"
    WRITE = "write"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request to a file target."""

    kind: Kind
    key: str
    field: str | None
    value: bytes = b""
    generation: int = 0


Outcome = HeldValue | StepError | None
"""What an operation came to: a value that was read, a failure of this one alone, or nothing to say."""


class Place(ABC):
    """One lock and what it guards: a map file, or a directory with a file per key."""

    def __init__(self, shown: str) -> None:
        self.shown = shown

    @abstractmethod
    def run(self, operations: Sequence[Operation]) -> list[Outcome]:
        """
        Carry out a batch, in order, and make it durable.

        Raises:
            TargetError: The whole batch failed; nothing is known to be written.
        """

    def stale(self, operation: Operation, held: int) -> StaleGenerationError | None:
        """The refusal of an operation whose generation is lower than the one that is held."""
        if held <= operation.generation:
            return None
        return StaleGenerationError(f"{self._what(operation)} holds generation {held}", held_generation=held)

    def _what(self, operation: Operation) -> str:
        suffix = "" if operation.field is None else f", field {operation.field!r}"
        return f"{self.shown}, key {operation.key!r}{suffix}"

    def _error(self, operation: Operation, reason: object) -> TargetError:
        return TargetError(f"{self._what(operation)}: {reason}", retryable=False)

    @contextmanager
    def _mapped(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN}
            raise TargetError(
                f"{self.shown}: {error.strerror or error}" + (f" ({error.filename})" if error.filename else ""),
                code=ErrorCode.TARGET_UNAVAILABLE if full else ErrorCode.TARGET_ERROR,
                error_type=ErrorType.SYSTEM_ERROR,
            ) from error


class MapFile(Place):
    """One JSON object: key -> value, or key -> field -> value."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(shown)
        self._given = path
        self._values: tuple[bytes, ObjectText] | None = None
        self._generations: tuple[bytes | None, GenerationMap] | None = None

    def run(self, operations: Sequence[Operation]) -> list[Outcome]:
        """See ``Place.run``."""
        with self._mapped():
            path = _led_to(self._given)  # a link stays a link; what it leads to is replaced
            with _locked(path.with_name(f".{path.name}.lock"), self.shown):
                try:
                    return self._run(path, operations)
                except BaseException:
                    self._values = self._generations = None  # whatever is in memory may be ahead of the file
                    raise

    def _run(self, path: Path, operations: Sequence[Operation]) -> list[Outcome]:
        beside = path.with_name(path.name + GENERATION_SUFFIX)
        old, old_generations = read_file(path), read_file(beside)
        document, generations = self._document(old), self._generation_map(old_generations)
        if old is None:
            generations.set(OWN, 0)
        outcomes = [self._apply(operation, document, generations) for operation in operations]
        if all(operation.kind is Kind.READ or outcome for operation, outcome in zip(operations, outcomes, strict=True)):
            if old is None:
                self._values = self._generations = None
            return outcomes
        new: bytes | None = str(document).encode()
        if not len(document) and generations.get(OWN) == 0:
            new = None
            generations.set(OWN, None)
        new_generations = generations.content()
        replace_files(path.parent, {beside: new_generations} if new_generations != old_generations else {})
        replace_files(path.parent, {path: new} if new != old else {})
        self._values = None if new is None else (new, document)
        self._generations = (new_generations, generations)
        return outcomes

    def _document(self, content: bytes | None) -> ObjectText:
        if content is None:
            return ObjectText(NEW_FILE)
        if self._values is not None and self._values[0] == content:
            return self._values[1]
        try:
            return ObjectText(content.decode())
        except ValueError as error:
            msg = f"{self.shown}: it cannot be changed: {error}"
            raise TargetError(msg, retryable=False) from error

    def _generation_map(self, content: bytes | None) -> GenerationMap:
        if self._generations is not None and self._generations[0] == content:
            return self._generations[1]
        try:
            return GenerationMap(content)
        except ValueError as error:
            msg = f"{self.shown}: the generations beside it cannot be read: {error}"
            raise TargetError(msg, retryable=False) from error

    def _apply(self, operation: Operation, document: ObjectText, generations: GenerationMap) -> Outcome:
        key, field = operation.key, operation.field
        if not key or field == "":
            return self._error(operation, "key and field must not be empty")
        slot = generations.get(key)
        try:
            value, slot, outcome = apply_to_value(self, operation, document.get(key), slot)
        except ValueError as error:
            return self._error(operation, error)
        if outcome is not None:
            return outcome
        if value is None:
            document.remove(key)
        else:
            document.set(key, value)
        generations.set(key, slot)
        return None


class Applied(NamedTuple):
    """What a value and its slot become; with an outcome, nothing changes."""

    value: str | None
    slot: Slot
    outcome: Outcome = None


def apply_to_value(place: Place, operation: Operation, value: str | None, slot: Slot) -> Applied:
    """
    One operation on the text of one key's value.

    Raises:
        ValueError: What is there cannot hold a field, or what is to be written is no JSON.
    """
    field = operation.field
    inner = None if field is None or value is None else ObjectText(value)
    held = generation_of(slot, field)
    if operation.kind is Kind.READ:
        text = value if field is None else None if inner is None else inner.get(field)
        return Applied(value, slot, HeldValue(value=None if text is None else text.encode(), generation=held))
    stale = place.stale(operation, held)
    if stale is not None:
        return Applied(value, slot, stale)
    if operation.kind is Kind.WRITE:
        return _written(operation, inner, slot)
    return _removed(operation, inner, slot)


def _written(operation: Operation, inner: ObjectText | None, slot: Slot) -> Applied:
    text = value_text(operation.value)
    if operation.field is None:
        return Applied(text, with_generation(not_ours(slot), None, operation.generation))
    if inner is None:
        inner, slot = ObjectText("{}"), as_ours(slot)
    inner.set(operation.field, text)
    return Applied(str(inner), with_generation(slot, operation.field, operation.generation))


def _removed(operation: Operation, inner: ObjectText | None, slot: Slot) -> Applied:
    noted = with_generation(slot, operation.field, operation.generation)
    if operation.field is None or inner is None:
        return Applied(None, noted)
    inner.remove(operation.field)
    if not len(inner) and is_ours(slot):
        return Applied(None, not_ours(noted))
    return Applied(str(inner), noted)


class KeyDirectory(Place):
    """A directory with one JSON file per key; with fields, each file is an object field -> value."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(shown)
        self._path = path

    def run(self, operations: Sequence[Operation]) -> list[Outcome]:
        """See ``Place.run``."""
        with self._mapped():
            with suppress(FileExistsError):
                self._path.mkdir()  # the last level only: a missing mount must not become a folder
            with _locked(self._path / ".switchover.lock", self.shown):
                return self._run(operations)

    def _run(self, operations: Sequence[Operation]) -> list[Outcome]:
        files: dict[str, _KeyFile] = {}
        outcomes: list[Outcome] = []
        for operation in operations:
            try:
                name = file_name(operation.key)
                if name not in files:
                    files[name] = _KeyFile(self._path / name)
                outcomes.append(files[name].apply(self, operation))
            except OSError as error:  # of this key's file alone: the others go on
                outcomes.append(self._error(operation, error.strerror or error))
            except ValueError as error:
                outcomes.append(self._error(operation, error))
        generations: dict[Path, bytes | None] = {}
        values: dict[Path, bytes | None] = {}
        for file in files.values():
            file.collect(values, generations)
        replace_files(self._path, generations)
        replace_files(self._path, values)
        return outcomes


class _KeyFile:
    """One key's file, in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old = self._value = read_file(path, follow=False)
        self._beside = path.with_name(path.name + GENERATION_SUFFIX)
        self._old_generations = read_file(self._beside, follow=False)
        self._slot: Slot = None
        if self._old_generations is not None:
            try:
                self._slot = read_slot(orjson.loads(self._old_generations))
            except ValueError as error:
                msg = f"the generation beside it cannot be read: {error}"
                raise ValueError(msg) from error
        self._old_slot = self._slot

    def apply(self, place: Place, operation: Operation) -> Outcome:
        """One operation; raises ValueError like ``apply_to_value``."""
        if operation.field == "":
            msg = "key and field must not be empty"
            raise ValueError(msg)
        if operation.field is None:
            return self._apply_whole(place, operation)
        text = None if self._value is None else self._value.decode()
        applied = apply_to_value(place, operation, text, self._slot)
        if applied.outcome is None:
            self._value = None if applied.value is None else applied.value.encode()
            self._slot = applied.slot
        return applied.outcome

    def _apply_whole(self, place: Place, operation: Operation) -> Outcome:
        # The file is the value, to the last byte: it may even be no JSON at all.
        held = generation_of(self._slot, None)
        if operation.kind is Kind.READ:
            return HeldValue(value=self._value, generation=held)
        stale = place.stale(operation, held)
        if stale is None:
            self._value = operation.value if operation.kind is Kind.WRITE else None
            self._slot = with_generation(not_ours(self._slot), None, operation.generation)
        return stale

    def collect(self, values: dict[Path, bytes | None], generations: dict[Path, bytes | None]) -> None:
        """Add what has changed."""
        if self._slot != self._old_slot:
            generations[self._beside] = orjson.dumps(self._slot) + b"\n"
        if self._value != self._old:
            values[self._path] = self._value


def file_name(key: str) -> str:
    """
    The file of a key: the key, with ``.json`` unless it ends so.

    Raises:
        ValueError: The key would leave the directory, or is no file name.
    """
    if (
        not key
        or "/" in key
        or "\\" in key
        or key.strip(".") == ""
        or any(char < " " or char == "\x7f" for char in key)
    ):
        msg = "the key cannot be the name of a file"
        raise ValueError(msg)
    if len(key.encode()) > _NAME_BYTES:
        msg = f"the key is longer than {_NAME_BYTES} bytes, too long for the name of a file"
        raise ValueError(msg)
    return key if key.endswith(".json") else f"{key}.json"


# --- files ---------------------------------------------------------------------------------------------------------


@contextmanager
def _locked(path: Path, shown: str) -> Generator[None]:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            _wait_for_lock(descriptor, deadline, shown)
            # Somebody may have deleted the file meanwhile: then this lock keeps nobody out.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    yield
                    return
        finally:
            os.close(descriptor)  # releases the lock


def _wait_for_lock(descriptor: int, deadline: float, shown: str) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise TargetError(
                    f"{shown}: another process has held its lock for {LOCK_SECONDS:g} s",
                    code=ErrorCode.TARGET_UNAVAILABLE,
                    error_type=ErrorType.TIMEOUT_ERROR,
                ) from error
            time.sleep(_LOCK_POLL_SECONDS)


def _led_to(path: Path) -> Path:
    """Where a path leads to. Raises OSError."""
    try:
        return path.resolve()
    except RuntimeError as error:  # what pathlib makes of a loop, in the Python versions before 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def read_file(path: Path, *, follow: bool = True) -> bytes | None:
    """The content; None when there is no such file. Raises OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP or follow:
            raise
        raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed here", str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        hint = "it is no file"
        if stat.S_ISDIR(mode):
            hint = "it is a directory" + ("; end the URL with / for a file per key" if follow else "")
        raise OSError(errno.EINVAL, hint, str(path))
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def replace_files(directory: Path, contents: dict[Path, bytes | None]) -> None:
    """Give each file its content (None: no file) by rename, durably; the caller holds the lock. Raises OSError."""
    if not contents:
        return
    temporary: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            if content is not None:
                temporary[path] = _write_beside(path, content)
        for path, content in contents.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                temporary[path].replace(path)
                del temporary[path]
    finally:
        for name in temporary.values():
            with suppress(OSError):
                name.unlink()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, content: bytes) -> Path:
    # One name for all: only the holder of the lock writes it, and what a crash left behind is replaced.
    name = path.with_name(f".{path.name}.tmp")
    name.unlink(missing_ok=True)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # who may read the file is not ours to change; a new one follows the umask
                before = path.stat()
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
                os.fchown(descriptor, before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):  # half a file would only take up room, of which there may be none
            name.unlink()
        raise
    return name
