"""Whether the server lives, and whether it is ready: for load balancers, without a token."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from switchover.errors import StorageError
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.parameters import executor_of

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> Response:
    """Say that this process answers."""
    return answer({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Say whether the store can be reached and, where this process drives it, whether it still may."""
    executor = executor_of(request)
    failure = executor.driver_failure
    try:
        await executor.store.change_token()
    except StorageError as error:
        failure = error
    if failure is not None:
        return answer({"status": "unready", "reason": failure.message}, HTTPStatus.SERVICE_UNAVAILABLE)
    return answer({"status": "ok", "driving": executor.driving})
