"""
Whether the process lives, and whether it can do its work: for load balancers and service managers, without a token.

The two are different questions. Whatever does not live has to be started again; what is not ready only gets no requests
until it is, and a start would not help: the store would still be away.
"""

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from switchover.bootstrap import Executor
from switchover.errors import ErrorCode, StorageError
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.contract import refusals
from switchover.interfaces.rest.parameters import executor_of
from switchover.interfaces.rest.problems import ProblemError
from switchover.interfaces.rest.schemas import Alive, Ready

router = APIRouter(tags=["health"])

_PATIENCE_SECONDS = 5.0


@router.get("/livez", response_model=Alive)
async def livez() -> Response:
    """Say that this process answers."""
    return answer({"status": "ok"})


@router.get("/readyz", response_model=Ready, responses=refusals([HTTPStatus.SERVICE_UNAVAILABLE]))
async def readyz(request: Request) -> Response:
    """Say whether the store is there and driven, by this process or by another one; if not, why."""
    if request.app.state.streams.closing:
        raise _unready(ErrorCode.STOPPING, "this process has been told to stop; ask another one")
    executor = executor_of(request)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await _check(executor)
    except StorageError as error:
        raise _unready(error.code, error.message) from error
    except TimeoutError as error:
        message = f"the store has not answered for {_PATIENCE_SECONDS:g} s; look at what it runs on"
        raise _unready(ErrorCode.STORE_UNAVAILABLE, message) from error
    return answer({"status": "ok", "driving": executor.driving})


async def _check(executor: Executor) -> None:
    if executor.driver_failure is not None:
        raise executor.driver_failure
    outage = executor.store_outage
    if outage is not None:
        message = f"the store has taken no commits since {outage.since:%Y-%m-%dT%H:%M:%SZ}: {outage.reason}"
        raise _unready(ErrorCode.STORE_UNAVAILABLE, message)
    await executor.store.change_token()
    if not executor.driving:
        driver = await executor.driver()
        if driver is None or not driver.alive:
            last = "nobody ever drove it" if driver is None else f"the last one, {driver.owner}, is gone"
            message = f"no process drives the store ({last}); start one: `switchover serve` without --no-drive"
            raise _unready(ErrorCode.NOT_DRIVEN, message)


def _unready(code: ErrorCode, message: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, code, message, headers={"Retry-After": "1"})
