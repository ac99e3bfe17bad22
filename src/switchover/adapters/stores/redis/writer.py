"""
One batch of entries as calls of the commit script.

The rules about tenants are decided here, in the book that all stores share: this process alone commits, and the script
refuses when anything was committed since (``number``), so what was read cannot have changed. All other conditions are
checked by the script itself.

A new plan is laid ready before, in calls of bounded size: nobody sees it until the last call, the commit, publishes it
together with everything else. A process that dies in between leaves what the next driver sweeps away.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from switchover.adapters.stores.access_codec import audit_values
from switchover.adapters.stores.batch import Batch, does_not_follow
from switchover.adapters.stores.codec import encode_config, encode_json
from switchover.adapters.stores.redis.lease import LEASE_SECONDS
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.stage_lists import StageLists
from switchover.adapters.stores.redis.steps import Steps
from switchover.adapters.stores.redis.tenants import TenantShelf, blob
from switchover.adapters.stores.redis.values import (
    encode_definition,
    encode_event,
    encode_hold,
    encode_plan,
    encode_task,
    end_key,
    image_place,
    mark_of,
    sort_key,
)
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import StoreConflictError
from switchover.spi import Entry, Hold, NewPlan, NewTask, StopLine

_AT_ONCE: Final = 250
"""Tasks of a new plan that are laid ready in one call."""

_PART_MILLISECONDS: Final = 25
"""How long the script takes for one part of the tenants, on a slow server."""

_LARGEST_ORDINAL: Final = 100_000_000

Stage = Callable[[Steps], Awaitable[None]]


@dataclass(slots=True)
class _Created:
    """A plan that the batch brings; ``plan`` as it will be published."""

    plan: PlanAggregate
    idempotency: tuple[str, str] | None


class BatchWriter:
    """
    Makes the operations of one batch.

    Args:
        stage: Lays operations ready; raises when the script refuses them.

    Attributes:
        has_staged: Something may have been laid ready.
    """

    def __init__(self, server: Server, stage_lists: StageLists, stage: Stage) -> None:
        self._stage_lists = stage_lists
        self._stage = stage
        self._shelf = TenantShelf(server)
        self._batch = Batch()
        self._created: dict[PlanId, _Created] = {}
        self._last_arrival = 0
        self.has_staged = False

    @property
    def granted(self) -> tuple[TaskKey, ...]:
        """The waiting tasks that own their tenant's lock when the batch is through."""
        return tuple(self._shelf.book.granted)

    async def prepare(self, batch: Sequence[Entry]) -> Steps:
        """
        Lay ready what is large, and make the operations of the commit itself.

        Raises:
            StoreConflictError: As the SPI says; what the script alone can know, it checks later.
        """
        for entry in batch:
            if entry.new_plan is not None:
                await self._change_tenants()
                await self._stage_plan(entry.new_plan)
            self._batch.add(entry)
        await self._change_tenants()
        steps = Steps()
        self._publish(steps)
        await self._update_aggregates(steps)
        self._write_events(steps)
        self._write_facts(steps)
        self._write_rest(steps)
        await self._write_tenants(steps)
        self._check_named(steps)
        return steps

    # New plans

    async def _stage_plan(self, new: NewPlan) -> None:
        plan = new.plan
        plan_id = plan.plan_id
        self._batch.check_is_new(plan_id)
        if plan_id in self._created:
            raise StoreConflictError(f"plan {plan_id} exists already; take another id")
        idempotency = None
        if new.idempotency_key is not None:
            kept = (plan_id, new.content_digest, new.findings.decode("latin-1"))
            idempotency = (new.idempotency_key, encode_json(kept))
        self._created[plan_id] = _Created(plan, idempotency)
        self.has_staged = True
        steps = Steps()
        steps.add("B", plan_id)
        await self._stage(steps)
        chunk: list[NewTask] = []
        for task in new.tasks:
            chunk.append(task)
            if len(chunk) == _AT_ONCE:
                await self._stage_tasks(plan_id, chunk)
                chunk.clear()
        if chunk:
            await self._stage_tasks(plan_id, chunk)

    async def _stage_tasks(self, plan_id: PlanId, chunk: Sequence[NewTask]) -> None:
        await self._shelf.load(new.task.tenant_id for new in chunk)
        steps = Steps()
        for new in chunk:
            task = new.task
            key = task.key
            if key.plan_id != plan_id or not 0 < key.ordinal <= _LARGEST_ORDINAL:
                message = f"task {key.task_id} does not belong into plan {plan_id}"
                raise StoreConflictError(message)
            if task.tenant_id.split() != [task.tenant_id]:
                message = f"task {key.task_id}: the tenant id {task.tenant_id!r} has a space in it"
                raise StoreConflictError(message)
            self._shelf.arrive(task)
            self._last_arrival = max(self._last_arrival, task.arrival)
            row = encode_task(task, await self._stage_lists.number(task.stage_names))
            steps.add("N", plan_id, key.ordinal, row, encode_config(new.config), mark_of(task))
            self._batch.runs.add(new.events)
            for event in new.events:
                _add_event(steps, event)
        self._shelf.put_back()
        await self._stage(steps)

    def _publish(self, steps: Steps) -> None:
        for plan_id, created in self._created.items():
            plan = created.plan
            changed = self._batch.plans.pop(plan_id, None)
            if changed is not None:
                first, last = changed
                if first != plan.version + 1:
                    raise does_not_follow(f"plan {plan_id}", plan.version, first)
                plan = last
            values = (sort_key(plan_id), encode_plan(plan), encode_definition(created.plan))
            steps.add("P", plan_id, *values, _flag(plan.unsettled), end_key(plan))
            if created.idempotency is not None:
                steps.add("I", *created.idempotency, about=created.idempotency[0])
        if self._last_arrival:
            steps.add("V", self._last_arrival)

    # Tenants

    async def _change_tenants(self) -> None:
        touched = self._batch.touched_tenants
        if touched:
            await self._shelf.load(touched)
            self._batch.change_tenants(self._shelf.book)
            self._shelf.put_back()

    async def _write_tenants(self, steps: Steps) -> None:
        parts = self._shelf.written()
        first, second = next(parts, None), next(parts, None)
        if first is None:
            return
        if second is None:
            steps.extend(first)
            return
        number = 0
        for part in chain((first, second), parts):
            laid = Steps()
            laid.add("L", blob(part))
            await self._stage(laid)
            self.has_staged = True
            number += 1
        steps.add("M", number, int(LEASE_SECONDS * 1_000) + number * _PART_MILLISECONDS)

    # What was collected

    async def _update_aggregates(self, steps: Steps) -> None:
        for plan_id, (first, plan) in self._batch.plans.items():
            values = (first - 1, encode_plan(plan), _flag(plan.unsettled), end_key(plan))
            steps.add("W", plan_id, *values, about=f"plan {plan_id}", written=first)
        for key, (first, task) in self._batch.tasks.items():
            row = encode_task(task, await self._stage_lists.number(task.stage_names))
            steps.add("T", *key, first - 1, row, mark_of(task), about=f"task {key.task_id}", written=first)

    def _write_events(self, steps: Steps) -> None:
        for event, _ in self._batch.named_events():
            _add_event(steps, event)
        for plan_id in self._batch.plans_of_events - self._created.keys():
            steps.add("A", plan_id)
        for _, of_plan, position, length in self._batch.runs.numbered(0):
            steps.add("O", of_plan, position - length + 1, length)

    def _write_facts(self, steps: Steps) -> None:
        batch = self._batch
        for tenant_id, config in batch.known_good.items():
            steps.add("S", "known_good", tenant_id, encode_config(config))
        for key, previous in batch.previous.items():
            batch.named.add(key)
            steps.add("F", f"plan:{key.plan_id}:previous", key.ordinal, encode_config(previous))
        for keep in batch.pre_images:
            value = keep.pre_image.value
            sign = "-" if value is None else "+"
            place = image_place(keep.key.ordinal, keep.stage)
            steps.add("G", *keep.key, place, keep.pre_image.key, sign, value or b"")

    def _write_rest(self, steps: Steps) -> None:
        batch = self._batch
        for tenant_id, hold in batch.holds.items():
            _put_hold(steps, "holds", tenant_id, hold)
        for line in batch.line:
            _put_hold(steps, "meta", "line", line)
        for answer in batch.answers:
            steps.add("Q", answer.request_id, answer.answer)
        for entry in batch.audit:
            steps.add("U", encode_json(audit_values(entry)))
        for prune in batch.prunes:
            steps.add("R", prune.plan_id, prune.through)

    def _check_named(self, steps: Steps) -> None:
        """Changes name tasks; whatever the batch itself wrote is known to exist, the rest must."""
        for key in sorted(self._batch.named - self._batch.tasks.keys()):
            steps.add("K", *key)


def _add_event(steps: Steps, event: Event) -> None:
    ordinal = 0 if event.key is None else event.key.ordinal
    numbers = (event.plan_id, ordinal, event.sequence_id, event.position)
    steps.add("E", *numbers, encode_event(event), about=event.event_id, written=event.sequence_id)


def _put_hold(steps: Steps, key: str, field: str, hold: Hold | StopLine | None) -> None:
    if hold is None:
        steps.add("D", key, field)
    else:
        steps.add("S", key, field, encode_hold(hold))


def _flag(number: int) -> str:
    return "1" if number else "0"
