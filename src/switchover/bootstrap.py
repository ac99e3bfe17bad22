"""
The composition root: the only module that names concrete adapters.

``open_executor`` gives a running executor. When no other process drives the store, this one does; otherwise it hands
its requests to the one that does, reads and follows events like any other, and takes over when that one is gone.
"""

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import aiohttp

from switchover.access import AccessControl, LoginLimiter, People
from switchover.adapters.clock import SystemClock
from switchover.adapters.health import HttpHealthCheckClient
from switchover.adapters.network import guarded_session
from switchover.adapters.targets.provider import SchemeTargetProvider, TargetFamily
from switchover.config import ExecutorSettings
from switchover.dispatch import Dispatching, WorkerInfo
from switchover.domain.addresses import AllowList
from switchover.domain.audit import UNKNOWN_ACTOR, Actor
from switchover.domain.events import Event
from switchover.domain.plan import PlanStatus
from switchover.domain.policies import Policies
from switchover.domain.stage import TaskStage
from switchover.domain.task import Operation, PlanId, TaskKey, TenantId, is_plan_id
from switchover.dto import PlanStatusInfo, TenantDeployConfig
from switchover.engine.driver import Driver, DriverOptions
from switchover.engine.forecast import Forecast, forecast_plan, forecast_tenant
from switchover.engine.observing import PlaceReport, observe
from switchover.engine.patience import patiently
from switchover.engine.publisher import EventPublisher
from switchover.engine.records import PlanRecord, TaskRecord
from switchover.engine.watching import shielded
from switchover.errors import StorageError, StoreClosedError, StoreUnavailableError, StoreUnusableError
from switchover.facade import DeploymentTaskFacade
from switchover.factory import PlanFactory, StageFactory
from switchover.logs import get_log
from switchover.operations import Inbox, LocalOperations, Operations, RemoteOperations
from switchover.redaction import without_password
from switchover.runtimes.embedded import EmbeddedRuntime
from switchover.runtimes.procrastinate.carrier import WorkerCarrier
from switchover.spi import (
    Clock,
    CommitObserver,
    DriverInfo,
    DriverLease,
    ExecutionStore,
    HealthCheckClient,
    NumberedEvent,
    RunTracing,
    StepServices,
    Vitals,
)
from switchover.stages.catalogue import StageCatalogue

_log = get_log("switchover.executor")

_TAKE_OVER_SECONDS = 0.2
_PATIENCE_SECONDS = 30.0
_RETAIN_EVERY_SECONDS = 3600.0

StagesBy = Literal["here", "workers", "auto"]
"""
Who carries stages out when this process drives: this process; workers; or workers as soon as there are any, and this
process while there are none.
"""

Mode = Literal["drive", "record", "read"]
"""
drive: run tasks whenever no other process does. record: only decide and record requests. read: only look; a request is
left to whoever drives.
"""


