"""Which store a verb works on, with which settings, and how to name both again in a command to type."""

import os
import re
import shlex
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.redaction import without_credentials, without_password

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from switchover.bootstrap import Executor, Mode, StagesBy
    from switchover.client import ServerClient
    from switchover.config import ExecutorSettings
    from switchover.spi import CommitObserver, RunTracing

DEFAULT_DATABASE = "switchover.db"
DB_VARIABLE = "SWITCHOVER_DB"
STORE_VARIABLE = "SWITCHOVER_STORE"
CONFIG_VARIABLE = "SWITCHOVER_CONFIG"
SERVER_VARIABLE = "SWITCHOVER_SERVER"
TOKEN_VARIABLE = "SWITCHOVER_TOKEN"  # noqa: S105  # the variable's name

_LONGEST_SHOWN = 100

_COMMAND = re.compile(r"`switchover ([^`]*)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where the work is recorded, as far as the command line says; the environment fills in the rest.

    Attributes:
        db: Path of an SQLite database.
        store: URL of any store.
        server: URL of a server, which has the store.
        config: Settings file.
        said: What was given on the command line, to be repeated in commands that a person is told to type.
        reason: Why, for the audit log.
    """

    db: str | None = None
    store: str | None = None
    config: str | None = None
    server: str | None = None
    said: tuple[str, ...] = ()
    reason: str = ""

    def because(self, reason: str) -> "Place":
        """The same place, for a write that somebody has given this reason for."""
        return replace(self, reason=reason)

    def refined(self, *, db: str | None, store: str | None, config: str | None, server: str | None = None) -> "Place":
        """What was given after the verb goes before what was given in front of it."""
        given = [name for name, value in (("--db", db), ("--store", store), ("--server", server)) if value is not None]
        if len(given) > 1:
            raise CommandError(f"{' and '.join(given)} both name where to work; give one of them", ExitCode.USAGE)
        place = self
        if given:
            place = replace(place, db=db, store=store, server=server)
        if config is not None:
            place = replace(place, config=config)
        pairs = (
            ("--db", place.db),
            ("--store", place.store),
            ("--server", place.server),
            ("--config", place.config),
        )
        said = [part for name, value in pairs if value is not None for part in (name, _typed(name, value))]
        return replace(place, said=tuple(said))

    @property
    def served(self) -> str | None:
        """The server's URL; None when the work is done on the store itself."""
        if self.server is None and self.db is None and self.store is None:
            return os.environ.get(SERVER_VARIABLE) or None
        return self.server

    @property
    def name(self) -> str:
        """What answers, as it may be shown: the server's URL, or the store's."""
        return _typed("--server", self.served) if self.served else _typed("--store", self.url)

    def only_here(self, verb: str) -> None:
        """
        The verb works on this machine alone.

        Raises:
            CommandError: A server was named.
        """
        if self.served is not None:
            message = f"{verb} works on this machine and its store, not on a server; leave out --server"
            raise CommandError(message, ExitCode.USAGE)

    @property
    def url(self) -> str:
        """The store's URL."""
        db, store = self.db, self.store
        if db is None and store is None:
            db, store = os.environ.get(DB_VARIABLE) or None, os.environ.get(STORE_VARIABLE) or None
            if db is not None and store is not None:
                message = f"{DB_VARIABLE} and {STORE_VARIABLE} both name the store; set one of them"
                raise CommandError(message, ExitCode.USAGE)
        if store is not None:
            return store
        return f"sqlite:///{quote(db if db is not None else DEFAULT_DATABASE)}"

    def command(self, *words: str) -> str:
        """A command to type: the verb and its arguments, with this place named as it was named to us."""
        return shlex.join(["switchover", *words, *self.said])

    def with_place(self, text: str) -> str:
        """The commands inside a text of the engine, completed by this place."""
        if not self.said:
            return text
        return _COMMAND.sub(lambda match: f"`switchover {match[1]} {shlex.join(self.said)}`", text)

    def settings(self) -> "ExecutorSettings":
        """
        The settings: file and environment.

        Raises:
            CommandError: They cannot be read.
        """
        import tomllib

        from pydantic import ValidationError
        from pydantic_settings import SettingsError

        from switchover.config import ExecutorSettings

        if self.config is not None:
            os.environ[CONFIG_VARIABLE] = self.config
        file = os.environ.get(CONFIG_VARIABLE)
        if file is not None and not Path(file).is_file():
            raise CommandError(
                f"settings: there is no file {file}; check --config or {CONFIG_VARIABLE}", ExitCode.USAGE
            )
        try:
            return ExecutorSettings()
        except ValidationError as error:
            found = "; ".join(_wrong_setting(item) for item in error.errors())
            origin = "the environment" if file is None else f"{file} or the environment"
            raise CommandError(f"settings from {origin}: {found}", ExitCode.USAGE) from error
        except (SettingsError, tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
            origin = "from the environment" if file is None else f"from {file} or the environment"
            raise CommandError(f"settings {origin} cannot be read: {error}", ExitCode.USAGE) from error

    async def exists(self) -> bool:
        """
        Whether there is something to be read.

        Raises:
            StorageError: The server that has it cannot be asked.
        """
        from switchover.bootstrap import make_store
        from switchover.spi import ServedStore

        store = make_store(self.url)
        if isinstance(store, ServedStore):
            return not await store.is_empty()
        path = getattr(store, "path", None)
        return isinstance(path, Path) and path.exists()

    @asynccontextmanager
    async def connect(
        self,
        mode: "Mode",
        *,
        create: bool = False,
        settings: "ExecutorSettings | None" = None,
        observers: "Iterable[CommitObserver]" = (),
        tracing: "RunTracing | None" = None,
    ) -> "AsyncGenerator[Executor | ServerClient]":
        """The server, when one is named; else an executor over the store, as ``open`` gives it."""
        served = self.served
        if served is None:
            async with self.open(
                mode, create=create, settings=settings, observers=observers, tracing=tracing
            ) as executor:
                yield executor
            return
        async with self.client(served) as client:
            yield client

    @asynccontextmanager
    async def client(self, served: str) -> "AsyncGenerator[ServerClient]":
        """The server at this URL, with the token of the environment."""
        from switchover.client import connect

        if not served.startswith(("http://", "https://")):
            message = f"--server {without_credentials(served)}: write http://HOST:PORT or https://HOST"
            raise CommandError(message, ExitCode.USAGE)
        async with connect(served, token=os.environ.get(TOKEN_VARIABLE) or None, reason=self.reason) as client:
            yield client

    @asynccontextmanager
    async def open(
        self,
        mode: "Mode",
        *,
        create: bool = False,
        settings: "ExecutorSettings | None" = None,
        grace_seconds: float = 5.0,
        observers: "Iterable[CommitObserver]" = (),
        tracing: "RunTracing | None" = None,
        stages_by: "StagesBy" = "here",
    ) -> "AsyncGenerator[Executor]":
        """
        An executor over the store.

        Args:
            create: Make the database when there is none; otherwise that is refused, so that a wrong path neither
                makes an empty database nor answers from one.
        """
        from switchover.bootstrap import local_actor, make_store, open_executor
        from switchover.spi import ServedStore

        chosen = self.settings() if settings is None else settings
        store = make_store(self.url)
        path = getattr(store, "path", None)
        if not create:
            if isinstance(path, Path) and not path.exists():
                raise CommandError(
                    f"there is no database {path}, and none was made; name it with --db or {DB_VARIABLE}, or start a "
                    f"plan in it: {self.command('run', 'FILE')}"
                )
            if isinstance(store, ServedStore) and await store.is_empty():
                raise CommandError(
                    f"there is nothing of Switchover at {store.place}, and nothing was made; see whether the URL names "
                    f"the right database, or start a plan in it: {self.command('run', 'FILE')}"
                )
            if self.url.startswith("memory:"):
                raise CommandError(
                    "a memory:// store ends with the process that runs the plan, so there is nothing to be found in "
                    "it; name a database with --db"
                )
        async with open_executor(
            self.url,
            settings=chosen,
            mode=mode,
            store=store,
            grace_seconds=grace_seconds,
            observers=observers,
            tracing=tracing,
            stages_by=stages_by,
        ) as executor:
            executor.facade = executor.facade.acting_as(local_actor("cli"), reason=self.reason)
            yield executor


def _typed(option: str, value: str) -> str:
    """As it may stand in a command that people see; whoever types it gives the password in another way."""
    match option:
        case "--store":
            return without_password(value)
        case "--server":
            return without_credentials(value)
        case _:
            return value


def _wrong_setting(error: "ErrorDetails") -> str:
    """Which setting, what it is, and the rule."""
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        from switchover.config import ExecutorSettings
        from switchover.stages.templates import nearest

        return f"there is no setting {name}{nearest(name, tuple(ExecutorSettings.model_fields))}"
    rule = error["msg"].removeprefix("Value error, ")
    given = "***" if "secret" in name else str(error["input"])[:_LONGEST_SHOWN]
    return f"{name} is {given!r}: {rule}"
