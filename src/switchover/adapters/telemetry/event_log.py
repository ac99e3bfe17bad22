"""Every event, as a line of the log: a failure is a warning, a heartbeat is for whoever looks for a defect."""

from collections.abc import Iterable, Sequence

from switchover.domain.events import Event, EventType
from switchover.domain.task import TaskAggregate
from switchover.logs import Log, get_log
from switchover.spi import Entry

_log = get_log("switchover.events")


class EventLog:
    """An observer of commits."""

    def committed(self, entries: Sequence[Entry], seconds: float) -> None:
        """One line for each event that is durable now."""
        del seconds
        for entry in entries:
            for event in entry.events:
                _tell(event, entry.tasks)


def _tell(event: Event, tasks: Iterable[TaskAggregate]) -> None:
    failure = event.failure_info
    values: dict[str, object] = {"status": str(event.status), "completed": event.completed, "total": event.total}
    stage = event.data.get("stage")
    if stage is not None:
        values["stage"] = stage
    if failure is not None:
        point = failure.failed_at
        if point is not None and point.stage is not None:
            values.update(stage=point.stage, step=point.step)
        values.update(error_code=str(failure.error_code), error=failure.message)
    log = _about(event, tasks)
    if failure is not None:
        log.warning(str(event.type), **values)
    elif event.type is EventType.TASK_HEARTBEAT:
        log.debug(str(event.type), **values)
    else:
        log.info(str(event.type), **values)


def _about(event: Event, tasks: Iterable[TaskAggregate]) -> Log:
    task = next((task for task in tasks if task.key == event.key), None)
    if task is not None:
        return _log.about(task)
    if event.key is None:
        return _log.bind(plan_id=event.plan_id)
    return _log.bind(plan_id=event.plan_id, task_id=event.task_id, tenant_id=event.tenant_id)
