"""What is true after every commit, entry by entry: the explorer's judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.domain.events import Event, EventType
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.spi import Entry, SetLine, StopLine
from tests.stateful.grammar import PlanGrammar
from tests.stateful.oracle import Picture, after_stage

_T = EventType
_S = TaskStatus

_ENDS_A_REQUEST = frozenset(
    {
        _T.TASK_PAUSED,
        _T.TASK_RESUMED,
        _T.TASK_COMPLETED,
        _T.TASK_FAILED,
        _T.TASK_CANCELLED,
        _T.TASK_RETRY_STARTED,
        _T.TASK_ROLLING_BACK,
    }
)


class ViolationError(AssertionError):
    """Something happened that must never happen."""


def demand(fact: bool, *what: object) -> None:
    """Raise unless it is so."""
    if not fact:
        raise ViolationError(" | ".join(str(item) for item in what))


@dataclass(slots=True, eq=False)
class Watcher:
    """
    Follows the commits of all processes, in the order in which they take effect.

    Args:
        store: Read for who owns which lock.
        asked: Whether somebody's request about a task may be on its way.
        line_moves: Whether a stop or start of the line may be on its way.

    Attributes:
        jumps: The wall clock jumps in this schedule, so the distance of two timestamps says nothing.
    """

    store: MemoryExecutionStore
    asked: Callable[[TaskAggregate], bool]
    line_moves: Callable[[], bool]
    jumps: bool = False
    plans: dict[PlanId, PlanAggregate] = field(default_factory=dict[PlanId, PlanAggregate])
    tasks: dict[TaskKey, TaskAggregate] = field(default_factory=dict[TaskKey, TaskAggregate])
    grammars: dict[PlanId, PlanGrammar] = field(default_factory=dict[PlanId, PlanGrammar])
    events: dict[PlanId, list[Event]] = field(default_factory=dict[PlanId, list[Event]])
    generations: dict[TenantId, int] = field(default_factory=dict[TenantId, int])
    line: StopLine | None = None
    commits: int = 0
    on_entry: Callable[[Entry], None] | None = None
    """Told of each entry, in their order, when what it says holds."""

    def committed(self, batch: Sequence[Entry]) -> None:
        """Look at a batch that has just taken effect."""
        self.commits += 1
        touched: set[TenantId] = set()
        for entry in batch:
            self._new_plan(entry, touched)
            for plan in entry.plans:
                self.plans[plan.plan_id] = plan
            self._events(entry.events)
            for task in entry.tasks:
                touched.add(TenantId(task.tenant_id))
                self._task(task, entry)
            for change in entry.changes:
                if isinstance(change, SetLine):
                    self.line = change.line
            if self.on_entry is not None:
                self.on_entry(entry)
        for tenant_id in touched:
            self._tenant(tenant_id)
        for plan_id in {plan.plan_id for entry in batch for plan in entry.plans}:
            self._plan(plan_id)

    def _new_plan(self, entry: Entry, touched: set[TenantId]) -> None:
        new = entry.new_plan
        if new is None:
            return
        plan_id = new.plan.plan_id
        self.plans[plan_id] = new.plan
        stages: dict[int, Sequence[str]] = {made.task.key.ordinal: made.task.stage_names for made in new.tasks}
        self.grammars[plan_id] = PlanGrammar(plan_id, new.plan.total, stages)
        self.events[plan_id] = []
        for made in new.tasks:
            self.tasks[made.task.key] = made.task
            touched.add(TenantId(made.task.tenant_id))
            self._events(made.events)

    def _events(self, events: Sequence[Event]) -> None:
        for event in events:
            grammar = self.grammars[event.plan_id]
            grammar.read(event)
            self.events[event.plan_id].append(event)
            if self.jumps and event.key is not None:
                grammar.tasks[event.key.ordinal].heartbeat_after = None

    def _task(self, task: TaskAggregate, entry: Entry) -> None:
        before = self.tasks[task.key]
        self.tasks[task.key] = task
        demand(not before.status.is_terminal or task.status is before.status, "a terminal status changed", before, task)
        demand(task.retry_count <= self.plans[task.plan_id].rules.max_retry, "more retries than allowed", task)
        kinds = {event.type for event in entry.events if event.key == task.key}
        pending = before.pending_operation
        if pending is not None and task.pending_operation is not pending and not kinds & _ENDS_A_REQUEST:
            demand(self.asked(task), f"the pending {pending} was forgotten", before, task, kinds)
        self._boundary(before, task, kinds)

    def _boundary(self, before: TaskAggregate, task: TaskAggregate, kinds: set[EventType]) -> None:
        """After a stage comes what was asked for, and nothing else."""
        if before.status is _S.RUNNING and _T.TASK_STAGE_FAILED in kinds:
            ok = False
        elif before.status is _S.RUNNING and _T.TASK_STAGE_SUCCEEDED in kinds:
            ok = True
        else:
            return
        picture = Picture(plans=self.plans, tasks={**self.tasks, task.key: before}, line=self.line)
        skipped = [name for name in task.stage_names if name.startswith("skip")]
        expected = after_stage(picture, before, ok=ok, skipped=skipped)
        if task.status is not expected and not (self.line_moves() and _S.PAUSED in {task.status, expected}):
            demand(False, f"after the stage the task must be {expected}", before, task, kinds)

    def _tenant(self, tenant_id: TenantId) -> None:
        record = self.store._record(tenant_id)
        running = [task for task in self.tasks.values() if task.tenant_id == tenant_id and task.status.holds_slot]
        demand(len(running) <= 1, "two tasks of one tenant run", running)
        demand(not running or record.owner == running[0].key, "a task runs without its tenant's lock", record, running)
        if record.owner is not None:
            demand(self.tasks[record.owner].is_live, "a settled task owns a lock", record, self.tasks[record.owner])
        demand(record.generation >= self.generations.get(tenant_id, 0), "a generation fell", record)
        self.generations[tenant_id] = record.generation

    def _plan(self, plan_id: PlanId) -> None:
        plan = self.plans[plan_id]
        running = [task for task in self.tasks.values() if task.plan_id == plan_id and task.status.holds_slot]
        demand(len(running) <= plan.rules.max_concurrency, "more tasks run than the plan allows", plan, running)
        self.grammars[plan_id].rest()

    # Looking

    def live(self) -> list[TaskAggregate]:
        """Tasks that have not settled."""
        return [task for task in self.tasks.values() if task.is_live]
