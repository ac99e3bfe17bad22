"""What the facade refuses, with which code, and that a refusal changes nothing; creation, idempotency, queries."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from switchover import TenantDeployConfig
from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, TargetType, TaskStatus
from switchover.dto import TaskCreationResult, TaskOperationResult
from switchover.errors import ErrorCode
from tests.support.harness import Rig, config_of, open_rig


def _refused(result: TaskOperationResult, code: ErrorCode) -> None:
    assert not result.success
    assert result.failure_info is not None
    assert result.failure_info.error_code is code, result.message
    assert result.message


class _Unchanged:
    """Nothing was committed but the audit log, so no sequence id is used and no event is there."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def __aenter__(self) -> None:
        await self._rig.quiet()
        self._changing = self._rig.store.changing

    async def __aexit__(self, *exc_info: object) -> None:
        await self._rig.quiet()
        assert self._rig.store.changing == self._changing


_VERBS = [str(operation) for operation in Operation]


@pytest.mark.parametrize("verb", _VERBS)
async def test_unknown_tenants_and_plans_are_refused(verb: str) -> None:
    async with open_rig() as rig, _Unchanged(rig):
        result = await rig.ask(verb, "nobody")
        _refused(result, ErrorCode.UNKNOWN_TENANT)
        assert (result.target_id, result.final_status) == ("nobody", None)
        result = await rig.ask_plan(verb, 999)
        _refused(result, ErrorCode.UNKNOWN_PLAN)
        assert (result.target_type, result.target_id, result.final_status) == (TargetType.PLAN, 999, None)


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
@pytest.mark.parametrize("plan_id", [0, -1, 2**63, 2**80, "100", 1.0, True, None, ""])
async def test_what_no_plan_can_be_called_is_an_unknown_plan(
    plan_id: Any,  # noqa: ANN401  # of any type
    url: str,
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/s.db" if url == "sqlite" else url
    async with open_rig(url=url, manual_clock=url.startswith("memory")) as rig:
        await rig.create("t1", plan_id=100)
        await rig.settles()
        _refused(await rig.ask_plan("pause", plan_id), ErrorCode.UNKNOWN_PLAN)
        assert not (await rig.plan(plan_id)).found
        assert not (await rig.executor.wait_for_plan(plan_id)).found
        assert not await rig.facade.list_tasks(plan_id)
        assert not (await rig.facade.adopt_plan(plan_id)).success


@pytest.mark.parametrize("task_id", ["999-1", "100-9", "nonsense", "", "100", "-1", "100-01", "9" * 30 + "-1", "1-1-1"])
async def test_unknown_tasks_are_refused(task_id: str) -> None:
    async with open_rig() as rig:
        await rig.create("t1")
        await rig.settles()
        async with _Unchanged(rig):
            result = await rig.facade.cancel_task(task_id)
            _refused(result, ErrorCode.UNKNOWN_TASK)
            assert result.target_id == task_id
            info = await rig.facade.query_task_status(task_id)
            assert not info.found
            assert info.failure_info is not None
            assert info.failure_info.error_code is ErrorCode.UNKNOWN_TASK


async def test_queries_of_the_unknown_answer_that_nothing_was_found() -> None:
    async with open_rig() as rig:
        task = await rig.task("nobody")
        assert (task.found, task.status) == (False, None)
        assert task.failure_info is not None
        assert task.failure_info.error_code is ErrorCode.UNKNOWN_TENANT
        plan = await rig.plan(7)
        assert (plan.found, plan.status) == (False, None)
        assert plan.failure_info is not None
        assert plan.failure_info.error_code is ErrorCode.UNKNOWN_PLAN
        assert await rig.facade.has_checkpoint("nobody") is False
        waited = await rig.executor.wait_for_plan(7)
        assert not waited.found


async def test_the_fourth_retry_is_refused() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1")
        await rig.create("t1")
        await rig.settles()
        for count in (1, 2, 3):
            await rig.do("retry", "t1", from_checkpoint=count != 2)
            await rig.settles()
            assert (await rig.task("t1")).retry_count == count
        async with _Unchanged(rig):
            _refused(await rig.ask("retry", "t1"), ErrorCode.RETRY_LIMIT_EXCEEDED)
            _refused(await rig.ask_plan("retry"), ErrorCode.RETRY_LIMIT_EXCEEDED)
        assert (await rig.plan()).status is PlanStatus.FAILED


async def test_retries_count_across_restarts_and_a_recovery_never_does() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=2)
        await rig.create("t1", retry={"max": 2})
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        await rig.restart()
        rig.script.block("t1")
        await rig.do("retry", "t1")
        await rig.entered("t1", "A")
        await rig.restart()
        await rig.entered("t1", "A")
        assert (await rig.task("t1")).retry_count == 2
        rig.script.fail("t1", times=1)
        rig.script.release("t1")
        await rig.settles()
        _refused(await rig.ask("retry", "t1"), ErrorCode.RETRY_LIMIT_EXCEEDED)


