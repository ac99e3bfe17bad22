"""
The validation chain: every validator sees every config, and all findings are reported at once.

A validator is a generator over a draft and what surrounds it; it has no effects and knows no other. What reading has
already found wrong is a blank in the draft, and ``Draft.is_wrong`` keeps validators from judging blanks.

Source: behaviour, section 3.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from operator import is_
from typing import cast

from switchover.domain.addresses import AllowList
from switchover.domain.plan import OnConflict
from switchover.domain.stage import TaskStage
from switchover.domain.task import LARGEST_ID, TenantDeployConfigSnapshot, TenantId, evolve_config
from switchover.domain.wire import CONFIG_NAMES
from switchover.dto import Finding, Severity, TenantDeployConfig
from switchover.dto.options import PlanOptions
from switchover.errors import ErrorCode, text_of
from switchover.factory.endpoints import EndpointJudge
from switchover.factory.explaining import ENDPOINTS, REQUIRED, SOURCE, printable, shown
from switchover.factory.health import health_problems
from switchover.factory.reading import EVERYTHING, MAX_SHOWN_ID, Draft
from switchover.spi import FOREIGN, TenantRecord

StageFactory = Callable[[TenantDeployConfig], Sequence[TaskStage]]
"""Gives the stages of one tenant, where no catalogue does."""

WARNINGS = frozenset({ErrorCode.NO_CHANGE, ErrorCode.NO_PREVIOUS_CONFIG})
"""What is worth knowing and refuses nothing."""

_TENANT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NUMBERS = ("deploy_unit_id", "deploy_unit_version", "plan_id", "plan_version")
_SNAKE_NAMES: Mapping[str, str] = {wire_name: name for name, wire_name in CONFIG_NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """
    What the store knows about a draft at the moment of validation.

    Attributes:
        plan_exists: A plan with ``draft.plan_id`` was created before.
        tenants: Those of ``draft.configs`` that the store knows.
    """

    plan_exists: bool = False
    tenants: Mapping[TenantId, TenantRecord] = field(default_factory=dict[TenantId, TenantRecord])


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What validators may look at beside the draft."""

    facts: StoreFacts
    allow_list: AllowList
    stage_factory: StageFactory | None
    services_from_settings: bool


Validator = Callable[[Draft, Surroundings], Iterator[Finding]]


def first_error(findings: Iterable[Finding]) -> Finding | None:
    """The finding whose code the refusal carries; None when there are only warnings."""
    return next((finding for finding in findings if finding.is_error), None)


def validate(draft: Draft, around: Surroundings) -> tuple[Finding, ...]:
    """
    Run the chain.

    Returns:
        Errors before warnings; about the plan before about configs; configs in their order; in the order of the chain.
    """
    findings = list(draft.findings)
    for validator in VALIDATORS:
        findings.extend(validator(draft, around))
    findings.sort(key=_rank)
    return tuple(findings)


def _rank(finding: Finding) -> tuple[bool, int]:
    return not finding.is_error, -1 if finding.index is None else finding.index


def _about_plan(path: str, code: ErrorCode, message: str) -> Finding:
    return Finding(tenant_id=None, field=path, code=code, message=message)


def _about(index: int, config: TenantDeployConfigSnapshot, path: str, code: ErrorCode, message: str) -> Finding:
    tenant_id = printable(config.tenant_id[:MAX_SHOWN_ID]) or None
    severity = Severity.WARNING if code in WARNINGS else Severity.ERROR
    return Finding(tenant_id=tenant_id, field=path, code=code, message=message, severity=severity, index=index)


# --- the plan ------------------------------------------------------------------------------------------------------


