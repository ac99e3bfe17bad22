"""Forgetting events of plans that ended: what would be forgotten, and doing it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from switchover.domain.durations import DURATION_PATTERN, parse_duration
from switchover.errors import ErrorCode
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.bodies import MOST_SECONDS, PruneRequest, body_of, read_as
from switchover.interfaces.rest.parameters import facade_of, principal_of
from switchover.interfaces.rest.problems import malformed
from switchover.interfaces.rest.reach import check_everyone
from switchover.interfaces.rest.schemas import PruneReport

router = APIRouter(tags=["events"])

OlderThan = Annotated[
    str,
    Query(
        alias="olderThan",
        max_length=32,
        pattern=DURATION_PATTERN,
        description="Of plans that ended longer ago, such as 720h.",
    ),
]
_WHAT = "the history of all plans"


@router.get("/events/prunable", response_model=PruneReport)
async def prunable_events(request: Request, older_than: OlderThan) -> Response:
    """Say which events `prune` would forget, without doing it."""
    check_everyone(principal_of(request), _WHAT)
    return answer((await facade_of(request).prunable(seconds_of(older_than))).to_dict())


@router.post("/events/prune", response_model=PruneReport, openapi_extra=body_of(PruneRequest))
async def prune_events(request: Request) -> Response:
    """Forget the events of plans that ended long ago, but for the newest of each; how everything stands is kept."""
    check_everyone(principal_of(request), _WHAT)
    given = await read_as(request, PruneRequest)
    facade = facade_of(request)
    by = facade.acting_as(reason=given.reason or facade.reason)
    return answer((await by.prune_ended(given.older_than)).to_dict())


def seconds_of(text: str) -> float:
    """
    The duration.

    Raises:
        ProblemError: 400.
    """
    try:
        return min(parse_duration(text), float(MOST_SECONDS))
    except ValueError as error:
        raise malformed(ErrorCode.INVALID_PARAMETER, f"olderThan: {error}", parameter="olderThan") from error