def make_store(url: str) -> ExecutionStore:
    """
    The store behind a URL.

    Raises:
        StoreUnusableError: No store has this scheme, or the URL names no place.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    match scheme.lower():
        case "memory":
            from switchover.adapters.stores.memory import MemoryExecutionStore  # only what is used

            return MemoryExecutionStore()
        case "sqlite":
            from switchover.adapters.stores.sqlite import SqliteExecutionStore  # only what is used

            return SqliteExecutionStore(_sqlite_path(url))
        case "postgresql" | "postgres":
            return _postgres_store(url)
        case "redis" | "rediss" | "unix":
            return _redis_store(url)
        case _:
            msg = (
                f"store {without_password(url)!r}: unknown scheme {scheme!r}; this version knows sqlite:///PATH, "
                "postgresql://USER@HOST:PORT/DATABASE, redis://HOST:PORT/DB and memory://"
            )
            raise StoreUnusableError(msg)


def _postgres_store(url: str) -> ExecutionStore:
    try:
        from switchover.adapters.stores.postgres import PostgresExecutionStore  # an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        msg = (
            f"store {without_password(url)}: the driver for PostgreSQL is not installed; "
            "pip install 'switchover[postgres]'"
        )
        raise StoreUnusableError(msg) from error
    return PostgresExecutionStore(url)


def _redis_store(url: str) -> ExecutionStore:
    try:
        from switchover.adapters.stores.redis import RedisExecutionStore  # an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "redis":
            raise
        msg = f"store {without_password(url)}: the driver for Redis is not installed; pip install 'switchover[redis]'"
        raise StoreUnusableError(msg) from error
    return RedisExecutionStore(url)


def _sqlite_path(url: str) -> Path:
    # As everywhere: three slashes and a relative path, four and an absolute one.
    rest = unquote(url.removeprefix("sqlite://"))
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path:
        msg = f"store {url!r}: write sqlite:///relative/path.db or sqlite:////absolute/path.db"
        raise StoreUnusableError(msg)
    return Path(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutage:
    """
    A store that takes no commits.

    Attributes:
        since: When the first one failed; aware, UTC.
        reason: Of the last one that did, with what to do about it.
        attempts: How many have failed since.
    """

    since: datetime
    reason: str
    attempts: int


class Executor:
    """
    A running executor; made by ``open_executor``.

    Attributes:
        facade: What callers ask.
        settings: What it was opened with.
        driver_failure: Why this process may drive no more, when that is so.
    """

    def __init__(
        self,
        *,
        store: ExecutionStore,
        settings: ExecutorSettings,
        clock: Clock,
        policies: Policies,
        services: StepServices,
        catalogue: StageCatalogue,
        stage_factory: StageFactory | None,
        mode: Mode,
        actor: Actor = UNKNOWN_ACTOR,
        observers: Sequence[CommitObserver] = (),
        stages_by: StagesBy = "here",
        tracing: RunTracing | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self._policies = policies
        self._services = services
        self._stages = StageMaker(catalogue, stage_factory)
        self._mode = mode
        self._stages_by: StagesBy = stages_by
        self._on_commit = shielded(observers if tracing is None else (*observers, tracing))
        self._watch_step = None if tracing is None else tracing.step
        self._publisher = EventPublisher(store, clock)
        self.factory = PlanFactory(settings, catalogue, stage_factory)
        self._remote = RemoteOperations(
            store=store, clock=clock, factory=self.factory, patience_seconds=_PATIENCE_SECONDS
        )
        self._driver: Driver | None = None
        self._local: LocalOperations | None = None
        self._lease: DriverLease | None = None
        self._carrier: WorkerCarrier | None = None
        self._loops: list[asyncio.Task[None]] = []
        self.driver_failure: StorageError | None = None
        self.facade = DeploymentTaskFacade(store, clock, self._operations, actor)

    # Life

    async def start(self) -> None:
        """Drive if nobody does; else follow, and wait for the chance to take over."""
        if self._mode == "read":
            self._publisher.following = True
        elif not await self._try_to_drive():
            self._publisher.following = True
            self._loops.append(asyncio.ensure_future(self._take_over()))

    async def stop(self, *, finish_stages_within_seconds: float = 0.0) -> None:
        """
        Start nothing more, let running stages end within the limit, and leave everything to be picked up later.

        Requests of other processes are answered until the stages have ended. Whoever cancels this may call it again,
        with a shorter limit.
        """
        await self._close_carrier()
        if self._driver is not None:
            await self._driver.stop(finish_stages_within_seconds=finish_stages_within_seconds)
            self._driver = self._local = None
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        with suppress(StoreUnavailableError):  # closing the store lets go of the lease, too
            await self._release()
        self._publisher.close()

    @property
    def driving(self) -> bool:
        """This process is the one that commits."""
        return self._driver is not None

    @property
    def takes_over(self) -> bool:
        """It drives as soon as no other process does."""
        return self._mode == "drive" and not self.driving and self.driver_failure is None

    @property
    def store_outage(self) -> StoreOutage | None:
        """
        Since when the store has taken no commits of this process, and why; None while it takes them.

        Nothing is lost meanwhile: what runs comes to the end of its stage and waits, nothing is started, no target is
        written by what has no record yet, and everything goes on by itself when the store is back.
        """
        health = None if self._driver is None else self._driver.commits.health
        if health is None or health.unavailable_at is None:
            return None
        return StoreOutage(since=health.unavailable_at, reason=health.reason, attempts=health.failed_attempts)

    def vitals(self) -> Vitals:
        """How this process is now: what gauges show."""
        if self.driver_failure is not None:
            return Vitals(driver_lost=True)
        return Vitals() if self._driver is None else self._driver.vitals()

    async def driver(self) -> DriverInfo | None:
        """Who drives the store, or did last."""
        return await self.store.driver()

    async def workers(self) -> Sequence[WorkerInfo]:
        """Who carries stages out for whoever drives; nobody where the store knows no workers."""
        return await self.store.dispatch.workers() if isinstance(self.store, Dispatching) else ()

    async def unattended_runs(self) -> int:
        """How many tasks wait for a worker while there is none."""
        return await self.store.dispatch.unattended() if isinstance(self.store, Dispatching) else 0

    # Access

    def access_control(self, people: People | None = None) -> AccessControl:
        """Who may come in, as the store and the settings say; ``people`` are those of ``identity.open_people``."""
        settings = self.settings
        limiter = LoginLimiter(
            clock=self.clock, attempts=settings.login_attempts, refill_seconds=settings.login_refill_seconds
        )
        return AccessControl(
            store=self.store.access,
            clock=self.clock,
            limiter=limiter,
            people=people,
            session_seconds=settings.session_seconds,
        )

    async def prune_access(self) -> int:
        """Forget sessions that are over and old entries of the audit log; how many entries."""
        now, days = self.clock.now(), self.settings.audit_retention_days
        return await self.store.access.prune_access(
            sessions_before=now, audit_before=None if days is None else now - timedelta(days=days)
        )

    # Waiting and following

    async def wait_for_plan(self, plan_id: int) -> PlanStatusInfo:
        """
        Wait until the plan is settled or PAUSED, or everything unsettled in it is paused or held.

        Raises:
            StorageError: This process drove the store and may write no more, or the executor was closed meanwhile.
        """
        key = PlanId(plan_id)
        while True:
            seen = self._publisher.version
            resident = None if self._driver is None else self._driver.residents.plans.get(key)
            if resident is None or _has_come_to_rest(resident.plan.status, resident.unsettled, resident.idle):
                plan = None
                if is_plan_id(plan_id):
                    plan = await patiently(self.clock, lambda: self.store.load_plan(key))
                if plan is None:
                    return await self.facade.query_plan_status(plan_id)
                if _has_come_to_rest(plan.status, plan.unsettled, plan.idle):
                    return PlanStatusInfo.of(plan)
            if self.driver_failure is not None:
                raise self.driver_failure
            if self._publisher.closed:
                msg = f"the executor was closed while plan {plan_id} was waited for; the plan goes on with the next one"
                raise StoreClosedError(msg)
            await self._publisher.changed(seen)

    def events(self, plan_id: int, since: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """
        Events of a plan and of its tasks in commit order: history after position ``since``, then live.

        Args:
            follow: Wait for what is to come; otherwise end at what is durable now.

        Raises:
            EventsPrunedError: What comes next is no longer kept.
        """
        return self._publisher.subscribe(PlanId(plan_id), since, follow=follow)

    def all_events(self, since: int = 0, *, follow: bool = True) -> AsyncIterator[NumberedEvent]:
        """
        Events of all plans in commit order: history after the number ``since``, then live.

        Args:
            follow: As for one plan.

        Raises:
            EventsPrunedError: Something that comes next is no longer kept.
        """
        return self._publisher.subscribe_to_all(since, follow=follow)

    async def observe(self, task_id: str) -> Sequence[PlaceReport] | None:
        """
        What the targets of a task hold now, beside what was there before and what the switch writes; changes nothing.

        Returns:
            One report for each place that a stage of the task writes; None for an unknown id.
        """
        key = TaskKey.parse(task_id)
        return None if key is None else await observe(self.store, key, self._stages, self._services)

    async def forecast_plan(self, plan_id: int, operation: Operation, *, from_checkpoint: bool = True) -> Forecast:
        """What a request by plan would do; changes nothing. Policies are not asked, and may refuse single tasks."""
        return await forecast_plan(self.store, PlanId(plan_id), operation, from_checkpoint=from_checkpoint)

    async def forecast_tenant(self, tenant_id: str, operation: Operation, *, from_checkpoint: bool = True) -> Forecast:
        """What a request by tenant would do; changes nothing. Policies are not asked, and may refuse."""
        return await forecast_tenant(self.store, TenantId(tenant_id), operation, from_checkpoint=from_checkpoint)

    async def changed(self, seen: int) -> None:
        """Wait until something may have been committed since ``version`` was ``seen``."""
        await self._publisher.changed(seen)

    @property
    def version(self) -> int:
        """Rises when something may have been committed; see ``changed``."""
        return self._publisher.version

    # Inside

    def _operations(self) -> Operations:
        return self._remote if self._local is None else self._local

    async def _try_to_drive(self) -> bool:
        lease = await self.store.acquire_driver(_owner())
        if lease is None:
            return False
        self._lease = lease
        try:
            self._carrier = await self._make_carrier()
        except BaseException:
            with suppress(StorageError):
                await self._release()
            raise
        driver = Driver(
            store=self.store,
            lease=lease,
            clock=self.clock,
            policies=self._policies,
            services=self._services,
            stages=self._stages,
            publisher=self._publisher,
            runtime=EmbeddedRuntime(),
            options=DriverOptions(
                heartbeat_seconds=self.settings.task_progress_interval_seconds,
                step_timeout_seconds=self.settings.step_timeout_seconds,
                runs_tasks=self._mode == "drive",
                pause_recovered=self.settings.recovery == "pause",
            ),
            on_fatal=self._failed,
            on_commit=self._on_commit,
            watch_step=self._watch_step,
            carrier=self._carrier,
        )
        try:
            await driver.start()
        except BaseException:
            await self._close_carrier()
            # What was picked up goes back as after a crash; and the next attempt must find the lease free.
            await driver.stop(finish_stages_within_seconds=0.0)
            with suppress(StorageError):
                await self._release()
            raise
        self._driver = driver
        self._local = LocalOperations(driver=driver, factory=self.factory, store=self.store, clock=self.clock)
        self._publisher.following = False
        inbox = Inbox(store=self.store, operations=self._local, clock=self.clock)
        self._loops.append(asyncio.ensure_future(inbox.run()))
        if self._mode == "drive" and self.settings.event_retention_days is not None:
            self._loops.append(asyncio.ensure_future(self._retain_events(self.settings.event_retention_days)))
        return True

    async def _retain_events(self, days: int) -> None:
        actor = Actor(name="retention", kind="local", origin=socket.gethostname(), via="library")
        facade = self.facade.acting_as(actor, reason=f"event_retention_days is {days}")
        while True:
            with suppress(StorageError):  # the next hour will do
                report = await facade.prune_ended(timedelta(days=days).total_seconds())
                if report.plans:
                    _log.info("events were forgotten", plans=len(report.plans), events=report.events)
            await self.clock.sleep(_RETAIN_EVERY_SECONDS)

    async def _make_carrier(self) -> WorkerCarrier | None:
        """Whoever has stages carried out by workers; None where this process carries them out itself."""
        if self._mode != "drive":
            return None  # who only records requests begins and ends no run, and leaves orders as they are
        dispatching = self.store if isinstance(self.store, Dispatching) else None
        wanted = self._stages_by != "here"
        if dispatching is None:
            if wanted and self._stages_by == "workers":
                msg = "stages can be given to workers over a postgresql:// store only; leave them here"
                raise StoreUnusableError(msg)
            return None
        dispatching.give_orders(wanted=wanted)
        if not wanted:
            return None
        await dispatching.dispatch.prepare()
        carrier = WorkerCarrier(
            book=dispatching.dispatch,
            clock=self.clock,
            dead_seconds=self.settings.worker_timeout_seconds,
            alone=self._stages_by == "auto",
        )
        await carrier.start()
        return carrier

    async def _close_carrier(self) -> None:
        if self._carrier is not None:
            carrier, self._carrier = self._carrier, None
            await carrier.aclose()

    async def _release(self) -> None:
        if self._lease is not None:
            lease, self._lease = self._lease, None
            await self.store.release_driver(lease)

    async def _take_over(self) -> None:
        while True:
            await self.clock.sleep(_TAKE_OVER_SECONDS)
            try:
                if await self._try_to_drive():
                    _log.info("this process drives the store now")
                    return
            except StorageError as error:
                _log.warning("taking over is not possible yet", reason=str(error))

    def _failed(self, error: StorageError) -> None:
        self.driver_failure = error
        self._publisher.notify()
        self._loops.append(asyncio.ensure_future(self._let_go()))

    async def _let_go(self) -> None:
        """Somebody else may drive now; requests to this process are answered with the reason why it does not."""
        driver = self._driver
        await self._close_carrier()
        if driver is not None:
            await driver.stop(finish_stages_within_seconds=0.0)
            self._driver = None
        with suppress(StorageError):
            await self._release()


class StageMaker:
    """Makes the stages of tasks: from the plan's own catalogue, else from the stage factory, else from the settings."""

    def __init__(self, catalogue: StageCatalogue, stage_factory: StageFactory | None) -> None:
        self._catalogue = catalogue
        self._stage_factory = stage_factory
        self._compiled: dict[PlanId, Sequence[TaskStage]] = {}

    def __call__(self, plan: PlanRecord, record: TaskRecord) -> Sequence[TaskStage]:
        """The stages of one task; raises whatever a user's factory raises."""
        rules = plan.plan.rules
        if not rules.services and self._stage_factory is not None:
            return self._stage_factory(TenantDeployConfig.from_snapshot(record.config))
        stages = self._compiled.get(plan.plan.plan_id)
        if stages is None:
            services = [dict(service) for service in rules.services]
            stages = self._catalogue.compile(services, rules.health).stages
            self._compiled[plan.plan.plan_id] = stages
        return stages