async def test_what_a_later_task_has_superseded_is_neither_retried_nor_rolled_back() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1", plan_id=100)
        await rig.settles(100)
        await rig.create("t1", plan_id=101)
        await rig.settles(101)
        async with _Unchanged(rig):
            result = await rig.ask_plan("retry", 100)
            _refused(result, ErrorCode.SUPERSEDED)
            _refused(await rig.ask_plan("rollback", 100), ErrorCode.SUPERSEDED)
        assert (await rig.plan(100)).status is PlanStatus.FAILED
        assert (await rig.facade.rollback_task_by_tenant("t1")).target_id == "101-1"


async def test_a_later_task_that_never_ran_supersedes_nothing() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        rig.script.block("x")
        await rig.create("t1", plan_id=100)
        await rig.settles(100)
        await rig.create("x", "t1", plan_id=101, max_concurrency=1)
        await rig.entered("x", "A")
        async with _Unchanged(rig):
            _refused(await rig.ask_plan("retry", 100), ErrorCode.TENANT_CONFLICT)
        assert (await rig.facade.cancel_task("101-2")).success
        await rig.do_plan("retry", 100)
        assert await rig.settles(100) is PlanStatus.COMPLETED


async def test_while_another_task_of_the_tenant_lives_retry_and_rollback_conflict() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1", plan_id=100)
        await rig.settles(100)
        rig.script.block("x")
        await rig.create("x", "t1", plan_id=101, max_concurrency=1)
        await rig.entered("x", "A")
        async with _Unchanged(rig):
            for verb in ("retry", "rollback"):
                result = await rig.ask_plan(verb, 100)
                _refused(result, ErrorCode.TENANT_CONFLICT)
                assert "101-2" in result.message
        assert (await rig.plan(100)).status is PlanStatus.FAILED


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.PAUSED, TaskStatus.RUNNING])
async def test_without_a_previous_config_a_rollback_is_refused_and_the_status_stays(status: TaskStatus) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        if status is TaskStatus.FAILED:
            rig.script.fail("t1", "B")
        await rig.create("t1", source_unit=None)
        await rig.entered("t1", "A")
        if status is TaskStatus.PAUSED:
            await rig.do("pause", "t1")
        if status is not TaskStatus.RUNNING:
            rig.script.release("t1", "A")
            await rig.reaches("t1", status)
        async with _Unchanged(rig):
            _refused(await rig.ask("rollback", "t1"), ErrorCode.NO_PREVIOUS_CONFIG)
            _refused(await rig.ask_plan("rollback"), ErrorCode.NO_PREVIOUS_CONFIG)
        assert await rig.status("t1") is status


async def test_the_first_refusal_that_applies_is_named() -> None:
    """A retry that is over its limit, superseded and in conflict is RETRY_LIMIT_EXCEEDED; then SUPERSEDED ..."""
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1", plan_id=100, source_unit=None, retry={"max": 0})
        await rig.settles(100)
        await rig.create("t1", plan_id=101)
        await rig.settles(101)
        rig.script.block("t1")
        await rig.create("t1", plan_id=102)
        await rig.entered("t1", "A")
        async with _Unchanged(rig):
            _refused(await rig.ask_plan("retry", 100), ErrorCode.RETRY_LIMIT_EXCEEDED)
            _refused(await rig.ask_plan("rollback", 100), ErrorCode.SUPERSEDED)
            _refused(await rig.ask_plan("retry", 101), ErrorCode.ILLEGAL_STATE)
            _refused(await rig.ask_plan("rollback", 101), ErrorCode.SUPERSEDED)