def empty_plan(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """EMPTY_PLAN."""
    if not draft.configs and not any(finding.field == "configs" for finding in draft.findings):
        yield _about_plan("configs", ErrorCode.EMPTY_PLAN, "the plan has no configs; give at least one tenant")


def plan_numbers(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """NEGATIVE_VERSION and INVALID_FIELD for the plan's own id and version."""
    for name in ("plan_id", "plan_version"):
        yield from (
            _about_plan(CONFIG_NAMES[name], code, message)
            for code, message in _judged_number(CONFIG_NAMES[name], getattr(draft.options, name))
        )


def health(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """INVALID_FIELD for health settings with which no check can pass."""
    yield from health_problems(draft)


def plan_exists(draft: Draft, around: Surroundings) -> Iterator[Finding]:
    """PLAN_EXISTS."""
    if around.facts.plan_exists:
        message = f"plan {draft.plan_id} was created before; take another planId, or leave it out to have one assigned"
        yield _about_plan("planId", ErrorCode.PLAN_EXISTS, message)


def stages(draft: Draft, around: Surroundings) -> Iterator[Finding]:
    """INVALID_STAGES, and what the catalogue found out about itself."""
    if draft.catalogue is not None:
        origin = " (in the settings)" if around.services_from_settings else ""
        yield from (
            _about_plan(printable(item.field), item.code, item.message + origin) for item in draft.catalogue.findings
        )
    elif around.stage_factory is None:
        message = (
            "there are no stages; give `services` in the plan file or in the settings, "
            "or a stage_factory to open_executor"
        )
        yield _about_plan("services", ErrorCode.INVALID_STAGES, message)
    else:
        yield from _factory_stages(draft, around.stage_factory)


def _factory_stages(draft: Draft, stage_factory: StageFactory) -> Iterator[Finding]:
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    judge = _StageJudge(stage_factory)
    draft.stage_names = []
    for index, config in enumerate(draft.configs):
        names: tuple[str, ...] = ()
        if index not in draft.wrong:
            planned = evolve_config(config, plan_id=draft.plan_id, plan_version=draft.plan_version)
            names, problem = judge.names(TenantDeployConfig.from_snapshot(planned))
            names = known.setdefault(names, names)
            if problem is not None:
                yield _about(index, config, "", ErrorCode.INVALID_STAGES, problem)
        draft.stage_names.append(names)


class _StageJudge:
    """
    Asks a stage factory, and judges what it gives.

    Most factories give the same few objects to every tenant. Those that were good a moment ago are good now: whether an
    object is a stage takes Python as long to find out as all other checks of a config together.
    """

    def __init__(self, stage_factory: StageFactory) -> None:
        self._factory = stage_factory
        self._good: tuple[object, ...] = ()
        self._names: tuple[str, ...] = ()

    def names(self, config: TenantDeployConfig) -> tuple[tuple[str, ...], str | None]:
        """The names of the tenant's stages, and what is wrong with them."""
        try:
            made = tuple(cast("Sequence[object]", self._factory(config)))  # what it promised is not what it gave
        except FOREIGN as error:  # users write stage factories
            return (), _raised(error)
        if self._good and len(made) == len(self._good) and all(map(is_, made, self._good)):
            return self._names, None
        names, problem = _names_of_stages(made)
        if problem is None:
            self._good, self._names = made, names
        return names, problem


def _names_of_stages(made: tuple[object, ...]) -> tuple[tuple[str, ...], str | None]:
    try:
        given = [stage.name for stage in made if isinstance(stage, TaskStage)]
    except FOREIGN as error:  # users write stage factories
        return (), _raised(error)
    if not made:
        return (), "the stage factory gave no stage"
    names = tuple(name for name in cast("list[object]", given) if isinstance(name, str) and name.strip())
    if len(names) < len(made):
        return (), "the stage factory gave an object that is no TaskStage, or has no name"
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        return (), f"the stage factory gave two stages of the name {double!r}"
    return names, None


def _raised(error: BaseException) -> str:
    return f"the stage factory raised {text_of(error)[:300]}"


# --- every config --------------------------------------------------------------------------------------------------


def required_fields(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """MISSING_FIELD; in a source: INVALID_SOURCE."""
    needed = _needed_fields(draft)
    for index, config in enumerate(draft.configs):
        for wire_name in needed:
            path = wire_name
            if _is_missing(config, wire_name) and not draft.is_wrong(index, path):
                if wire_name == "planVersion" and draft.plan_version is not None:
                    continue
                why = "" if wire_name in REQUIRED else ", and the stages use it"
                message = f"{wire_name} is missing or blank{why}"
                yield _about(index, config, path, ErrorCode.MISSING_FIELD, message)
        source = config.source_tenant_deploy_config
        if source is None:
            continue
        for wire_name in needed:
            path = f"{SOURCE}.{wire_name}"
            if _is_missing(source, wire_name) and not draft.is_wrong(index, path):
                message = f"{wire_name} of the source is missing or blank, so a rollback could not send it again"
                yield _about(index, config, path, ErrorCode.INVALID_SOURCE, message)


def _needed_fields(draft: Draft) -> tuple[str, ...]:
    used: AbstractSet[str] = frozenset[str]() if draft.catalogue is None else draft.catalogue.required_fields
    return *REQUIRED, *sorted(used - {*REQUIRED, "planId"})


def _is_missing(config: TenantDeployConfigSnapshot, wire_name: str) -> bool:
    value = getattr(config, _SNAKE_NAMES[wire_name])
    return value is None or (isinstance(value, str) and not value.strip())


def tenant_ids(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """INVALID_TENANT_ID and DUPLICATE_TENANT."""
    first: dict[str, int] = {}
    matches = _TENANT_ID.fullmatch
    for index, config in enumerate(draft.configs):
        tenant_id = config.tenant_id
        if not tenant_id.strip():
            continue  # missing, which is found elsewhere
        if not matches(tenant_id):
            message = f"{shown(tenant_id)} is no tenant id: 1 to 128 of letters, digits and . _ - :"
            yield _about(index, config, "tenantId", ErrorCode.INVALID_TENANT_ID, message)
        earlier = first.setdefault(tenant_id, index)
        if earlier != index:
            message = f"the tenant is in this plan already, as config {earlier + 1}; keep one of them"
            yield _about(index, config, "tenantId", ErrorCode.DUPLICATE_TENANT, message)


def numbers(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """NEGATIVE_VERSION, and INVALID_FIELD for numbers that no store can hold."""
    for index, config in enumerate(draft.configs):
        for prefix, owner in (("", config), (f"{SOURCE}.", config.source_tenant_deploy_config)):
            if owner is None:
                continue
            for name in _NUMBERS:
                value = getattr(owner, name)
                if value is None or 0 <= value <= LARGEST_ID:
                    continue
                path = prefix + CONFIG_NAMES[name]
                for code, message in _judged_number(CONFIG_NAMES[name], value):
                    yield _about(index, config, path, code, message)


def _judged_number(name: str, value: int | None) -> Iterator[tuple[ErrorCode, str]]:
    if value is not None and value < 0:
        yield ErrorCode.NEGATIVE_VERSION, f"{name} must not be below zero; it is {_number(value)}"
    elif value is not None and value > LARGEST_ID:
        yield ErrorCode.INVALID_FIELD, f"{name} must be at most {LARGEST_ID}, not {_number(value)}"


def _number(value: int) -> str:
    return shown(value).removeprefix("the number ")


def expected_number(name: str, options: PlanOptions, configs: Iterable[TenantDeployConfigSnapshot]) -> int | None:
    """The ``plan_id`` or ``plan_version`` that all configs should have: the options', else the first that one has."""
    own: int | None = getattr(options, name)
    given: Iterator[int | None] = (getattr(config, name) for config in configs)
    return own if own is not None else next((value for value in given if value is not None), None)


def one_plan(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """MIXED_PLAN."""
    for name, own in (("plan_id", draft.options.plan_id), ("plan_version", draft.options.plan_version)):
        wire_name = CONFIG_NAMES[name]
        expected = expected_number(name, draft.options, draft.configs)
        if expected is None:
            continue
        origin = "the plan" if own is not None else "another config"
        for index, config in enumerate(draft.configs):
            value = getattr(config, name)
            if draft.is_wrong(index, wire_name) or value == expected or (value is None and own is not None):
                continue
            has = f"no {wire_name}" if value is None else f"{wire_name} {_number(value)}"
            message = f"this config has {has}, and {origin} has {_number(expected)}"
            yield _about(index, config, wire_name, ErrorCode.MIXED_PLAN, f"{message}; one call is one plan")


def media_routing(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """INCOMPLETE_MEDIA_ROUTING."""
    for index, config in enumerate(draft.configs):
        rules, trunk = config.called_number_rules, config.trunk_group
        if rules is trunk or bool(rules and rules.strip()) == bool(trunk and trunk.strip()):
            continue
        if draft.is_wrong(index, "calledNumberRules") or draft.is_wrong(index, "trunkGroup"):
            continue
        given, missing = (
            ("calledNumberRules", "trunkGroup") if rules and rules.strip() else ("trunkGroup", "calledNumberRules")
        )
        message = f"{given} is given without {missing}; give both or neither"
        yield _about(index, config, missing, ErrorCode.INCOMPLETE_MEDIA_ROUTING, message)


def endpoints(draft: Draft, around: Surroundings) -> Iterator[Finding]:
    """INVALID_ENDPOINT, ENDPOINT_NOT_ALLOWED and NO_ENDPOINTS; a source's bad ones are INVALID_SOURCE."""
    asked = draft.catalogue is not None and draft.catalogue.uses_tenant_endpoints
    judge = EndpointJudge(around.allow_list, asked=asked)
    for index, config in enumerate(draft.configs):
        if asked and not config.network_endpoints and not draft.is_wrong(index, ENDPOINTS):
            message = "a health check asks the tenant's endpoints, and there are none; give networkEndpoints"
            yield _about(index, config, ENDPOINTS, ErrorCode.NO_ENDPOINTS, message)
        wrong = draft.wrong.get(index)
        for number, endpoint in enumerate(config.network_endpoints):
            for problem in judge.problems(endpoint, config):
                path = f"{ENDPOINTS}[{number}]"
                if wrong is not None and _spoils(wrong, path, problem.field):
                    continue
                yield _about(index, config, path + problem.suffix, problem.code, problem.message)
        source = config.source_tenant_deploy_config
        if source is None or not source.network_endpoints:
            continue
        for number, endpoint in enumerate(source.network_endpoints):
            for problem in judge.problems(endpoint, source):
                path = f"{SOURCE}.{ENDPOINTS}[{number}]"
                if wrong is not None and _spoils(wrong, path, problem.field):
                    continue
                code = ErrorCode.INVALID_SOURCE if problem.code is ErrorCode.INVALID_ENDPOINT else problem.code
                yield _about(index, config, path + problem.suffix, code, problem.message)


def _spoils(wrong: AbstractSet[str], path: str, name: str | None) -> bool:
    # That an endpoint has no address says nothing when one of its fields could not be read.
    return wrong is EVERYTHING or path in wrong or (name is None and any(item.startswith(f"{path}.") for item in wrong))


def sources(draft: Draft, _around: Surroundings) -> Iterator[Finding]:
    """INVALID_SOURCE for another tenant's."""
    for index, config in enumerate(draft.configs):
        source = config.source_tenant_deploy_config
        if source is None or source.tenant_id == config.tenant_id:
            continue
        path = f"{SOURCE}.tenantId"
        if not source.tenant_id.strip() or not config.tenant_id.strip():
            continue  # one of them is missing, which is found elsewhere
        message = f"the source is the config of another tenant: {shown(source.tenant_id)}"
        yield _about(index, config, path, ErrorCode.INVALID_SOURCE, message)


# --- what the store knows ------------------------------------------------------------------------------------------


def holds_and_conflicts(draft: Draft, around: Surroundings) -> Iterator[Finding]:
    """TENANT_ON_HOLD and TENANT_CONFLICT."""
    tenants = around.facts.tenants
    if not tenants:
        return
    rejects = draft.rules.on_conflict is OnConflict.REJECT
    for index, config in enumerate(draft.configs):
        tenant = tenants.get(TenantId(config.tenant_id))
        if tenant is None:
            continue
        if tenant.hold is not None:
            message = f"the tenant is on hold ({tenant.hold.reason}); lift it with unhold once its services are checked"
            yield _about(index, config, "tenantId", ErrorCode.TENANT_ON_HOLD, message)
        if rejects and is_taken(tenant):
            other = "another task" if tenant.owner is None else f"task {tenant.owner.task_id}"
            message = f"{other} of the tenant is live; wait until it has settled, or submit with onConflict: wait"
            yield _about(index, config, "tenantId", ErrorCode.TENANT_CONFLICT, message)


def is_taken(tenant: TenantRecord) -> bool:
    """Whether a new task of the tenant has to wait."""
    return tenant.owner is not None or tenant.waiting > 0


def previous_configs(draft: Draft, around: Surroundings) -> Iterator[Finding]:
    """NO_CHANGE and NO_PREVIOUS_CONFIG, both warnings."""
    tenants = around.facts.tenants
    for index, config in enumerate(draft.configs):
        previous = config.source_tenant_deploy_config
        what = "sourceTenantDeployConfig"
        if previous is None and tenants:
            tenant = tenants.get(TenantId(config.tenant_id))
            previous = None if tenant is None else tenant.last_known_good
            what = "what is recorded as last known good"
        if previous is None:
            if draft.is_wrong(index, SOURCE):
                continue
            message = "neither a sourceTenantDeployConfig nor a last known good exists, so a rollback will be refused"
            yield _about(index, config, SOURCE, ErrorCode.NO_PREVIOUS_CONFIG, message)
        elif index not in draft.wrong and _is_same(config, previous):
            message = f"the config equals {what}: there is nothing to switch"
            yield _about(index, config, "", ErrorCode.NO_CHANGE, message)


_COMPARED = tuple(
    name for name in CONFIG_NAMES if name not in {"plan_id", "plan_version", "source_tenant_deploy_config"}
)


def _is_same(config: TenantDeployConfigSnapshot, previous: TenantDeployConfigSnapshot) -> bool:
    if config.deploy_unit_version != previous.deploy_unit_version or config.deploy_unit_id != previous.deploy_unit_id:
        return False
    return all(
        getattr(config, name) == getattr(previous, name)
        # Without endpoints of its own, the previous config uses those of the switch.
        or (name == "network_endpoints" and not previous.network_endpoints)
        for name in _COMPARED
    )


VALIDATORS: tuple[Validator, ...] = (
    empty_plan,
    plan_numbers,
    health,
    plan_exists,
    stages,
    required_fields,
    tenant_ids,
    numbers,
    one_plan,
    media_routing,
    endpoints,
    sources,
    holds_and_conflicts,
    previous_configs,
)
"""In the order in which the findings about one config are reported."""
