"""PlanFactory.read: whatever comes in, nothing is raised, nothing is kept, everything is found."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from switchover.dto import NetworkEndpoint, TenantDeployConfig
from switchover.factory import PlanFactory, first_error
from switchover.factory.reading import read_configs
from switchover.testing import strategies
from tests.support.growth import seconds
from tests.support.plans import SERVICES, Check, brief, config, make_factory, source

CAMEL_TO_SNAKE = {info.alias: name for name, info in TenantDeployConfig.model_fields.items()}


def snake(data: dict[str, Any]) -> dict[str, Any]:
    return {CAMEL_TO_SNAKE[name]: value for name, value in data.items()}


@pytest.mark.parametrize(
    "configs",
    [
        [config()],
        (config(),),
        iter([config()]),
        [snake(config())],
        [MappingProxyType(config())],
        [TenantDeployConfig.model_validate(config())],
        [config(networkEndpoints=[NetworkEndpoint(target_ip="10.0.0.1:8080")])],
        [config(networkEndpoints=(MappingProxyType({"target_ip": "10.0.0.1:8080"}),))],
    ],
    ids=["list", "tuple", "iterator", "snake", "proxy", "model", "endpoint model", "nested proxy"],
)
def test_models_and_mappings_in_either_spelling_are_the_same(factory: PlanFactory, configs: object) -> None:
    draft = factory.read(configs, {"services": SERVICES})
    assert draft.findings == ()
    assert draft.configs == (TenantDeployConfig.model_validate(config()).to_snapshot(),)


@pytest.mark.parametrize("configs", ["acme", b"bytes", 5, {"tenantId": "acme"}, object(), 4.5, True])
def test_what_is_no_list_is_one_finding(check: Check, configs: object) -> None:
    assert brief(check(configs)) == [(None, "configs", "INVALID_FIELD")]


def test_a_single_model_is_no_list(check: Check) -> None:
    assert brief(check(TenantDeployConfig.model_validate(config()))) == [(None, "configs", "INVALID_FIELD")]


@pytest.mark.parametrize("configs", [None, [], (), iter(())])
def test_no_configs_are_an_empty_plan(check: Check, configs: object) -> None:
    assert brief(check(configs)) == [(None, "configs", "EMPTY_PLAN")]


def test_junk_in_the_list_does_not_hide_its_neighbours(check: Check) -> None:
    found = check([None, config("a", deployUnitId=-1), 5, "x", [], config("b")])
    assert brief(found) == [
        (0, "", "INVALID_FIELD"),
        (1, "deployUnitId", "NEGATIVE_VERSION"),
        (2, "", "INVALID_FIELD"),
        (3, "", "INVALID_FIELD"),
        (4, "", "INVALID_FIELD"),
    ]


def test_an_iterator_that_raises_is_a_finding(check: Check) -> None:
    def configs() -> Iterator[object]:
        yield config()
        raise RuntimeError("gone")

    assert brief(check(configs())) == [(None, "configs", "INVALID_FIELD")]


def test_a_mapping_that_raises_is_a_finding(check: Check) -> None:
    class Hostile(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            raise RuntimeError(key)

        def __iter__(self) -> Iterator[str]:
            raise RuntimeError

        def __len__(self) -> int:
            return 1

    assert brief(check([Hostile()])) == [(0, "", "INVALID_FIELD")]
    assert brief(check([config()], Hostile()))[0] == (None, "", "INVALID_FIELD")


def test_everything_that_is_wrong_with_one_config_is_found_at_once(check: Check) -> None:
    found = check(
        [
            config(
                deployUnitId="2",
                deployUnitVersion=True,
                deployUnitNam="green",
                networkEndpoints=[{"targetIp": 5, "port": 3}, 7, {"targetIp": "8.8.8.8"}, {}],
                trunkGroup="t",
                planId=-4,
                tags={"ring": "beta"},
                sourceTenantDeployConfig={"tenantId": "b", "deployUnitId": 1, "deployUnitName": "blue"},
            )
        ]
    )
    assert set(brief(found)) == {
        (0, "deployUnitId", "INVALID_FIELD"),
        (0, "deployUnitVersion", "INVALID_FIELD"),
        (0, "deployUnitNam", "UNKNOWN_FIELD"),
        (0, "networkEndpoints[0].targetIp", "INVALID_FIELD"),
        (0, "networkEndpoints[0].port", "UNKNOWN_FIELD"),
        (0, "networkEndpoints[1]", "INVALID_FIELD"),
        (0, "networkEndpoints[2].targetIp", "ENDPOINT_NOT_ALLOWED"),
        (0, "networkEndpoints[3]", "INVALID_ENDPOINT"),
        (0, "calledNumberRules", "INCOMPLETE_MEDIA_ROUTING"),
        (0, "planId", "NEGATIVE_VERSION"),
        (0, "tags", "UNKNOWN_FIELD"),
        (0, "sourceTenantDeployConfig.deployUnitVersion", "INVALID_SOURCE"),
        (0, "sourceTenantDeployConfig.tenantId", "INVALID_SOURCE"),
    }
    assert {finding.tenant_id for finding in found} == {"acme"}


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"deployUnitId": "42"}, "deployUnitId", "INVALID_FIELD"),
        ({"deployUnitId": True}, "deployUnitId", "INVALID_FIELD"),
        ({"deployUnitId": None}, "deployUnitId", "MISSING_FIELD"),
        ({"deploy_unit_id": 2}, "deployUnitId", "INVALID_FIELD"),
        ({"defaultFlag": "true"}, "defaultFlag", "INVALID_FIELD"),
        ({"tenantId": "\ud800"}, "tenantId", "INVALID_FIELD"),
        ({"deployUnitName": "x" * (1024 * 1024 + 1)}, "deployUnitName", "INVALID_FIELD"),
        ({"networkEndpoints": {}}, "networkEndpoints", "INVALID_FIELD"),
        ({"networkEndpoints": [{"targetIP": "10.0.0.1"}]}, "networkEndpoints[0].targetIP", "UNKNOWN_FIELD"),
        ({"sourceTenantDeployConfig": 5}, "sourceTenantDeployConfig", "INVALID_FIELD"),
        (
            {"sourceTenantDeployConfig": source(deployUnitId="x")},
            "sourceTenantDeployConfig.deployUnitId",
            "INVALID_FIELD",
        ),
        ({"sourceTenantDeployConfig": source(cell="x")}, "sourceTenantDeployConfig.cell", "UNKNOWN_FIELD"),
    ],
)
def test_wrong_values_are_named_in_camel_case(check: Check, changes: dict[str, Any], field: str, code: str) -> None:
    found = check([config(**changes)])
    assert (0, field, code) in brief(found)


def test_unknown_fields_name_the_nearest_one(check: Check) -> None:
    messages = {f.field: f.message for f in check([config(deployUnitNam="x")], {"maxConcurency": 3})}
    assert "did you mean 'deployUnitName'?" in messages["deployUnitNam"]
    assert "did you mean 'maxConcurrency'?" in messages["maxConcurency"]


@pytest.mark.parametrize("name", ["waves", "cells", "failurePolicy", "windows", "gates", "checks"])
def test_what_later_versions_bring_is_refused(check: Check, name: str) -> None:
    found = check([config()], {name: []})
    assert brief(found) == [(None, name, "UNKNOWN_FIELD")]
    assert "not supported by this version" in found[0].message


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"maxConcurrency": 0}, "maxConcurrency"),
        ({"max_concurrency": -1}, "maxConcurrency"),
        ({"maxConcurrency": "8"}, "maxConcurrency"),
        ({"maxConcurrency": True}, "maxConcurrency"),
        ({"maxConcurrency": 2.0}, "maxConcurrency"),
        ({"maxConcurrency": 2**31}, "maxConcurrency"),
        ({"onConflict": "yes"}, "onConflict"),
        ({"onConflict": True}, "onConflict"),
        ({"retry": {"max": -1}}, "retry.max"),
        ({"retry": 3}, "retry"),
        ({"rollback": {"onFailure": "never"}}, "rollback.onFailure"),
        ({"rollback": {"on_failure": "never"}}, "rollback.onFailure"),
        ({"rollback": {"hold": "yes"}}, "rollback.hold"),
        ({"health": {"interval": -1}}, "health.interval"),
        ({"health": {"interval": "3 parsecs"}}, "health.interval"),
        ({"health": {"interval": 10**400}}, "health.interval"),
        ({"health": {"interval": float("nan")}}, "health.interval"),
        ({"health": {"interval": "9" * 5000}}, "health.interval"),
        ({"health": {"timeout": 0}}, "health.timeout"),
        ({"health": {"attempts": 0}}, "health.attempts"),
        ({"health": {"consecutive": 0}}, "health.consecutive"),
        ({"health": {"path": "  "}}, "health.path"),
        ({"planId": "100"}, "planId"),
        ({"services": "gateway"}, "services"),
    ],
)
def test_options_have_their_ranges(check: Check, options: dict[str, Any], field: str) -> None:
    assert (None, field, "INVALID_FIELD") in brief(check([config()], options))


def test_wrong_options_leave_the_others_in_force(factory: PlanFactory) -> None:
    draft = factory.read([config()], {"services": SERVICES, "maxConcurrency": 0, "onConflict": "wait", "x": 1})
    assert brief(draft.findings) == [(None, "maxConcurrency", "INVALID_FIELD"), (None, "x", "UNKNOWN_FIELD")]
    assert draft.rules.on_conflict == "wait"
    assert draft.rules.max_concurrency == 10


@pytest.mark.parametrize("options", [5, "x", [], True])
def test_options_are_a_mapping(check: Check, options: object) -> None:
    assert (None, "", "INVALID_FIELD") in brief(check([config()], options))


def test_metadata_are_read_and_judged(factory: PlanFactory, check: Check) -> None:
    draft = factory.read([config()], None, {"name": "w48", "labels": {"change": "CHG-1"}})
    assert (draft.name, draft.labels) == ("w48", {"change": "CHG-1"})
    assert brief(check([config()], metadata={"name": 5, "labels": {"a": 1}, "owner": "x"})) == [
        (None, "metadata.name", "INVALID_FIELD"),
        (None, "metadata.labels.a", "INVALID_FIELD"),
        (None, "metadata.owner", "UNKNOWN_FIELD"),
    ]
    assert brief(check([config()], metadata="w48")) == [(None, "metadata", "INVALID_FIELD")]


def test_nothing_of_the_caller_is_kept(factory: PlanFactory) -> None:
    given = config()
    options = {"services": json.loads(json.dumps(SERVICES))}
    labels = {"a": "b"}
    draft = factory.read([given], options, {"labels": labels})
    before = draft.digest, repr(draft.rules), repr(draft.configs)
    given["networkEndpoints"][0]["targetIp"] = "8.8.8.8"
    given["sourceTenantDeployConfig"]["deployUnitName"] = "red"
    options["services"][0]["name"] = "other"
    options["services"][0]["steps"].clear()
    labels["a"] = "c"
    assert (draft.digest, repr(draft.rules), repr(draft.configs)) == before
    assert draft.labels == {"a": "b"}


def test_a_config_inside_itself_is_a_finding(check: Check) -> None:
    cyclic = config()
    cyclic["sourceTenantDeployConfig"] = cyclic
    options: dict[str, Any] = {"retry": {}}
    options["retry"]["max"] = options
    found = check([cyclic], options)
    assert {finding.code for finding in found} >= {"INVALID_FIELD"}


def test_the_source_of_a_source_is_ignored(check: Check) -> None:
    deep = config(sourceTenantDeployConfig=source(sourceTenantDeployConfig={"tenantId": 5, "junk": []}))
    assert check([deep]) == ()


def test_the_digest_is_of_the_content_not_of_its_spelling(factory: PlanFactory) -> None:
    one = factory.read([config()], {"services": SERVICES, "health": {"interval": "3s"}})
    two = factory.read([snake({**config(), "planId": None})], {"services": SERVICES, "health": {"interval": 3.0}})
    other = factory.read([config(deployUnitName="red")], {"services": SERVICES, "health": {"interval": "3s"}})
    broken = factory.read([config(deployUnitName=5)], {"services": SERVICES, "health": {"interval": "3s"}})
    assert one.digest == two.digest
    assert len({one.digest, other.digest, broken.digest}) == 3


def test_precedence_is_plan_then_settings_then_default() -> None:
    factory = make_factory(max_concurrency=5, max_retry=1, health_check_interval_seconds=7, services=tuple(SERVICES))
    bare = factory.read([config()]).rules
    assert (bare.max_concurrency, bare.max_retry, bare.health.interval_seconds, bare.health.path) == (
        5,
        1,
        7,
        "/health",
    )
    assert [service["name"] for service in bare.services] == ["gateway", "media"]
    options = {"maxConcurrency": 2, "retry": {"max": 0}, "health": {"interval": 0}, "services": SERVICES[:1]}
    own = factory.read([config()], options).rules
    assert (own.max_concurrency, own.max_retry, own.health.interval_seconds, len(own.services)) == (2, 0, 0, 1)


@given(strategies.configs())
def test_the_short_way_and_the_model_agree_on_what_is_right(data: dict[str, Any]) -> None:
    read = read_configs([data])
    assert not read.findings
    assert read.configs == [TenantDeployConfig.model_validate(data).to_snapshot()]


@given(strategies.configs(), st.data())
def test_the_short_way_and_the_model_agree_on_what_is_wrong(config: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*config, "tenant_id", "nope"]))
    config[name] = data.draw(strategies.junk())
    read = read_configs([config])
    try:
        snapshot = TenantDeployConfig.model_validate(config).to_snapshot()
    except ValidationError:
        # The source of a source is the one thing that the model judges and the factory ignores.
        assert read.findings or "sourceTenantDeployConfig" in str(config)
    else:
        assert not read.findings
        assert read.configs == [snapshot]


@given(strategies.junk(), strategies.junk(), strategies.junk())
def test_junk_never_raises(configs: object, options: object, metadata: object) -> None:
    factory = make_factory(services=tuple(SERVICES))
    for given_configs in (configs, [configs], [config(), configs, {"tenantId": configs}]):
        draft = factory.read(given_configs, options, metadata)
        findings = factory.validate(draft)
        assert all(json.dumps(finding.to_dict()) for finding in findings)
        assert draft.digest == factory.read(given_configs, options, metadata).digest


@given(strategies.config_lists(), strategies.options())
def test_what_is_valid_has_no_error(configs: list[dict[str, Any]], options: dict[str, Any]) -> None:
    factory = make_factory()
    assert first_error(factory.validate(factory.read(configs, options))) is None


@pytest.mark.slow
def test_time_grows_with_the_number_of_wrong_configs_and_no_faster() -> None:
    factory = make_factory(services=tuple(SERVICES))

    def configs(count: int) -> list[dict[str, Any]]:
        return [config(f"t{n}", deployUnitId="x", **{f"unknown{n}": n}) for n in range(count)]

    few, many = configs(1000), configs(4000)
    once = seconds(lambda: factory.validate(factory.read(few)))
    assert seconds(lambda: factory.validate(factory.read(many))) < 4 * 3 * max(once, 0.01)
