"""Parameters that routes share, and opaque cursors."""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, cast

from fastapi import Path, Query, Request

from switchover.access.control import actor_of
from switchover.access.reach import PlanReach
from switchover.bootstrap import Executor
from switchover.domain.access import Principal
from switchover.domain.audit import Actor
from switchover.domain.task import LARGEST_ID, TaskStatus
from switchover.errors import ErrorCode
from switchover.facade import DeploymentTaskFacade
from switchover.interfaces.rest.bodies import Reason
from switchover.interfaces.rest.problems import malformed

MOST_ITEMS = 1_000
REASON_HEADER = "X-Switchover-Reason"


class View(StrEnum):
    """How much is said about plans and tasks."""

    STATUS = "status"
    FULL = "full"


PlanNumber = Annotated[int, Path(alias="planId", ge=0, le=LARGEST_ID, description="Id of the plan.", examples=[100])]
TaskText = Annotated[
    str, Path(alias="taskId", min_length=1, max_length=128, description="Id of the task.", examples=["100-7"])
]
TenantText = Annotated[
    str, Path(alias="tenantId", min_length=1, max_length=128, description="Id of the tenant.", examples=["acme"])
]
Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="At most so many items.")]
Cursor = Annotated[
    str | None, Query(max_length=64, description="`nextCursor` of the page before; opaque, and good for ever.")
]
FullView = Annotated[View, Query(description="`full` adds `detail`: rules, stages and what else is recorded.")]
Statuses = Annotated[
    list[TaskStatus] | None, Query(description="Only tasks in this status; may be given more than once.")
]


def executor_of(request: Request) -> Executor:
    """What is served."""
    return cast("Executor", request.app.state.executor)


def reach_of(request: Request) -> PlanReach:
    """Which plans somebody sees who is limited to some tenants."""
    return cast("PlanReach", request.app.state.reach)


def actor_of_request(request: Request) -> Actor:
    """Who calls, as the audit log knows them."""
    client = request.client
    return actor_of(principal_of(request), origin="" if client is None else client.host, via="api")


def reason_of(request: Request, given: Reason) -> str:
    """Why somebody asks: as the body says, else as the header ``X-Switchover-Reason`` does."""
    return given.reason or header_reason(request)


def header_reason(request: Request) -> str:
    """What the header says, where a body has no room for it."""
    return request.headers.get(REASON_HEADER, "").encode("latin-1").decode("utf-8", "replace")


def facade_of(request: Request) -> DeploymentTaskFacade:
    """What carries requests out for whoever calls, with the reason of the header."""
    return executor_of(request).facade.acting_as(actor_of_request(request), reason=header_reason(request))


def principal_of(request: Request) -> Principal:
    """Who calls; the guard has said so."""
    return cast("Principal", request.state.principal)


def cursor_of(value: int) -> str:
    """An opaque cursor behind which the next page begins."""
    return urlsafe_b64encode(f"1:{value}".encode()).decode().rstrip("=")


def behind(cursor: str | None) -> int | None:
    """
    What a cursor stands for.

    Raises:
        ProblemError: It is none of ours.
    """
    if cursor is None:
        return None
    try:
        kind, _, number = (
            b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii").partition(":")
        )
        value = int(number)
    except ValueError:
        kind, value = "", -1
    if kind != "1" or not 0 <= value <= LARGEST_ID:
        message = "cursor: take `nextCursor` of the page before as it is, or leave it out"
        raise malformed(ErrorCode.INVALID_PARAMETER, message, parameter="cursor")
    return value


def page(items: Sequence[object], next_cursor: int | None) -> dict[str, object]:
    """A page of a list."""
    return {"items": list(items), "nextCursor": None if next_cursor is None else cursor_of(next_cursor)}