def _has_come_to_rest(status: PlanStatus, unsettled: int, idle: int) -> bool:
    return status.is_settled or status is PlanStatus.PAUSED or unsettled == idle


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def local_actor(via: str) -> Actor:
    """Whoever runs this process, as the operating system knows them."""
    host = socket.gethostname()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = f"uid{os.getuid()}"
    return Actor(name=f"{user}@{host}", kind="local", origin=host, via=via)


def _families(allow_list: AllowList, session: aiohttp.ClientSession) -> dict[str, Callable[[], TargetFamily]]:
    def redis() -> TargetFamily:
        from switchover.adapters.targets.redis import RedisTargets  # an extra

        return RedisTargets(allow_list)

    def files() -> TargetFamily:
        from switchover.adapters.targets.file import FileTargets  # only what is used

        return FileTargets()

    def http() -> TargetFamily:
        from switchover.adapters.targets.http import HttpTargets  # only what is used

        return HttpTargets(session)

    return {"redis": redis, "rediss": redis, "file": files, "http": http, "https": http}


@asynccontextmanager
async def open_executor(
    url: str,
    *,
    settings: ExecutorSettings | None = None,
    stage_factory: StageFactory | None = None,
    policies: Iterable[object] = (),
    health_client: HealthCheckClient | None = None,
    mode: Mode = "drive",
    clock: Clock | None = None,
    grace_seconds: float = 5.0,
    store: ExecutionStore | None = None,
    actor: Actor | None = None,
    observers: Iterable[CommitObserver] = (),
    stages_by: StagesBy = "here",
    tracing: RunTracing | None = None,
) -> AsyncGenerator[Executor]:
    """
    Open a store and run an executor over it.

    Args:
        url: ``sqlite:///switchover.db``, ``postgresql://user:password@host:port/database``,
            ``redis://user:password@host:port/db`` or ``memory://``.
        stage_factory: Gives the stages of plans that bring no ``services``; goes before those of the settings.
        policies: Objects of behaviour, section 11.
        health_client: In place of the one over HTTP.
        mode: ``record`` starts no task: requests are only decided and recorded. ``read`` never becomes the driver.
        grace_seconds: How long running stages may take to end when the context is left.
        store: In place of the one behind ``url``.
        actor: Whom the audit log names for what ``facade`` writes; None: the user of this process.
        observers: Are told of every commit of this process.
        stages_by: Who carries stages out while this process drives; with a ``postgresql://`` store only.
        tracing: Tells whoever collects traces what runs; closed by whoever made it.

    Raises:
        StorageError: The store cannot be used; the message says what to do.
        TypeError: An object in ``policies`` implements none of them.
    """
    chosen = settings if settings is not None else ExecutorSettings()
    own_clock = clock if clock is not None else SystemClock()
    own_policies = Policies.of(policies)
    opened = store if store is not None else make_store(url)
    try:
        async with step_services(chosen, own_clock, own_policies, health_client, tracing) as services:
            await opened.open()
            executor = Executor(
                store=opened,
                settings=chosen,
                clock=own_clock,
                policies=own_policies,
                services=services,
                catalogue=StageCatalogue(),
                stage_factory=stage_factory,
                mode=mode,
                actor=actor if actor is not None else local_actor("library"),
                observers=tuple(observers),
                stages_by=stages_by,
                tracing=tracing,
            )
            await executor.start()
            try:
                yield executor
            finally:
                await executor.stop(finish_stages_within_seconds=grace_seconds)
    finally:
        await opened.aclose()


@asynccontextmanager
async def step_services(
    settings: ExecutorSettings,
    clock: Clock,
    policies: Policies,
    health_client: HealthCheckClient | None,
    tracing: RunTracing | None = None,
) -> AsyncGenerator[StepServices]:
    """What steps work with, for as long as the context is open."""
    allow_list = AllowList(settings.endpoint_allow_list)
    session = guarded_session(allow_list, inject=None if tracing is None else tracing.inject)
    targets = SchemeTargetProvider(_families(allow_list, session))
    try:
        services = StepServices(
            targets=targets,
            health_client=health_client if health_client is not None else HttpHealthCheckClient(session),
            clock=clock,
            health_policy=policies.health_check,
        )
        yield services if tracing is None else tracing.traced(services)
    finally:
        await targets.aclose()
        await session.close()
