"""Every write is in the audit log, in its own commit: who, from where, what, why, and what came of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pytest

from switchover import open_executor
from switchover.bootstrap import local_actor
from switchover.domain.audit import EVERYTHING, UNKNOWN_ACTOR, Actor, AuditEntry, Outcome
from switchover.domain.task import TargetType
from switchover.facade import DeploymentTaskFacade
from switchover.operations import OperationRequest
from switchover.spi import AccessStore, AppendAudit, Entry, SetHold
from switchover.testing.health import ScriptedHealthCheckClient
from switchover.testing.samples import SAMPLE_MOMENT
from tests.support.harness import Rig, open_rig

DANA = Actor(name="dana", kind="token", origin="10.0.0.9", via="api")


async def log(access: AccessStore) -> list[AuditEntry]:
    """Oldest first."""
    return [record.entry for record in reversed(await access.list_audit(EVERYTHING, before=None, limit=1_000))]


def facade(rig: Rig, reason: str = "") -> DeploymentTaskFacade:
    return rig.facade.acting_as(DANA, reason=reason)


async def test_a_creation_is_told_with_who_why_and_what_came_of_it() -> None:
    async with open_rig("A") as rig:
        plain = {"deployUnitId": 2, "deployUnitVersion": 2}
        created = await facade(rig, "CHG-1").create_switch_task(
            [{"tenantId": "t1", **plain}, {"tenantId": "t2", **plain}], idempotency_key="k"
        )
        again = await facade(rig).create_switch_task(
            [{"tenantId": "t1", **plain}, {"tenantId": "t2", **plain}], idempotency_key="k"
        )
        refused = await facade(rig).create_switch_task([{"tenantId": "t3", "deployUnitId": "2"}])
        assert (created.success, again.success, refused.success) == (True, True, False)
        first, second, third = await log(rig.store.access)
        assert (first.actor, first.verb, first.target, first.reason) == (DANA, "create", str(created.plan_id), "CHG-1")
        assert (first.outcome, first.details) == ("accepted", {"tasks": 2})
        assert second.details == {"tasks": 2, "repeated": True}
        assert refused.failure_info is not None
        assert (third.outcome, third.code, third.target) == ("refused", refused.failure_info.error_code, "")
        assert third.details["tenants"] == ["t3"]


async def test_an_entry_is_in_the_same_commit_as_its_write() -> None:
    async with open_rig("A") as rig:
        await facade(rig).hold_tenant("t9", "look first")
        (entry,) = [entry for entry in rig.store.entries if any(isinstance(c, SetHold) for c in entry.changes)]
        (told,) = [change.entry for change in entry.changes if isinstance(change, AppendAudit)]
        assert (told.verb, told.target_type, told.target, told.reason) == ("hold", "TENANT", "t9", "look first")
        await rig.create("t1")
        (creating,) = [entry for entry in rig.store.entries if entry.new_plan is not None]
        assert [c.entry.verb for c in creating.changes if isinstance(c, AppendAudit)] == ["create"]


async def test_every_verb_and_every_refusal_is_told() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        told = len(await log(rig.store.access))
        asked: Sequence[tuple[str, TargetType, str]] = [
            ("pause", TargetType.PLAN, "100"),
            ("pause", TargetType.TENANT, "t1"),
            ("resume", TargetType.TENANT, "nobody"),
            ("cancel", TargetType.TASK, "100-9999"),
            ("retry", TargetType.TENANT, "t1"),
            ("retry", TargetType.PLAN, "999"),
            ("adopt", TargetType.TENANT, "nobody"),
            ("adopt", TargetType.PLAN, "999"),
            ("hold", TargetType.TENANT, "t9"),
            ("hold", TargetType.TENANT, "t9"),
            ("unhold", TargetType.TENANT, "t9"),
            ("unhold", TargetType.TENANT, "t9"),
            ("start-line", TargetType.LINE, ""),
            ("stop-line", TargetType.LINE, ""),
            ("stop-line", TargetType.LINE, ""),
            ("start-line", TargetType.LINE, ""),
            ("rollback", TargetType.PLAN, "100"),
        ]
        for verb, target_type, target in asked:
            request = OperationRequest(verb=verb, target_type=target_type, target=target)
            result = await facade(rig, "because")._operate(request)
            entries = await log(rig.store.access)
            told += 1
            assert len(entries) == told
            entry = entries[-1]
            assert (entry.verb, entry.target_type, entry.target) == (verb, target_type, target or "line")
            assert (entry.actor, entry.reason) == (DANA, "because")
            assert (entry.outcome == "accepted") is result.success
            assert entry.code == (None if result.failure_info is None else result.failure_info.error_code)
            assert entry.message == result.message
        rig.script.release("t1", "A")


async def test_a_request_to_another_process_carries_who_asks(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    async with (
        open_executor(url, health_client=ScriptedHealthCheckClient()) as driver,
        open_executor(url, mode="record") as other,
    ):
        assert driver.driving
        assert not other.driving
        asking = other.facade.acting_as(DANA, reason="CHG-2")
        await asking.hold_tenant("t1", "mine")
        await asking.create_switch_task([{"tenantId": "t1", "deployUnitId": 1, "deployUnitVersion": 1}])
        await asking.cancel_task("7-7")
        entries = await log(driver.store.access)
        assert [(entry.verb, entry.outcome, entry.reason) for entry in entries] == [
            ("hold", "accepted", "mine"),
            ("create", "refused", "CHG-2"),
            ("cancel", "refused", "CHG-2"),
        ]
        assert {entry.actor for entry in entries} == {DANA}


async def test_a_plan_that_cannot_even_be_handed_over_is_told_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    async with open_executor(url) as driver, open_executor(url, mode="record") as other:
        refused = await other.facade.acting_as(DANA).create_switch_task([{"tenantId": object()}])
        assert not refused.success
        (entry,) = await log(driver.store.access)
        assert (entry.actor, entry.verb, entry.outcome) == (DANA, "create", "refused")


async def test_a_request_that_an_older_program_left_is_carried_out_for_an_unknown_actor(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    async with open_executor(url) as executor:
        old: Mapping[str, object] = {"targetType": "TENANT", "target": "t1", "fromCheckpoint": True, "reason": "r"}
        number = await executor.store.put_request("hold", orjson.dumps(old))
        broken = await executor.store.put_request("hold", b"{}")
        while (request := await executor.store.load_request(broken)) is None or request.answer is None:
            await executor.clock.sleep(0.01)
        answered = await executor.store.load_request(number)
        assert answered is not None
        assert answered.answer is not None
        held, failed = await log(executor.store.access)
        assert (held.actor, held.verb, held.target, held.outcome) == (UNKNOWN_ACTOR, "hold", "t1", "accepted")
        assert (failed.code, failed.outcome) == ("INTERNAL_ERROR", "refused")


async def test_a_program_of_ones_own_acts_as_the_user_that_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "dana")
    async with open_executor("memory://") as executor:
        await executor.facade.hold_tenant("t1", "why")
        (entry,) = await log(executor.store.access)
        assert entry.actor == local_actor("library")
        assert entry.actor.name.startswith("dana@")
    monkeypatch.setattr("getpass.getuser", _nobody)
    assert local_actor("cli").name.startswith("uid")


def _nobody() -> str:
    raise KeyError("no such user")


async def test_a_large_plan_tells_of_each_of_its_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchover.engine.orchestrator._CHUNK", 2)
    async with open_rig("A") as rig:
        await facade(rig).stop_line("first")
        await rig.create(*(f"t{number}" for number in range(5)))
        await facade(rig, "enough").cancel_task_by_plan(100)
        entries = [entry for entry in await log(rig.store.access) if entry.verb == "cancel"]
        assert [entry.details["accepted"] for entry in entries] == [2, 4, 5]
        cancelling = [entry for entry in rig.store.entries if _tells_of(entry, "cancel")]
        assert [len(entry.tasks) for entry in cancelling] == [2, 2, 1]


def _tells_of(entry: Entry, verb: str) -> bool:
    return any(isinstance(change, AppendAudit) and change.entry.verb == verb for change in entry.changes)


def test_an_entry_holds_no_novel() -> None:
    entry = AuditEntry(
        at=SAMPLE_MOMENT,
        actor=DANA,
        verb="hold",
        target_type="TENANT",
        target="t",
        outcome=Outcome.REFUSED,
        reason="x" * 9_999,
    )
    assert len(entry.reason) == 2_001
