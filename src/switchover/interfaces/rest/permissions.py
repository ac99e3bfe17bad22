"""
What each route asks of whoever calls it: the one table.

A route that is not in it is not served: ``create_app`` refuses. A test walks every route with every scope.
"""

from collections.abc import Mapping
from typing import Protocol

from switchover.domain.access import Principal, PrincipalKind, Scope


class AccessControl(Protocol):
    """Says who calls."""

    async def authenticate(self, bearer: str | None, remote: str) -> Principal:
        """Who this is; raises when nobody knows."""
        ...


class OpenAccess:
    """Lets everybody in, so it is for the loopback address alone."""

    async def authenticate(self, bearer: str | None, remote: str) -> Principal:
        """Whoever reaches the loopback address of this machine."""
        del bearer, remote
        return Principal(name="local", kind=PrincipalKind.LOCAL, scopes=frozenset({Scope.ADMIN}))


_WORK = ("pause", "resume", "cancel", "retry", "rollback")

REQUIRED: Mapping[str, Scope] = {
    "list_plans": Scope.VIEWER,
    "get_plan": Scope.VIEWER,
    "list_tasks": Scope.VIEWER,
    "plan_events": Scope.VIEWER,
    "get_task": Scope.VIEWER,
    "explain_task": Scope.VIEWER,
    "observe_task": Scope.VIEWER,
    "forecast_plan": Scope.VIEWER,
    "forecast_tenant": Scope.VIEWER,
    "task_events": Scope.VIEWER,
    "all_events": Scope.VIEWER,
    "get_tenant": Scope.VIEWER,
    "tenant_history": Scope.VIEWER,
    "list_holds": Scope.VIEWER,
    "get_line": Scope.VIEWER,
    "get_checks": Scope.VIEWER,
    "list_workers": Scope.VIEWER,
    "preview_plan": Scope.VIEWER,
    "export_plan": Scope.VIEWER,
    "create_plan": Scope.OPERATOR,
    **{f"{verb}_{target}": Scope.OPERATOR for target in ("plan", "task", "tenant") for verb in _WORK},
    "adopt_plan": Scope.OPERATOR,
    "prunable_events": Scope.VIEWER,
    "prune_events": Scope.ADMIN,
    "prune_plan": Scope.ADMIN,
    "adopt_tenant": Scope.OPERATOR,
    "hold_tenant": Scope.OPERATOR,
    "unhold_tenant": Scope.OPERATOR,
    "stop_line": Scope.OPERATOR,
    "start_line": Scope.OPERATOR,
    "list_tokens": Scope.ADMIN,
    "create_token": Scope.ADMIN,
    "rotate_token": Scope.ADMIN,
    "revoke_token": Scope.ADMIN,
    "list_sessions": Scope.ADMIN,
    "end_session": Scope.ADMIN,
    "list_audit": Scope.ADMIN,
    "metrics": Scope.VIEWER,
}
"""By the route's name."""

OPEN = frozenset({"livez", "readyz", "openapi"})
"""What is answered to anybody: it says nothing about plans or tenants."""
