"""``/metrics``, and the counting of requests."""

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchover.adapters.telemetry.metrics import Metrics
from switchover.interfaces.rest.contract import ANY_CALL, refusals
from switchover.interfaces.rest.guard import BEARER, guard
from switchover.interfaces.rest.parameters import principal_of
from switchover.interfaces.rest.reach import check_everyone

if TYPE_CHECKING:
    from switchover.interfaces.rest.live import Streams

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS})
_NO_ROUTE = "none"


def install(app: FastAPI, metrics: Metrics, *, open_to_all: bool) -> None:
    """
    Serve the metrics of this process, and count what the application answers from now on.

    Args:
        open_to_all: Without a token; otherwise one with the scope viewer, limited to no tenants, is needed.
    """
    streams: Streams = app.state.streams
    metrics.watch(app.state.executor.vitals, lambda: streams.readers)
    router = APIRouter(tags=["health"], dependencies=[] if open_to_all else [Depends(BEARER), Depends(guard)])

    refused = {} if open_to_all else refusals(ANY_CALL)
    responses: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}, **refused}

    @router.get("/metrics", name="metrics", response_class=Response, responses=responses)
    async def show_metrics(request: Request) -> Response:
        """Show the metrics of this process, in the text format of Prometheus."""
        if not open_to_all:
            check_everyone(principal_of(request), "what all tenants add up to")
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    app.include_router(router)
    app.add_middleware(_Counting, metrics=metrics)


class _Counting:
    """Counts each request when its answer begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.answered(method, route_of(scope), status, time.perf_counter() - began)
                if status in _REFUSED and _has_credential(scope):
                    self._metrics.login_failed()
            await send(message)

        await self._app(scope, receive, counted)


def route_of(scope: Scope) -> str:
    """
    The pattern of the route, with the prefix that its router is served under.

    A route may know only its own part; what stands in front of that is a fixed text, the beginning of the path.
    """
    pattern = getattr(scope.get("route"), "path", None)
    if not isinstance(pattern, str):
        return _NO_ROUTE
    before = str(scope["path"]).count("/") - pattern.count("/")
    if before <= 0 or ":path}" in pattern:
        return pattern
    return "/".join(str(scope["path"]).split("/")[: before + 1]) + pattern


def _has_credential(scope: Scope) -> bool:
    sent = any(name == b"authorization" for name, _ in scope["headers"])
    return sent or (scope["method"] == "POST" and str(scope["path"]).endswith("/login"))