async def test_a_conflict_comes_before_the_missing_previous_config() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1", plan_id=100, source_unit=None)
        await rig.settles(100)
        rig.script.block("x")
        await rig.create("x", "t1", plan_id=101, max_concurrency=1)
        await rig.entered("x", "A")
        _refused(await rig.ask_plan("rollback", 100), ErrorCode.TENANT_CONFLICT)


async def test_by_tenant_means_the_owner_of_the_lock_else_the_newest_task() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        await rig.create("t1", plan_id=101, on_conflict="wait")
        assert (await rig.task("t1")).task_id == "100-1"
        assert (await rig.do("pause", "t1")).target_id == "100-1"
        await rig.do("resume", "t1")
        rig.script.release("t1")
        await rig.settles(101)
        assert (await rig.task("t1")).task_id == "101-1"


# --- creating -------------------------------------------------------------------------------------------------------


async def test_a_created_plan_is_ready_and_its_tasks_are_pending() -> None:
    async with open_rig(mode="record") as rig:
        result = await rig.try_create("t1", "t2")
        assert (result.success, result.plan_id, result.task_ids) == (True, 100, ["100-1", "100-2"])
        assert (result.status, result.validated_count, result.failure_info) == (PlanStatus.READY, 2, None)
        assert await rig.statuses() == ["PENDING", "PENDING"]
        plan = await rig.plan()
        assert (plan.status, plan.total, plan.max_concurrency) == (PlanStatus.READY, 2, 10)
        assert plan.counts == {TaskStatus.PENDING: 2}
        assert (await rig.task("t1")).progress_percent == 0


async def test_a_refused_create_stores_nothing_and_locks_nobody() -> None:
    async with open_rig() as rig:
        async with _Unchanged(rig):
            result = await rig.facade.create_switch_task([config_of("t1"), config_of("t1"), {"tenantId": "t2"}])
        assert (result.success, result.plan_id, result.task_ids) == (False, None, [])
        assert result.status is PlanStatus.FAILED
        assert result.failure_info is not None
        errors = {finding.code for finding in result.findings if finding.is_error}
        assert {ErrorCode.DUPLICATE_TENANT, ErrorCode.MISSING_FIELD} <= errors
        assert result.failure_info.error_code is next(f.code for f in result.findings if f.is_error)
        assert not (await rig.task("t1")).found
        await rig.create("t1")


async def test_plans_without_an_id_get_one_that_no_plan_has() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", plan_id=7)
        results = [await rig.try_create(tenant_id, plan_id=None) for tenant_id in ("t2", "t3")]
        assert [result.plan_id for result in results] == [8, 9]
        await rig.restart()
        assert (await rig.try_create("t4", plan_id=None)).plan_id == 10


