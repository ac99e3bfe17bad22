"""What a refusal says: that the verb does not apply, and which one would."""

from datetime import UTC, datetime

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, PlanId, StageMark, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.domain.verbs import VerbFacts, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def task(status: TaskStatus, *, held: bool = False, previous: bool = True) -> TaskAggregate:
    return TaskAggregate(
        key=TaskKey(PlanId(100), 1),
        tenant_id=TenantId("acme"),
        status=status,
        stage_names=("a", "b"),
        marks=(StageMark.STARTED, StageMark.NONE),
        created_at=NOW,
        updated_at=NOW,
        previous_known=previous,
        held=held,
    )


@pytest.mark.parametrize(
    ("found", "asked", "plan", "hint"),
    [
        (task(TaskStatus.FAILED), Operation.CANCEL, PlanStatus.PARTIAL_FAILED, "possible now: retry, rollback"),
        (task(TaskStatus.FAILED), Operation.PAUSE, PlanStatus.ROLLBACK_FAILED, "possible now: rollback"),
        (task(TaskStatus.FAILED, previous=False), Operation.PAUSE, PlanStatus.FAILED, "possible now: retry"),
        (task(TaskStatus.COMPLETED), Operation.RETRY, PlanStatus.COMPLETED, "possible now: rollback"),
        (task(TaskStatus.COMPLETED, previous=False), Operation.RETRY, PlanStatus.COMPLETED, "nothing else to ask"),
        (task(TaskStatus.CANCELLED), Operation.RESUME, PlanStatus.CANCELLED, "possible now: rollback"),
        (task(TaskStatus.ROLLED_BACK), Operation.RETRY, PlanStatus.ROLLED_BACK, "nothing else to ask"),
        (task(TaskStatus.PENDING), Operation.RESUME, PlanStatus.RUNNING, "possible now: pause, cancel"),
        (task(TaskStatus.PENDING, held=True), Operation.RETRY, PlanStatus.RUNNING, "possible now: resume, cancel"),
        (task(TaskStatus.RUNNING), Operation.RESUME, PlanStatus.RUNNING, "possible now: pause, cancel, rollback"),
    ],
)
def test_a_refusal_names_what_would_be_accepted_and_change_something(
    found: TaskAggregate, asked: Operation, plan: PlanStatus, hint: str
) -> None:
    facts = VerbFacts(plan_status=plan)
    verdict = decide(found, asked, facts)
    assert not verdict.accepted
    assert hint in verdict.message
    for verb in hint.partition("possible now: ")[2].split(", "):
        assert not verb or decide(found, Operation(verb), facts).accepted
