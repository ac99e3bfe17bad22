"""From a plan file to a plan that exists, once: the same content given again is the plan that it made before."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from switchover.domain.task import PlanId
from switchover.errors import InvalidPlanError
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.findings import write_findings
from switchover.interfaces.cli.output import Format
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.refusals import refusal_of_content, refusal_of_file, refusal_of_plan

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings
    from switchover.dto import TaskCreationResult
    from switchover.interfaces.cli.service import Service
    from switchover.planfile import PlanFile

_MOST_ATTEMPTS = 10_000


async def read_plan(file: str, settings: "ExecutorSettings", output: Format) -> "PlanFile":
    """
    The plan file.

    Raises:
        CommandError: It is none; its findings are printed.
    """
    from switchover.planfile import load_plan

    try:
        return await asyncio.to_thread(load_plan, file, max_bytes=settings.plan_file_max_bytes)
    except InvalidPlanError as error:
        raise refusal_of_file(error, file, output) from error


async def check_for_a_new_store(
    place: Place, settings: "ExecutorSettings", plan_file: "PlanFile", output: Format
) -> None:
    """
    Where there is no database yet, a plan that is wrong by itself does not leave an empty one behind.

    Raises:
        CommandError: It is wrong; its findings are printed.
    """
    if place.served is not None or await place.exists():
        return
    from switchover.factory import PlanFactory
    from switchover.stages.catalogue import StageCatalogue

    factory = PlanFactory(settings, StageCatalogue())
    draft = await asyncio.to_thread(factory.read, plan_file.configs, plan_file.options, plan_file.metadata)
    findings = await asyncio.to_thread(factory.validate, draft)
    if any(finding.is_error for finding in findings):
        located = plan_file.locate(findings)
        raise refusal_of_content(located, len(draft.configs), place, plan_file.name, output)


async def submitted(
    service: "Service", place: Place, plan_file: "PlanFile", settings: "ExecutorSettings", output: Format, *, new: bool
) -> PlanId:
    """The plan of this file: the one that was created from the same content before, else a new one."""
    newest, attempts = await _attempts(service, await _digest(plan_file, settings))
    if newest is not None and not new:
        return newest
    result = await _created(service, place, plan_file, attempts.next_key, output)
    return PlanId(result.plan_id or 0)


async def submit(
    service: "Service", place: Place, plan_file: "PlanFile", settings: "ExecutorSettings", output: Format, *, new: bool
) -> "TaskCreationResult":
    """Like ``submitted``; what was said when the plan was created is said again."""
    newest, attempts = await _attempts(service, await _digest(plan_file, settings))
    key = attempts.next_key if new or newest is None else attempts.last_key
    return await _created(service, place, plan_file, key, output)


class _Attempts:
    """How often this content was submitted."""

    def __init__(self, digest: str, number: int) -> None:
        self._digest = digest
        self._number = number

    @property
    def last_key(self) -> str:
        return self.key(self._number)

    @property
    def next_key(self) -> str:
        return self.key(self._number + 1)

    def key(self, number: int) -> str:
        return f"run:{self._digest}" if number == 1 else f"run:{self._digest}:{number}"

    def one_more(self) -> None:
        self._number += 1


async def _attempts(service: "Service", digest: str) -> tuple[PlanId | None, _Attempts]:
    """The newest plan that was created from this content, and the keys before and after it."""
    newest: PlanId | None = None
    attempts = _Attempts(digest, 0)
    for _ in range(_MOST_ATTEMPTS):
        found = await service.store.find_idempotency(attempts.next_key)
        if found is None:
            return newest, attempts
        newest = found.plan_id
        attempts.one_more()
    raise CommandError(f"this file was submitted {_MOST_ATTEMPTS:,} times; give it a planId", ExitCode.REFUSED)


async def _digest(plan_file: "PlanFile", settings: "ExecutorSettings") -> str:
    from switchover.factory import PlanFactory
    from switchover.stages.catalogue import StageCatalogue

    factory = PlanFactory(settings, StageCatalogue())
    draft = await asyncio.to_thread(factory.read, plan_file.configs, plan_file.options, plan_file.metadata)
    return draft.digest


async def _created(
    service: "Service", place: Place, plan_file: "PlanFile", key: str, output: Format
) -> "TaskCreationResult":
    result = await service.facade.create_switch_task(
        plan_file.configs,
        options=plan_file.options,
        metadata=plan_file.metadata,
        idempotency_key=key,
    )
    located = replace(result, findings=plan_file.locate(result.findings))
    if result.plan_id is None:
        raise refusal_of_plan(located, place, plan_file.name, output)
    write_findings([finding for finding in located.findings if not finding.is_error], Format.TABLE, stderr=True)
    return located