async def test_the_callers_object_is_never_held() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        config = config_of("t1")
        await rig.facade.create_switch_task([config], options={"planId": 100})
        await rig.entered("t1", "A")
        config["deployUnitId"] = 99
        config["sourceTenantDeployConfig"]["deployUnitId"] = 98
        rig.script.release("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert [call.unit for call in rig.script.calls] == [2, 1]


async def test_models_are_accepted_like_mappings() -> None:
    async with open_rig("A") as rig:
        model = TenantDeployConfig.model_validate(config_of("t1"))
        result = await rig.facade.create_switch_task([model])
        assert result.success
        assert await rig.settles(result.plan_id or 0) is PlanStatus.COMPLETED


async def test_an_existing_plan_is_not_created_again() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1")
        result = await rig.try_create("t2")
        assert result.failure_info is not None
        assert result.failure_info.error_code is ErrorCode.PLAN_EXISTS


async def test_the_same_idempotency_key_gives_the_first_result_again() -> None:
    async with open_rig("A") as rig:
        first = await rig.try_create("t1", "t2", idempotency_key="once")
        await rig.settles()
        async with _Unchanged(rig):
            again = await rig.try_create("t1", "t2", idempotency_key="once")
        assert (again.success, again.plan_id, again.task_ids) == (True, first.plan_id, first.task_ids)
        assert (again.status, again.validated_count) == (first.status, first.validated_count)
        await rig.restart()
        assert (await rig.try_create("t1", "t2", idempotency_key="once")).plan_id == first.plan_id


async def test_the_second_answer_for_a_key_is_the_first_one_whole(tmp_path: Path) -> None:
    for url in ("memory://", f"sqlite:///{tmp_path}/answers.db"):
        async with open_rig("A", url=url, manual_clock=False) as rig:
            first = await rig.try_create("t1", "t2", source_unit=None, idempotency_key="once")
            assert {finding.code for finding in first.findings} == {ErrorCode.NO_PREVIOUS_CONFIG}
            assert len(first.findings) == 2
            await rig.settles()
            assert await rig.try_create("t1", "t2", source_unit=None, idempotency_key="once") == first
            await rig.restart()
            assert await rig.try_create("t1", "t2", source_unit=None, idempotency_key="once") == first


async def test_the_same_idempotency_key_with_other_content_is_refused_before_any_other_check() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", idempotency_key="once")
        async with _Unchanged(rig):
            result = await rig.try_create("t1", "t1", idempotency_key="once")
        assert result.failure_info is not None
        assert result.failure_info.error_code is ErrorCode.IDEMPOTENCY_MISMATCH
        pointers = [item.pointer for item in result.difference]
        assert pointers[0] == "/spec/tenants/1"
        assert result.difference[0].stored is None
        assert TaskCreationResult.from_dict(result.to_dict()) == result


async def test_a_plan_that_only_spells_out_a_default_differs_in_nothing_that_can_be_shown() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", idempotency_key="once")
        result = await rig.try_create("t1", idempotency_key="once", onConflict="reject")
        assert not result.success
        assert result.difference == ()


async def test_the_same_key_at_the_same_instant_creates_one_plan() -> None:
    async with open_rig("A") as rig:
        results = await asyncio.gather(*(rig.try_create("t1", idempotency_key="once") for _ in range(5)))
        assert {(result.success, result.plan_id) for result in results} == {(True, 100)}
        assert len(await rig.facade.list_plans()) == 1


async def test_two_plans_for_one_tenant_at_the_same_instant_end_as_one_and_a_refusal() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        results = await asyncio.gather(*(rig.try_create("t1", plan_id=plan_id) for plan_id in (100, 101)))
        assert [result.success for result in results] == [True, False]
        refusal = results[1].failure_info
        assert refusal is not None
        assert refusal.error_code is ErrorCode.TENANT_CONFLICT
        rig.script.release("t1")
        await rig.settles()


# --- waiting ----------------------------------------------------------------------------------------------------------


async def test_wait_for_plan_returns_when_it_is_settled() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(100))
        await rig.entered("t1", "A")
        await rig.quiet()
        assert not waiting.done()
        rig.script.release("t1")
        assert (await waiting).status is PlanStatus.COMPLETED


async def test_wait_for_plan_returns_when_it_is_paused() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(100))
        await rig.do_plan("pause")
        await rig.quiet()
        assert not waiting.done()
        rig.script.release("t1", "A")
        assert (await waiting).status is PlanStatus.PAUSED


async def test_wait_for_plan_returns_when_all_that_is_unsettled_is_paused_or_held() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        await rig.do("pause", "t3")
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(100))
        await rig.quiet()
        assert not waiting.done()
        rig.script.release("t1", "A")
        info = await waiting
        assert info.status is PlanStatus.RUNNING
        assert await rig.statuses() == ["PAUSED", "COMPLETED", "PENDING"]


async def test_paused_and_cancelled_are_told_apart() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t2")
        await rig.do("cancel", "t3")
        held, gone = await rig.task("t2"), await rig.task("t3")
        assert (held.paused, held.cancelled) == (True, False)
        assert (gone.paused, gone.cancelled) == (False, True)
        assert gone.timestamps.ended is not None
        assert gone.timestamps.started is None
