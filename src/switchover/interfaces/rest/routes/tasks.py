"""Tasks: look, and why."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from switchover.bootstrap import Executor
from switchover.domain.access import Principal
from switchover.domain.task import TaskAggregate, TaskKey
from switchover.interfaces.rest.answers import POLLED, answer, polled
from switchover.interfaces.rest.parameters import FullView, TaskText, View, executor_of, page, principal_of
from switchover.interfaces.rest.problems import unknown
from switchover.interfaces.rest.reach import check_task_is_seen
from switchover.interfaces.rest.routes.plans import shown_task
from switchover.interfaces.rest.schemas import Explanation, Page, Place, Task, TaskInFull

router = APIRouter(tags=["tasks"])


async def known_task(executor: Executor, principal: Principal, task_id: str) -> TaskAggregate:
    """
    The task of this id.

    Raises:
        ProblemError: 404 for an id that nobody knows, 403 when its tenant is out of reach.
    """
    key = TaskKey.parse(task_id)
    found = await executor.store.load_tasks([key]) if key is not None else ()
    if not found:
        raise unknown((await executor.facade.query_task_status(task_id)).failure_info, f"task {task_id!r}")
    task = found[0].task
    check_task_is_seen(principal, task)
    return task


@router.get("/tasks/{taskId}", response_model=TaskInFull | Task, responses=POLLED)
async def get_task(request: Request, task_id: TaskText, view: FullView = View.STATUS) -> Response:
    """Show one task."""
    task = await known_task(executor_of(request), principal_of(request), task_id)
    return polled(request, shown_task(task, view))


@router.get("/tasks/{taskId}/explanation", response_model=Explanation, responses=POLLED)
async def explain_task(request: Request, task_id: TaskText) -> Response:
    """Say why a task stands where it stands: the one cause, and the next move."""
    executor = executor_of(request)
    await known_task(executor, principal_of(request), task_id)
    found = await executor.facade.explain_task(task_id)
    if found is None:
        raise unknown(None, f"task {task_id!r}")
    return polled(request, found.to_dict())


@router.get("/tasks/{taskId}/observation", response_model=Page[Place])
async def observe_task(request: Request, task_id: TaskText) -> Response:
    """Look at the task's targets: what was there before, what the switch writes, what is there now."""
    executor = executor_of(request)
    await known_task(executor, principal_of(request), task_id)
    reports = await executor.observe(task_id)
    if reports is None:
        raise unknown(None, f"task {task_id!r}")
    return answer(page([report.to_dict() for report in reports], None))
