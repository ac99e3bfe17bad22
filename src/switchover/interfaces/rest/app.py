"""
``create_app``: the HTTP API over a running executor.

Routers are put together here and nowhere else. Every route of the API is behind one dependency (``guard``), and says in
one table (``permissions``) which scope it needs.
"""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from switchover._version import __version__
from switchover.access.reach import PlanReach
from switchover.bootstrap import Executor
from switchover.domain.wire import camel_case
from switchover.interfaces.rest import problems, refusals
from switchover.interfaces.rest.contract import declare_problems
from switchover.interfaces.rest.forwarding import TrustedProxies
from switchover.interfaces.rest.guard import BEARER, guard
from switchover.interfaces.rest.headers import SecurityHeaders
from switchover.interfaces.rest.live import Streams
from switchover.interfaces.rest.permissions import REQUIRED, AccessControl, OpenAccess
from switchover.interfaces.rest.routes import access as access_routes
from switchover.interfaces.rest.routes import events, forecasts, health, plans, pruning, tasks, tenants, verbs
from switchover.interfaces.rest.streams import Patience

PREFIX = "/api/v1"

_ROUTERS = (
    plans.router,
    tasks.router,
    tenants.router,
    events.router,
    forecasts.router,
    pruning.router,
    verbs.router,
    access_routes.router,
)


def create_app(
    executor: Executor,
    access: AccessControl,
    *,
    patience: Patience | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """
    Make the application.

    Args:
        access: Says who calls.
        patience: How long readers of live events may keep the server waiting.
        routers: More to be served, each behind what it brings itself: the console, metrics.

    Raises:
        LookupError: A route of the API is not in the table of permissions.
    """
    app = FastAPI(
        title="Switchover",
        version=__version__,
        description="Blue-green configuration switches for fleets of tenants. Errors are RFC 9457 problem documents.",
        generate_unique_id_function=lambda route: camel_case(route.name),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.executor = executor
    app.state.access = access
    app.state.reach = PlanReach(executor.store)
    app.state.patience = patience or Patience()
    app.state.streams = Streams(executor)
    app.add_middleware(SecurityHeaders)
    # Added last, so that everything else sees the caller and not the proxy.
    app.add_middleware(TrustedProxies, networks=executor.settings.trusted_proxies)
    problems.install(app, refusals.note)
    # A server that lets everybody in describes no credentials: they would be ignored.
    door = [Depends(guard)] if isinstance(access, OpenAccess) else [Depends(BEARER), Depends(guard)]
    api = APIRouter(prefix=PREFIX, dependencies=door)
    for router in _ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.name not in REQUIRED:
                message = f"the route {route.name} ({route.path}) is not in the table of permissions"
                raise LookupError(message)
        api.include_router(router)
    app.include_router(api)
    app.include_router(health.router)
    declare_problems(app, PREFIX)
    for router in routers:
        app.include_router(router)
    return app
