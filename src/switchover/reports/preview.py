"""What a plan would do, worked out without doing it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING, Any

from switchover.domain.plan import HealthSettings, OnConflict, OnFailure
from switchover.domain.stage import StageStep
from switchover.domain.task import TenantDeployConfigSnapshot, TenantId
from switchover.domain.wire import CONFIG_NAMES, endpoint_to_dict
from switchover.dto import Finding
from switchover.factory import Draft, StoreFacts
from switchover.spi import ExecutionStore
from switchover.stages.steps import HealthCheckStep

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings
    from switchover.spi import TenantRecord

_APART = frozenset({"tenant_id", "plan_id", "plan_version", "source_tenant_deploy_config", "network_endpoints"})
_COMPARED = tuple(name for name in CONFIG_NAMES if name not in _APART)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field of a config that will be another one."""

    field: str
    previous: object
    target: object

    def __str__(self) -> str:
        return f"{self.field} {_shown(self.previous)} -> {_shown(self.target)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPreview:
    """
    What would become of one tenant.

    Attributes:
        previous, target: The deploy units, as people name them.
        origin: Where the previous config is known from: ``source``, ``lastKnownGood``, or None when it is unknown.
        state: ``starts``, ``waits``, ``refused``.
        reason: Why it does not simply start.
        worst_case_seconds: When every request times out and every step takes as long as it may.
    """

    tenant_id: str
    previous: str | None
    target: str
    origin: str | None
    changes: tuple[Change, ...]
    state: str
    reason: str
    worst_case_seconds: float

    def to_dict(self) -> dict[str, object]:
        """In camelCase."""
        return {
            "tenantId": self.tenant_id,
            "from": self.previous,
            "to": self.target,
            "previousFrom": self.origin,
            "changes": [
                {"field": item.field, "previous": item.previous, "target": item.target} for item in self.changes
            ],
            "state": self.state,
            "reason": self.reason or None,
            "worstCaseSeconds": self.worst_case_seconds,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TenantPreview":
        """The inverse of ``to_dict``."""
        return TenantPreview(
            tenant_id=data["tenantId"],
            previous=data["from"],
            target=data["to"],
            origin=data["previousFrom"],
            changes=tuple(Change(**item) for item in data["changes"]),
            state=data["state"],
            reason=data["reason"] or "",
            worst_case_seconds=data["worstCaseSeconds"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """
    What a plan would do.

    Attributes:
        known: A database was asked; otherwise nothing is known about conflicts and holds.
        worst_case_seconds: Of the whole plan, tenants that wait for others not counted.
    """

    plan_id: int | None
    name: str | None
    max_concurrency: int
    on_conflict: str
    rolls_back: bool
    retries: int
    tenants: tuple[TenantPreview, ...]
    findings: tuple[Finding, ...]
    known: bool
    stages: tuple[str, ...]
    worst_case_seconds: float
    states: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_dict(self) -> dict[str, object]:
        """In camelCase."""
        return {
            "planId": self.plan_id,
            "name": self.name,
            "total": len(self.tenants),
            "maxConcurrency": self.max_concurrency,
            "onConflict": self.on_conflict,
            "rollbackOnFailure": self.rolls_back,
            "maxRetry": self.retries,
            "stages": list(self.stages),
            "databaseAsked": self.known,
            "worstCaseSeconds": self.worst_case_seconds,
            "states": dict(self.states),
            "tenants": [tenant.to_dict() for tenant in self.tenants],
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Preview":
        """The inverse of ``to_dict``."""
        return Preview(
            plan_id=data["planId"],
            name=data["name"],
            max_concurrency=data["maxConcurrency"],
            on_conflict=data["onConflict"],
            rolls_back=data["rollbackOnFailure"],
            retries=data["maxRetry"],
            tenants=tuple(TenantPreview.from_dict(item) for item in data["tenants"]),
            findings=tuple(Finding.from_dict(item) for item in data["findings"]),
            known=data["databaseAsked"],
            stages=tuple(data["stages"]),
            worst_case_seconds=data["worstCaseSeconds"],
            states=data["states"],
        )


async def facts_about(store: ExecutionStore, draft: Draft) -> StoreFacts:
    """What the store knows of the plan and its tenants."""
    tenant_ids = list(dict.fromkeys(TenantId(config.tenant_id) for config in draft.configs))
    return StoreFacts(
        plan_exists=draft.plan_id is not None and await store.load_plan(draft.plan_id) is not None,
        tenants=await store.load_tenants(tenant_ids),
    )


def preview_of(
    draft: Draft, facts: StoreFacts, findings: tuple[Finding, ...], settings: "ExecutorSettings", *, known: bool
) -> Preview:
    """Work it out."""
    errors: dict[int, Finding] = {}
    for finding in findings:
        if finding.is_error and finding.index is not None:
            errors.setdefault(finding.index, finding)
    steps = [] if draft.catalogue is None else [step for stage in draft.catalogue.stages for step in stage.steps]
    tenants: list[TenantPreview] = []
    for index, config in enumerate(draft.configs):
        record = facts.tenants.get(TenantId(config.tenant_id))
        state, reason = _state(draft, record, errors.get(index))
        previous, origin = config.source_tenant_deploy_config, "source"
        if previous is None:
            previous, origin = None if record is None else record.last_known_good, "lastKnownGood"
        tenants.append(
            TenantPreview(
                tenant_id=config.tenant_id,
                previous=None if previous is None else _unit(previous),
                target=_unit(config),
                origin=None if previous is None else origin,
                changes=() if previous is None else tuple(_changes(previous, config)),
                state=state,
                reason=reason,
                worst_case_seconds=_worst_case(steps, draft.rules.health, len(config.network_endpoints), settings),
            )
        )
    states: dict[str, int] = {}
    for tenant in tenants:
        states[tenant.state] = states.get(tenant.state, 0) + 1
    return Preview(
        plan_id=draft.plan_id,
        name=draft.name,
        max_concurrency=draft.rules.max_concurrency,
        on_conflict=str(draft.rules.on_conflict),
        rolls_back=draft.rules.on_failure is OnFailure.AUTO,
        retries=draft.rules.max_retry,
        tenants=tuple(tenants),
        findings=findings,
        known=known,
        stages=() if draft.catalogue is None else tuple(stage.name for stage in draft.catalogue.stages),
        worst_case_seconds=_makespan([tenant.worst_case_seconds for tenant in tenants], draft.rules.max_concurrency),
        states=states,
    )


def _state(draft: Draft, record: "TenantRecord | None", error: Finding | None) -> tuple[str, str]:
    if error is not None:
        return "refused", f"{error.code}: {error.message}"
    taken = record is not None and (record.owner is not None or record.waiting > 0)
    if record is not None and taken and draft.rules.on_conflict is OnConflict.WAIT:
        owner = "another task" if record.owner is None else f"task {record.owner.task_id}"
        return "waits", f"{owner} of the tenant is live"
    return "starts", ""


def _changes(previous: TenantDeployConfigSnapshot, target: TenantDeployConfigSnapshot) -> Iterator[Change]:
    for name in _COMPARED:
        before, after = getattr(previous, name), getattr(target, name)
        if before != after:
            yield Change(field=CONFIG_NAMES[name], previous=before, target=after)
    # A previous config without endpoints uses those of the switch.
    before, after = previous.network_endpoints, target.network_endpoints
    for index in range(max(len(before), len(after)) if before else 0):
        old = endpoint_to_dict(before[index]) if index < len(before) else {}
        new = endpoint_to_dict(after[index]) if index < len(after) else {}
        for name in dict.fromkeys((*old, *new)):
            if old.get(name) != new.get(name):
                yield Change(field=f"networkEndpoints[{index}].{name}", previous=old.get(name), target=new.get(name))


def _worst_case(
    steps: Sequence[StageStep], health: HealthSettings, endpoints: int, settings: "ExecutorSettings"
) -> float:
    return sum(
        step.worst_case_seconds(health, endpoints)
        if isinstance(step, HealthCheckStep)
        else settings.step_timeout_seconds
        for step in steps
    )


def _makespan(seconds: Sequence[float], slots: int) -> float:
    """When the last one ends, if each takes the slot that becomes free first, in their order."""
    ends = [0.0] * max(min(slots, len(seconds)), 1)
    heapify(ends)
    for length in seconds:
        heapreplace(ends, ends[0] + length)
    return max(ends)


def _unit(config: TenantDeployConfigSnapshot) -> str:
    return f"{config.deploy_unit_name or config.deploy_unit_id} v{config.deploy_unit_version}"


def _shown(value: Any) -> str:  # noqa: ANN401  # whatever a config holds
    return "nothing" if value is None else str(value)
