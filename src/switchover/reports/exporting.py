"""
Everything about one plan as one JSON document, written as it is read: memory does not grow with the plan.

Passwords inside URLs are taken out, wherever they stand.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import orjson

from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import StageMark, TaskAggregate, wire_timestamp
from switchover.domain.wire import config_to_dict
from switchover.dto import PlanStatusInfo, TaskStatusInfo
from switchover.dto.details import rules_to_dict
from switchover.redaction import redacted

if TYPE_CHECKING:
    from switchover.bootstrap import Executor
    from switchover.spi import StoredTask

FORMAT = "switchover-export/1"

_PAGE = 200


async def export_document(executor: "Executor", plan: PlanAggregate) -> AsyncIterator[bytes]:
    """The document, in pieces."""
    head = {"format": FORMAT, "exportedAt": wire_timestamp(executor.clock.now()), "plan": _plan(plan)}
    yield redacted(orjson.dumps(head, option=orjson.OPT_INDENT_2))[:-2]
    yield b',\n  "tasks": ['
    first = True
    after = 0
    while page := await executor.store.list_tasks(plan.plan_id, statuses=None, after=after, limit=_PAGE):
        after = page[-1].key.ordinal
        for stored in await executor.store.load_tasks([task.key for task in page]):
            yield _item(await _task(executor, stored), first=first)
            first = False
    yield b'\n  ],\n  "events": ['
    first = True
    # What is committed while we read belongs to it: events are the last, so that no task is ahead of its events.
    oldest = await executor.store.load_events(plan.plan_id, 0, 1)
    kept_since = oldest[0].position - 1 if oldest else 0
    async for event in executor.events(plan.plan_id, kept_since, follow=False):
        yield _item(event.to_dict(), first=first)
        first = False
    yield b"\n  ]\n}\n"


def _item(value: object, *, first: bool) -> bytes:
    return (b"\n    " if first else b",\n    ") + redacted(orjson.dumps(value))


def _plan(plan: PlanAggregate) -> dict[str, object]:
    return {
        **PlanStatusInfo.of(plan).to_dict(),
        "name": plan.name,
        "labels": dict(plan.labels),
        "planVersion": plan.plan_version,
        "cancelled": plan.cancelled,
        "run": plan.run,
        "position": plan.position,
        "rules": rules_to_dict(plan.rules),
    }


async def _task(executor: "Executor", stored: "StoredTask") -> dict[str, object]:
    task = stored.task
    return {
        **TaskStatusInfo.of(task).to_dict(),
        "lockHeld": task.lock_held,
        "held": task.held,
        "stages": [await _stage(executor, task, index) for index in range(len(task.marks))],
        "config": config_to_dict(stored.config),
        "previousConfig": None if stored.previous is None else config_to_dict(stored.previous),
    }


async def _stage(executor: "Executor", task: TaskAggregate, index: int) -> dict[str, object]:
    name, mark = task.stage_names[index], StageMark(task.marks[index])
    images: Sequence[PreImage] = ()
    if mark & StageMark.STARTED:
        images = await executor.store.load_pre_images(task.key, name)
    return {
        "name": name,
        "marks": [str(flag.name) for flag in StageMark if flag and flag in mark],
        "preImages": [_image(image) for image in images],
    }


def _image(image: PreImage) -> dict[str, object]:
    """What a target held; text as text, anything else in base64, and null where there was nothing."""
    if image.value is None:
        return {"key": image.key, "value": None}
    try:
        return {"key": image.key, "value": image.value.decode()}
    except UnicodeDecodeError:
        return {"key": image.key, "base64": b64encode(image.value).decode()}
