"""The rules: what people, targets, time and accidents do to an engine, in any order."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from switchover.domain.task import Operation, PlanId, TaskStatus, TenantId
from switchover.dto import TaskOperationResult
from switchover.errors import ErrorCode, StoreUnavailableError
from switchover.spi import ExecutionStore
from tests.stateful.invariants import examine
from tests.stateful.oracle import Picture, after_stage, obeyed, refusal_by_task, refusals_by_plan
from tests.stateful.world import STEP_TIMEOUT_SECONDS, World, memory_store

Item = TypeVar("Item")

TENANTS = ("a", "b", "c", "d")
STAGES = (
    ("one",),
    ("one", "two"),
    ("one", "two", "three"),
    ("one", "skip two", "three"),
    ("skip one", "two"),
    ("one", "skip two"),
)
MOST_PLANS = 4
SOURCE_VERSION = 41

tenants = st.sampled_from(TENANTS)
verbs = st.sampled_from(list(Operation))
targets = tenants | st.integers(0, MOST_PLANS - 1)
plan_shapes = st.fixed_dictionaries(
    {
        "tenants": st.lists(tenants, min_size=1, max_size=4, unique=True),
        "stages": st.sampled_from(STAGES),
        "maxConcurrency": st.integers(1, 3),
        "onConflict": st.sampled_from(["reject", "wait", "wait"]),
        "onFailure": st.sampled_from(["manual", "manual", "auto"]),
        "hold": st.booleans(),
        "maxRetry": st.sampled_from([3, 1]),
        "source": st.sampled_from([True, True, False]),
    }
)
turns = st.integers(0, 12)
# Nothing that is drawn depends on what the engine does: threads of a store make that differ from run to run.
picks = st.integers(0, 11)
outcomes = st.lists(st.booleans(), min_size=12, max_size=12)


class EngineMachine(RuleBasedStateMachine):
    """Drives one world; after every rule everything is looked at."""

    recovery = "continue"

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.open_store, recovery=self.recovery)
        self.before = Picture()
        self.closed = False

    async def open_store(self, before: ExecutionStore | None) -> ExecutionStore:
        """Opens the store that this machine is about."""
        return await memory_store(before)

    @initialize(shape=plan_shapes)
    def begin(self, shape: dict[str, Any]) -> None:
        self.world.start()
        self._create(shape)

    # Plans

    @rule(shape=plan_shapes)
    def create_plan(self, shape: dict[str, Any]) -> None:
        if len(self.world.grammars) < MOST_PLANS:
            self._create(shape)

    def _create(self, shape: dict[str, Any]) -> None:
        before = self.before
        version = _version(self.world)
        configs, options = _plan(shape, version)
        facade = self.world.executor.facade
        result = self.world.do(self._answer(facade.create_switch_task(configs, options=options)))
        if result is None:
            return
        expected = None
        for tenant in shape["tenants"]:
            if TenantId(tenant) in before.holds:
                expected = expected or ErrorCode.TENANT_ON_HOLD
            live = any(task.is_live for task in before.of_tenant(TenantId(tenant)))
            if live and shape["onConflict"] == "reject":
                expected = expected or ErrorCode.TENANT_CONFLICT
        assert result.success == (expected is None), (result, expected)
        if result.plan_id is None:
            on_hold = {f.tenant_id for f in result.findings if f.code is ErrorCode.TENANT_ON_HOLD}
            assert on_hold == {t for t in shape["tenants"] if TenantId(t) in before.holds}
            assert self.world.picture() == before, "a refused plan changes nothing"
            return
        self._note_plan(result.plan_id, shape, version)

    def _note_plan(self, plan_id: PlanId, shape: dict[str, Any], version: int) -> None:
        source = SOURCE_VERSION if shape["source"] else None
        self.world.note_plan(plan_id, shape["stages"], len(shape["tenants"]), version=version, source=source)

    # Steps

    @rule(pick=picks, ok=st.sampled_from([True, True, True, False]))
    def end_a_step(self, pick: int, ok: bool) -> None:
        if not self.world.gates:
            return
        key = _pick(sorted(self.world.gates), pick)
        task = self.before.tasks[key]
        skipped = [name for name in task.stage_names if name.startswith("skip")]
        expected = after_stage(self.before, task, ok=ok, skipped=skipped)
        self.world.open_gate(key, ok=ok)
        self.world.settle()
        found = self.world.picture().tasks[key]
        assert found.status is expected, (task, found, expected)
        holds = self.before.plans[key.plan_id].rules.hold_after_rollback
        if found.status is TaskStatus.ROLLBACK_FAILED or (found.status is TaskStatus.ROLLED_BACK and holds):
            assert task.tenant_id in self.world.picture().holds, found

    @rule(ok=outcomes)
    def end_all_steps_at_once(self, ok: list[bool]) -> None:
        for key, good in zip(sorted(self.world.gates), ok, strict=False):
            self.world.open_gate(key, ok=good)
        self.world.settle()

    # Requests

    @rule(tenant=tenants, verb=verbs, from_checkpoint=st.booleans())
    def ask_by_tenant(self, tenant: str, verb: Operation, from_checkpoint: bool) -> None:
        before = self.before
        elapsed = self.world.clock.monotonic()
        result = self.world.do(self._answer(self._by_tenant(tenant, verb, from_checkpoint)))
        if result is None or self.world.clock.monotonic() != elapsed:
            return
        task = before.named_by(TenantId(tenant))
        if task is None:
            assert result.failure_info is not None
            assert result.failure_info.error_code is ErrorCode.UNKNOWN_TENANT
            return
        expected = refusal_by_task(before, task, verb, from_checkpoint=from_checkpoint)
        code = None if result.failure_info is None else result.failure_info.error_code
        assert code is expected, (verb, task, code, expected)
        assert result.success == (expected is None)
        after = self.world.picture()
        if expected is not None:
            assert after == before, "a refusal changes nothing"
        else:
            assert obeyed(after.tasks[task.key], verb), (verb, task, after.tasks[task.key])

    @rule(pick=picks, verb=verbs, from_checkpoint=st.booleans())
    def ask_by_plan(self, pick: int, verb: Operation, from_checkpoint: bool) -> None:
        before = self.before
        if not before.plans:
            return
        plan_id = _pick(sorted(before.plans), pick)
        elapsed = self.world.clock.monotonic()
        result = self.world.do(self._answer(self._by_plan(plan_id, verb, from_checkpoint)))
        if result is None or self.world.clock.monotonic() != elapsed:
            return
        answers = refusals_by_plan(before, plan_id, verb, from_checkpoint=from_checkpoint)
        after = self.world.picture()
        if answers is None:
            assert not result.success, (verb, before.plans[plan_id], result)
            assert after == before, "a refusal changes nothing"
            return
        accepted = {outcome.task_id for outcome in result.accepted}
        refused = {o.task_id: o.failure_info.error_code for o in result.refused if o.failure_info is not None}
        assert accepted == {key.task_id for key, code in answers.items() if code is None}, (verb, answers, result)
        assert refused == {key.task_id: code for key, code in answers.items() if code is not None}
        assert result.success == bool(accepted), "never success when nothing was accepted"
        if not accepted:
            assert after.tasks == before.tasks, "a refusal changes nothing"

    @rule(requests=st.lists(st.tuples(st.integers(0, 4), targets, verbs), min_size=2, max_size=4), ok=outcomes)
    def ask_at_once(self, requests: list[tuple[int, str | int, Operation]], ok: list[bool]) -> None:
        """Several people, some turns of the loop apart, while steps end: one of the serial orders, and no accident."""
        plans = sorted(self.before.plans)

        async def all_of_them() -> None:
            asked = []
            for number, (wait, target, verb) in enumerate(requests):
                for _ in range(wait):
                    await asyncio.sleep(0)
                if isinstance(target, str):
                    asked.append(asyncio.ensure_future(self._answer(self._by_tenant(target, verb, True))))
                elif plans:
                    asked.append(asyncio.ensure_future(self._answer(self._by_plan(_pick(plans, target), verb, True))))
                for key in sorted(self.world.gates)[:1] if ok[number] else []:
                    self.world.open_gate(key, ok=ok[number + 4])
            await asyncio.gather(*asked)

        self.world.do(all_of_them())

    @rule(tenant=tenants)
    def hold(self, tenant: str) -> None:
        result = self.world.do(self._answer(self.world.executor.facade.hold_tenant(tenant, "a test")))
        assert result is None or result.success
        assert TenantId(tenant) in self.world.picture().holds or result is None

    @rule(pick=picks)
    def unhold(self, pick: int) -> None:
        if not self.before.holds:
            return
        tenant = _pick(sorted(self.before.holds), pick)
        result = self.world.do(self._answer(self.world.executor.facade.unhold_tenant(tenant, "a test")))
        assert result is None or result.success
        assert tenant not in self.world.picture().holds or result is None

    @rule()
    def stop_line(self) -> None:
        result = self.world.do(self._answer(self.world.executor.facade.stop_line("a test")))
        assert result is None or result.success
        assert self.world.picture().line is not None or result is None

    @rule()
    def start_line(self) -> None:
        stopped = self.before.line is not None
        result = self.world.do(self._answer(self.world.executor.facade.start_line()))
        assert result is None or result.success == stopped

    # Time and accidents

    @rule(seconds=st.sampled_from([1.0, 10.0, 12.0, STEP_TIMEOUT_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(patient=st.booleans(), ok=st.booleans())
    def restart(self, patient: bool, ok: bool) -> None:
        self.world.restart(patient=patient, ok=ok)

    @rule(turns=turns)
    def crash(self, turns: int) -> None:
        self.world.crash(turns)

    @rule(turns=turns, ok=outcomes)
    def crash_at_boundaries(self, turns: int, ok: list[bool]) -> None:
        for key, good in zip(sorted(self.world.gates), ok, strict=False):
            self.world.open_gate(key, ok=good)
        self.world.crash(turns)

    @rule(tenant=tenants, verb=verbs, turns=turns)
    def crash_while_asking(self, tenant: str, verb: Operation, turns: int) -> None:
        task = self.before.named_by(TenantId(tenant))
        result = self.world.do_and_crash(self._by_tenant(tenant, verb, True), turns)
        if task is not None and result is not None and result.success and self.recovery == "continue":
            assert obeyed(self.world.picture().tasks[task.key], verb), "what was acknowledged survives"

    @rule(shape=plan_shapes, turns=turns)
    def crash_while_creating(self, shape: dict[str, Any], turns: int) -> None:
        if len(self.world.grammars) >= MOST_PLANS:
            return
        version = _version(self.world)
        configs, options = _plan(shape, version)
        facade = self.world.executor.facade
        result = self.world.do_and_crash(facade.create_switch_task(configs, options=options), turns)
        created = set(self.world.picture().plans) - set(self.world.grammars)
        if result is not None:
            assert created == ({result.plan_id} if result.success else set()), "what was acknowledged survives"
        for plan_id in created:
            self._note_plan(plan_id, shape, version)

    @rule(commits=st.integers(1, 4))
    def store_goes_away(self, commits: int) -> None:
        self.world.wire.commit_failures = commits

    @rule(reads=st.integers(1, 2))
    def store_cannot_be_read(self, reads: int) -> None:
        self.world.wire.read_failures = reads

    # Looking

    @invariant()
    def everything_holds(self) -> None:
        if self.world.lives:
            self.before = examine(self.world, self.before)

    def teardown(self) -> None:
        try:
            if self.world.lives:
                self._let_everything_end()
        finally:
            self.world.close()

    def _let_everything_end(self) -> None:
        """No stop lasts longer than its reason: with every reason gone, everything settles and holds nothing."""
        world = self.world
        world.wire.commit_failures = world.wire.read_failures = 0
        facade = world.executor.facade
        world.do(facade.start_line())
        for _ in range(60):
            picture = world.picture()
            if all(plan.status.is_settled for plan in picture.plans.values()):
                break
            for tenant in picture.holds:
                world.do(facade.unhold_tenant(tenant, "the end"))
            for plan in picture.plans.values():
                if not plan.status.is_settled:
                    world.do(facade.resume_task_by_plan(plan.plan_id))
            for task in picture.tasks.values():
                if task.is_idle and task.lock_held:
                    world.do(facade.resume_task_by_tenant(task.tenant_id))
                elif task.is_idle:
                    world.do(facade.cancel_task(task.task_id))
            for key in list(world.gates):
                world.open_gate(key, ok=True)
            world.settle()
        picture = examine(world, self.before)
        assert all(plan.status.is_settled for plan in picture.plans.values()), picture
        assert all(tenant.owner is None and not tenant.waiting for tenant in picture.tenants.values()), picture
        self._events_are_unchanged()

    def _events_are_unchanged(self) -> None:
        """What a subscriber has read stays as it was read."""
        for plan_id, events in self.world.events.items():
            stored = self.world.look(_all_events(self.world.inner, plan_id))
            assert stored == events

    # Inside

    async def _answer(self, work: Awaitable[Any]) -> Any:  # noqa: ANN401  # whatever the facade answers
        """The answer; None when the store was away, which is no answer."""
        try:
            return await work
        except StoreUnavailableError:
            return None

    def _by_tenant(
        self, tenant: str, verb: Operation, from_checkpoint: bool
    ) -> Coroutine[Any, Any, TaskOperationResult]:
        facade = self.world.executor.facade
        match verb:
            case Operation.PAUSE:
                return facade.pause_task_by_tenant(tenant)
            case Operation.RESUME:
                return facade.resume_task_by_tenant(tenant)
            case Operation.CANCEL:
                return facade.cancel_task_by_tenant(tenant)
            case Operation.RETRY:
                return facade.retry_task_by_tenant(tenant, from_checkpoint)
            case Operation.ROLLBACK:
                return facade.rollback_task_by_tenant(tenant)

    def _by_plan(
        self, plan_id: PlanId, verb: Operation, from_checkpoint: bool
    ) -> Coroutine[Any, Any, TaskOperationResult]:
        facade = self.world.executor.facade
        match verb:
            case Operation.PAUSE:
                return facade.pause_task_by_plan(plan_id)
            case Operation.RESUME:
                return facade.resume_task_by_plan(plan_id)
            case Operation.CANCEL:
                return facade.cancel_task_by_plan(plan_id)
            case Operation.RETRY:
                return facade.retry_task_by_plan(plan_id, from_checkpoint)
            case Operation.ROLLBACK:
                return facade.rollback_task_by_plan(plan_id)


def _pick(items: Sequence[Item], pick: int) -> Item:
    return items[pick % len(items)]


async def _all_events(store: ExecutionStore, plan_id: PlanId) -> list[Any]:
    events: list[Any] = []
    while page := await store.load_events(plan_id, len(events), 500):
        events.extend(page)
    return events


def _version(world: World) -> int:
    """Of the units that the next plan switches to: each plan has its own."""
    return 100 + len(world.grammars)


def _plan(shape: dict[str, Any], version: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a caller hands in."""
    configs: list[dict[str, Any]] = []
    for tenant in shape["tenants"]:
        config: dict[str, Any] = {
            "tenantId": tenant,
            "deployUnitId": 2,
            "deployUnitVersion": version,
            "deployUnitName": ",".join(shape["stages"]),
        }
        if shape["source"]:
            config["sourceTenantDeployConfig"] = {
                "tenantId": tenant,
                "deployUnitId": 1,
                "deployUnitVersion": SOURCE_VERSION,
            }
        configs.append(config)
    options = {
        "maxConcurrency": shape["maxConcurrency"],
        "onConflict": shape["onConflict"],
        "rollback": {"onFailure": shape["onFailure"], "hold": shape["hold"]},
        "retry": {"max": shape["maxRetry"]},
    }
    return configs, options
