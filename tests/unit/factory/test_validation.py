"""The validation chain (behaviour, section 3): each code, its field, and what is no error."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from switchover.domain.stage import TaskStage
from switchover.domain.task import PlanId, TaskKey, TenantId
from switchover.dto import Severity, TenantDeployConfig
from switchover.errors import ErrorCode
from switchover.factory import PlanFactory, StageFactory, StoreFacts, first_error
from switchover.factory.validation import VALIDATORS
from switchover.spi import Hold, TenantRecord
from switchover.stages.service import CompositeServiceStage
from tests.support.plans import SERVICES, Check, brief, config, make_factory, source

ACME = TenantId("acme")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER_TASK = TaskKey(PlanId(7), 3)


def facts(**changes: object) -> StoreFacts:
    return StoreFacts(tenants={ACME: replace(TenantRecord(tenant_id=ACME), **cast("dict[str, Any]", changes))})


def endpoint(**fields: str) -> dict[str, Any]:
    return config(networkEndpoints=[fields])


def test_a_valid_config_has_no_finding(check: Check) -> None:
    assert check([config()]) == ()


@pytest.mark.parametrize("value", [None, "", "   "])
@pytest.mark.parametrize("field", ["tenantId", "deployUnitName"])
def test_missing_or_blank_fields(check: Check, field: str, value: object) -> None:
    assert (0, field, "MISSING_FIELD") in brief(check([config(**{field: value})]))


def test_a_field_that_no_template_uses_may_be_missing(factory: PlanFactory) -> None:
    services = [{"name": "a", "steps": [{"healthCheck": {}}]}]
    draft = factory.read([config(deployUnitName=None, sourceTenantDeployConfig=source())], {"services": services})
    assert factory.validate(draft) == ()


def test_a_plan_version_that_templates_use_may_come_from_the_plan(check: Check) -> None:
    services = [{"name": "a", "steps": [{"healthCheck": {"expect": "{planVersion}"}}]}]
    given = [config(sourceTenantDeployConfig=source(planVersion=6))]
    assert brief(check(given, {"services": services})) == [(0, "planVersion", "MISSING_FIELD")]
    assert check(given, {"services": services, "planVersion": 7}) == ()


@pytest.mark.parametrize("tenant_id", ["a", "A.b_c-d:9", "x" * 128])
def test_good_tenant_ids(check: Check, tenant_id: str) -> None:
    assert check([config(tenant_id)]) == ()


@pytest.mark.parametrize("tenant_id", ["a b", "a/b", "x" * 129, "ä", "a\n", "a{b}", "٣"])
def test_bad_tenant_ids(check: Check, tenant_id: str) -> None:
    assert brief(check([config(tenant_id)])) == [(0, "tenantId", "INVALID_TENANT_ID")]


def test_the_same_tenant_twice(check: Check) -> None:
    found = check([config("a"), config("b"), config("a"), config("a")])
    assert brief(found) == [(2, "tenantId", "DUPLICATE_TENANT"), (3, "tenantId", "DUPLICATE_TENANT")]
    assert "config 1" in found[0].message


@pytest.mark.parametrize("field", ["deployUnitId", "deployUnitVersion", "planId", "planVersion"])
def test_numbers_below_zero_and_beyond_any_store(check: Check, field: str) -> None:
    assert brief(check([config(**{field: -1})])) == [(0, field, "NEGATIVE_VERSION")]
    assert brief(check([config(**{field: 2**63})])) == [(0, field, "INVALID_FIELD")]
    assert check([config(**{field: 2**63 - 1})]) == ()
    assert check([config(**{field: 0})]) == ()


def test_numbers_of_the_source_and_of_the_plan_are_judged_too(check: Check) -> None:
    found = check([config(sourceTenantDeployConfig=source(deployUnitVersion=-1))], {"planId": -5, "planVersion": 2**70})
    assert brief(found) == [
        (None, "planId", "NEGATIVE_VERSION"),
        (None, "planVersion", "INVALID_FIELD"),
        (0, "sourceTenantDeployConfig.deployUnitVersion", "NEGATIVE_VERSION"),
    ]


@pytest.mark.parametrize("plan_id", [-1, 2**63, 10**30])
def test_a_plan_id_that_no_plan_can_have_is_asked_of_no_store(factory: PlanFactory, plan_id: int) -> None:
    assert factory.read([config(planId=plan_id)]).plan_id is None


@pytest.mark.parametrize("field", ["planId", "planVersion"])
def test_one_call_is_one_plan(check: Check, field: str) -> None:
    five, six, none = config("a", **{field: 5}), config("b", **{field: 6}), config("c")
    assert brief(check([five, six])) == [(1, field, "MIXED_PLAN")]
    assert brief(check([five, none])) == [(1, field, "MIXED_PLAN")]
    assert brief(check([none, five])) == [(0, field, "MIXED_PLAN")]
    assert brief(check([six, none], {field: 5})) == [(0, field, "MIXED_PLAN")]
    assert check([five, none], {field: 5}) == ()
    assert check([five, config("z", **{field: 5})]) == ()


def test_the_plan_id_comes_from_the_options_or_the_configs(factory: PlanFactory) -> None:
    assert factory.read([config(planId=5, planVersion=2)]).plan_id == 5
    assert factory.read([config()], {"planId": 6, "planVersion": 3}).plan_version == 3
    assert factory.read([config()]).plan_id is None


def test_a_plan_that_exists(check: Check) -> None:
    found = check([config(planId=5)], facts=StoreFacts(plan_exists=True))
    assert brief(found) == [(None, "planId", "PLAN_EXISTS")]
    assert "plan 5" in found[0].message


@pytest.mark.parametrize(
    "fields",
    [
        {"targetIp": "10.0.0.1"},
        {"targetIp": "10.0.0.1:1"},
        {"targetIp": "10.0.0.1:65535"},
        {"targetIp": "::1"},
        {"targetIp": "[fd12::1]:8080"},
        {"targetIp": "{tenantId}.10.0.0.1"},
        {"targetDomain": "green.internal"},
        {"targetDomain": "green.internal.:8080"},
        {"targetDomain": "localhost"},
        {"targetDomain": "under_score.example"},
        {"targetDomain": "bücher.example"},
        {"targetDomain": "10.0.0.1:80"},
        {"targetDomain": "{tenantId}.internal:8080"},
        {"value": "http://10.0.0.1"},
        {"value": "HTTPS://Green.Internal:8443/health/{tenantId}?x=1"},
        {"value": "http://[::1]:8080/"},
        {"value": "http://{tenantId}.internal/health"},
        {"value": "http://user:secret@10.0.0.1/"},
        {"value": "weight=5", "targetIp": "10.0.0.1"},
        {"value": "", "targetIp": "10.0.0.1", "sourceIp": " "},
        {"targetIp": "10.0.0.1", "sourceIp": "203.0.113.9"},
        {"targetIp": "10.0.0.1", "sourceDomain": "blue.internal"},
    ],
)
def test_good_endpoints(check: Check, fields: dict[str, str]) -> None:
    assert check([endpoint(**fields)]) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("targetIp", "10.0.0"),
        ("targetIp", "10.0.0.256"),
        ("targetIp", "010.0.0.1"),
        ("targetIp", "10.0.0.1:0"),
        ("targetIp", "10.0.0.1:65536"),
        ("targetIp", "10.0.0.1:"),
        ("targetIp", "10.0.0.1:80:80"),
        ("targetIp", "10.0.0.1/8"),
        ("targetIp", "green.internal"),
        ("targetIp", "[::1"),
        ("targetIp", "[10.0.0.1]:80"),
        ("targetIp", "{nope}"),
        ("targetDomain", "a..b"),
        ("targetDomain", "-a.example"),
        ("targetDomain", "a b"),
        ("targetDomain", "a/b"),
        ("targetDomain", "http://a"),
        ("targetDomain", "x" * 64),
        ("targetDomain", ".".join(["a" * 60] * 5)),
        ("targetDomain", "127.1"),
        ("targetDomain", "2130706433"),
        ("targetDomain", "0x7f000001"),
        ("targetDomain", "a:99999"),
        ("targetDomain", "a:٣"),
        ("sourceIp", "nonsense"),
        ("sourceDomain", "a..b"),
        ("value", "ftp://10.0.0.1/"),
        ("value", "file:///etc/passwd"),
        ("value", "http://"),
        ("value", "http:///health"),
        ("value", "http://10.0.0.1:0/"),
        ("value", "http://10.0.0.1:99999/"),
        ("value", "http://[::1/"),
        ("value", "http://a b/"),
        ("value", "http://10.0.0.1\\@8.8.8.8/"),
        ("value", "http://127.1/"),
        ("value", "http://10.0.0.1/{nope}"),
        ("value", "http://10.0.0.1/{trunkGroup}"),
    ],
)
def test_bad_endpoints(check: Check, field: str, value: str) -> None:
    fields = {"targetDomain": "green.internal", field: value}
    assert brief(check([endpoint(**fields)])) == [(0, f"networkEndpoints[0].{field}", "INVALID_ENDPOINT")]


@pytest.mark.parametrize("fields", [{}, {"key": "gw"}, {"value": "text"}, {"sourceIp": "10.0.0.1"}, {"targetIp": " "}])
def test_an_endpoint_that_a_health_check_asks_needs_an_address(check: Check, fields: dict[str, str]) -> None:
    assert brief(check([endpoint(**fields)])) == [(0, "networkEndpoints[0]", "INVALID_ENDPOINT")]
    without = [{"name": "a", "steps": [{"healthCheck": {"endpoints": ["http://10.0.0.1/"]}}]}]
    assert check([endpoint(**fields)], {"services": without}) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("targetIp", "8.8.8.8"),
        ("targetIp", "169.254.169.254"),
        ("targetIp", "0.0.0.0"),
        ("targetIp", "[2001:4860:4860::8888]:80"),
        ("targetIp", "::ffff:8.8.8.8"),
        ("targetDomain", "8.8.8.8"),
        ("value", "http://8.8.8.8/"),
        ("value", "http://user@8.8.8.8:80/x"),
        ("value", "http://[fe80::1]/"),
        ("value", "http://169.254.169.254/latest"),
    ],
)
def test_addresses_outside_the_allow_list(check: Check, field: str, value: str) -> None:
    assert brief(check([endpoint(**{field: value})])) == [(0, f"networkEndpoints[0].{field}", "ENDPOINT_NOT_ALLOWED")]


def test_the_operator_may_allow_more() -> None:
    factory = make_factory(endpoint_allow_list=("8.8.8.0/24",), services=tuple(SERVICES))
    good = config(networkEndpoints=[{"targetIp": "8.8.8.8"}], sourceTenantDeployConfig=source(networkEndpoints=None))
    assert factory.validate(factory.read([good])) == ()
    bad = config(sourceTenantDeployConfig=source(networkEndpoints=None))
    assert brief(factory.validate(factory.read([bad]))) == [(0, "networkEndpoints[0].targetIp", "ENDPOINT_NOT_ALLOWED")]


def test_no_endpoints_where_a_health_check_takes_them(check: Check) -> None:
    assert brief(check([config(networkEndpoints=None)])) == [(0, "networkEndpoints", "NO_ENDPOINTS")]
    assert brief(check([config(networkEndpoints=[])])) == [(0, "networkEndpoints", "NO_ENDPOINTS")]
    quiet = [{"name": "a", "steps": [{"broadcast": {"target": "redis://127.0.0.1:6379/0", "channel": "c"}}]}]
    assert check([config(networkEndpoints=None)], {"services": quiet}) == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"trunkGroup": "t"}, "calledNumberRules"),
        ({"calledNumberRules": "1*"}, "trunkGroup"),
        ({"calledNumberRules": "1*", "trunkGroup": " "}, "trunkGroup"),
    ],
)
def test_media_routing_is_given_as_a_whole(check: Check, changes: dict[str, str], field: str) -> None:
    assert brief(check([config(**changes)])) == [(0, field, "INCOMPLETE_MEDIA_ROUTING")]
    assert check([config(calledNumberRules="1*", trunkGroup="t")]) == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tenantId": "other"}, "tenantId"),
        ({"tenantId": None}, "tenantId"),
        ({"deployUnitVersion": None}, "deployUnitVersion"),
        ({"deployUnitName": ""}, "deployUnitName"),
        ({"networkEndpoints": [{"targetIp": "nonsense"}]}, "networkEndpoints[0].targetIp"),
        ({"networkEndpoints": [{}]}, "networkEndpoints[0]"),
    ],
)
def test_a_source_is_a_config_of_the_same_tenant(check: Check, changes: dict[str, Any], field: str) -> None:
    found = check([config(sourceTenantDeployConfig=source(**changes))])
    assert brief(found) == [(0, f"sourceTenantDeployConfig.{field}", "INVALID_SOURCE")]


def test_a_source_without_endpoints_uses_those_of_the_switch(check: Check) -> None:
    assert check([config(sourceTenantDeployConfig=source(networkEndpoints=None))]) == ()


def test_a_source_may_not_lead_outside_the_allow_list(check: Check) -> None:
    found = check([config(sourceTenantDeployConfig=source(networkEndpoints=[{"targetIp": "8.8.8.8"}]))])
    assert brief(found) == [(0, "sourceTenantDeployConfig.networkEndpoints[0].targetIp", "ENDPOINT_NOT_ALLOWED")]


def test_a_tenant_on_hold(check: Check) -> None:
    found = check([config()], facts=facts(hold=Hold(reason="rolled back", since=NOW)))
    assert brief(found) == [(0, "tenantId", "TENANT_ON_HOLD")]
    assert "rolled back" in found[0].message
    assert "unhold" in found[0].message


@pytest.mark.parametrize("taken", [{"owner": OTHER_TASK}, {"waiting": 1}])
def test_a_tenant_that_another_task_holds(check: Check, taken: dict[str, Any]) -> None:
    assert brief(check([config()], facts=facts(**taken))) == [(0, "tenantId", "TENANT_CONFLICT")]
    assert check([config()], {"onConflict": "wait"}, facts(**taken)) == ()


def test_the_conflict_names_the_task(check: Check) -> None:
    assert "7-3" in check([config()], facts=facts(owner=OTHER_TASK))[0].message


def test_nothing_to_switch_is_a_warning(check: Check) -> None:
    same = {name: value for name, value in config().items() if name != "sourceTenantDeployConfig"}
    found = check([config(sourceTenantDeployConfig=same, planId=4)])
    assert brief(found) == [(0, "", "NO_CHANGE")]
    assert found[0].severity is Severity.WARNING
    assert first_error(found) is None
    known = TenantDeployConfig.model_validate(same).to_snapshot()
    assert brief(check([config(sourceTenantDeployConfig=None)], facts=facts(last_known_good=known))) == [
        (0, "", "NO_CHANGE")
    ]


def test_no_way_back_is_a_warning(check: Check) -> None:
    found = check([config(sourceTenantDeployConfig=None)])
    assert brief(found) == [(0, "sourceTenantDeployConfig", "NO_PREVIOUS_CONFIG")]
    assert found[0].severity is Severity.WARNING
    known = TenantDeployConfig.model_validate(source()).to_snapshot()
    assert check([config(sourceTenantDeployConfig=None)], facts=facts(last_known_good=known)) == ()


# Stages


class Made:
    def __init__(self, name: object) -> None:
        self.name = name
        self.steps = ()
        self.rollback = None


def raising(_config: TenantDeployConfig) -> Sequence[TaskStage]:
    raise RuntimeError("no stages today")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda _: (), "no stage"),
        (lambda _: [Made("a"), Made("b"), Made("a")], "'a'"),
        (lambda _: [Made(" ")], "has no name"),
        (lambda _: [Made(5)], "no name"),
        (lambda _: [object()], "no TaskStage"),
        (lambda _: None, "TypeError"),
        (raising, "no stages today"),
    ],
)
def test_a_stage_factory_that_gives_nothing_usable(made: StageFactory, message: str) -> None:
    factory = make_factory(made)
    found = factory.validate(factory.read([config(), config("b")]))
    assert brief(found) == [(0, "", "INVALID_STAGES"), (1, "", "INVALID_STAGES")]
    assert message in found[0].message


def test_a_stage_factory_sees_the_config_as_it_will_be() -> None:
    seen: list[TenantDeployConfig] = []

    def made(given: TenantDeployConfig) -> Sequence[TaskStage]:
        seen.append(given)
        return [CompositeServiceStage("a", [])]

    factory = make_factory(made)
    assert factory.validate(factory.read([config()], {"planId": 5, "planVersion": 6})) == ()
    assert (seen[0].tenant_id, seen[0].plan_id, seen[0].plan_version) == ("acme", 5, 6)


def test_a_stage_factory_goes_before_the_settings_and_after_the_plan() -> None:
    factory = make_factory(lambda _: [CompositeServiceStage("made", [])], services=tuple(SERVICES))
    draft = factory.read([config()])
    assert draft.rules.services == ()
    assert factory.validate(draft) == ()
    assert draft.stage_names == [("made",)]
    assert len(factory.read([config()], {"services": SERVICES}).rules.services) == 2


def test_no_stages_at_all_says_how_to_give_some(factory: PlanFactory) -> None:
    found = factory.validate(factory.read([config()]))
    assert brief(found) == [(None, "services", "INVALID_STAGES")]
    assert "stage_factory" in found[0].message


def test_what_is_wrong_with_the_catalogue_is_found(check: Check) -> None:
    services = [{"name": "a", "steps": [{"healthCheck": {"attemptz": 3}}]}]
    assert brief(check([config()], {"services": services})) == [
        (None, "services[0].steps[0].healthCheck.attemptz", "UNKNOWN_FIELD")
    ]
    assert brief(check([config()], {"services": []})) == [(None, "services", "INVALID_STAGES")]


def test_a_wrong_catalogue_of_the_settings_says_where_it_is() -> None:
    factory = make_factory(services=({"name": "a"},))
    assert "(in the settings)" in factory.validate(factory.read([config()]))[0].message


# Order


def test_errors_come_first_then_in_the_order_of_the_configs(check: Check) -> None:
    found = check([config("a", sourceTenantDeployConfig=None), config("b", deployUnitId=-1), config("a b")], {"x": 1})
    assert brief(found) == [
        (None, "x", "UNKNOWN_FIELD"),
        (1, "deployUnitId", "NEGATIVE_VERSION"),
        (2, "tenantId", "INVALID_TENANT_ID"),
        (0, "sourceTenantDeployConfig", "NO_PREVIOUS_CONFIG"),
    ]
    error = first_error(found)
    assert error is not None
    assert error.code is ErrorCode.UNKNOWN_FIELD


def test_validating_twice_finds_the_same(factory: PlanFactory) -> None:
    draft = factory.read([config("a b"), config(deployUnitId="x")], {"services": SERVICES})
    assert factory.validate(draft) == factory.validate(draft)


def test_every_validator_sees_every_config(factory: PlanFactory) -> None:
    """A wrong first config hides nothing about the last one."""
    changes = {"deployUnitId": -1, "trunkGroup": "t", "networkEndpoints": [{"targetIp": "8.8.8.8"}, {}]}
    configs = [config("x y", **changes), config("good"), config("z z", **changes)]
    draft = factory.read(configs, {"services": SERVICES})
    found = factory.validate(draft)
    assert [code for index, _, code in brief(found) if index == 0] == [
        code for index, _, code in brief(found) if index == 2
    ]
    assert len(VALIDATORS) == 14


# --- health settings ---


@pytest.mark.parametrize(
    ("health", "field"),
    [
        ({"consecutive": 5, "attempts": 3}, "health.consecutive"),
        ({"consecutive": 11}, "health.consecutive"),
        ({"expect": "{nope}"}, "health.expect"),
        ({"path": "/{nope}"}, "health.path"),
        ({"versionKey": "a[["}, "health.versionKey"),
    ],
)
def test_health_settings_with_which_no_check_can_pass(health: dict[str, object], field: str) -> None:
    with_stages = make_factory(lambda _config: [CompositeServiceStage("a", [])])
    for factory in (with_stages, make_factory(services=SERVICES)):
        found = brief(factory.validate(factory.read([config()], {"health": health})))
        assert found[0] == (None, field, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("step", "health", "name"),
    [({"consecutive": 11}, {}, "consecutive"), ({"attempts": 2}, {"consecutive": 3}, "attempts")],
)
def test_a_health_check_that_its_plan_makes_impossible(
    check: Check, step: dict[str, object], health: dict[str, object], name: str
) -> None:
    services = [*SERVICES, {"name": "third", "steps": [SERVICES[0]["steps"][0], {"healthCheck": step}]}]
    found = check([config()], {"services": services, "health": health})
    assert brief(found) == [(None, f"services[2].steps[1].healthCheck.{name}", "INVALID_FIELD")]
    assert "can never come within" in found[0].message
