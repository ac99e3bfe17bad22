"""
Requests as spans: each is a part of what its caller does, and the cause of what it has asked for.

Whoever calls with a ``traceparent`` finds the request in their own trace, and from there, by links, the tasks that it
began, paused or rolled back: those have traces of their own, because they go on for longer than any request.
"""

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchover.interfaces.rest.metering import route_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from switchover.adapters.telemetry.tracing import Tracing

_PREFIX = "/api/"
_SUBJECTS = {"planId": "plan", "taskId": "task", "tenantId": "tenant"}
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_FAILED = 500
_REFUSED = 400


def install(app: FastAPI, tracing: "Tracing") -> None:
    """Tell of every request of the API from now on, but for live events, which end with their reader."""
    app.add_middleware(_Requests, tracing=tracing)


class _Requests:
    def __init__(self, app: ASGIApp, tracing: "Tracing") -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not str(scope["path"]).startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "text/event-stream" in headers.get("accept", ""):
            await self._app(scope, receive, send)
            return
        with self._tracing.request(scope["method"], headers) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._answered(span, scope, message)
                await send(message)

            await self._app(scope, receive, told)

    def _answered(self, span: "Span", scope: Scope, message: Message) -> None:
        method, route, status = scope["method"], route_of(scope), int(message["status"])
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= _FAILED:
            span.set_attribute("error.type", str(status))
        if method not in _WRITES or status >= _REFUSED:
            return
        subjects = [
            f"{_SUBJECTS[name]} {value}" for name, value in scope.get("path_params", {}).items() if name in _SUBJECTS
        ]
        location = Headers(raw=message["headers"]).get("location", "")
        if not subjects and "/plans/" in location:
            subjects = [f"plan {location.rpartition('/')[2]}"]
        for subject in subjects:
            self._tracing.requested(subject, span.get_span_context())
