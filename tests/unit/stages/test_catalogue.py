from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from switchover.domain.plan import HealthSettings
from switchover.errors import ErrorCode
from switchover.stages.catalogue import StageCatalogue
from switchover.stages.steps import BroadcastStep, ConfigUpdateStep, HealthCheckStep

EXAMPLE = """
- name: gateway
  steps:
    - configUpdate: {target: "redis://127.0.0.1:6379/0", key: "tenant_config:{tenantId}", field: gateway,
                     value: {unit: "{deployUnitName}", version: "{deployUnitVersion}"}}
    - broadcast: {target: "redis://127.0.0.1:6379/0", channel: "tenant_config:topic"}
    - healthCheck: {}
- name: media
  steps:
    - configUpdate: {target: "file:///etc/media/map.json", key: "{tenantId}", value: null}
    - configUpdate: {target: "http://127.0.0.1:1/x", key: "{tenantId}", value: "{trunkGroup}"}
    - healthCheck: {endpoints: ["http://127.0.0.1/{tenantId}"], interval: 500ms, attempts: 3, timeout: 1, path: /h,
                    versionKey: "$.app.version", expect: "{planVersion}", consecutive: 2}
"""


@pytest.fixture
def catalogue() -> StageCatalogue:
    return StageCatalogue()


def read(text: str) -> Any:  # noqa: ANN401  # whatever the text says
    return yaml.safe_load(text)


def findings(catalogue: StageCatalogue, text: str) -> list[tuple[str, ErrorCode]]:
    return [(finding.field, finding.code) for finding in catalogue.compile(read(text)).findings]


def test_the_example_of_the_interfaces_compiles(catalogue: StageCatalogue) -> None:
    compiled = catalogue.compile(read(EXAMPLE))
    assert compiled.findings == ()
    assert [stage.name for stage in compiled.stages] == ["gateway", "media"]
    gateway, media = compiled.stages
    assert [type(step) for step in gateway.steps] == [ConfigUpdateStep, BroadcastStep, HealthCheckStep]
    assert [step.name for step in media.steps] == ["configUpdate", "configUpdate#2", "healthCheck"]
    assert compiled.required_fields == {"tenantId", "deployUnitName", "deployUnitVersion", "trunkGroup", "planVersion"}
    assert compiled.uses_tenant_endpoints
    last = media.steps[-1]
    assert isinstance(last, HealthCheckStep)
    assert (last.interval, last.attempts, last.version_key, last.consecutive) == ("500ms", 3, "$.app.version", 2)


def test_tenants_need_no_endpoints_when_the_catalogue_brings_them(catalogue: StageCatalogue) -> None:
    compiled = catalogue.compile(read("[{name: a, steps: [{healthCheck: {endpoints: [10.0.0.1]}}]}]"))
    assert compiled.findings == ()
    assert not compiled.uses_tenant_endpoints


def test_the_same_content_is_compiled_once(catalogue: StageCatalogue) -> None:
    first = catalogue.compile(read(EXAMPLE))
    assert catalogue.compile(read(EXAMPLE)) is first
    assert catalogue.compile(tuple(read(EXAMPLE))) is first
    assert catalogue.compile(read(EXAMPLE), HealthSettings(expect="{trunkGroup}")) is not first


def test_the_plans_health_settings_need_their_fields_too(catalogue: StageCatalogue) -> None:
    services = read("[{name: a, steps: [{healthCheck: }]}]")
    assert catalogue.compile(services).required_fields == {"deployUnitVersion"}
    health = HealthSettings(expect="{planVersion}", path="/{nacosNameSpace}")
    assert catalogue.compile(services, health).required_fields == {"planVersion", "nacosNameSpace"}


def test_memory_is_bounded(catalogue: StageCatalogue) -> None:
    for number in range(200):
        catalogue.compile([{"name": f"s{number}", "steps": [{"healthCheck": {}}]}])
    assert len(catalogue._cache) <= 64


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ("[]", "services", "INVALID_STAGES"),
        ("{}", "services", "INVALID_STAGES"),
        ("null", "services", "INVALID_STAGES"),
        ("gateway", "services", "INVALID_STAGES"),
        ("[5]", "services[0]", "INVALID_FIELD"),
        ("[{steps: [{healthCheck: {}}]}]", "services[0].name", "MISSING_FIELD"),
        ("[{name: '', steps: [{healthCheck: {}}]}]", "services[0].name", "MISSING_FIELD"),
        ("[{name: 7, steps: [{healthCheck: {}}]}]", "services[0].name", "INVALID_FIELD"),
        ("[{name: a}]", "services[0].steps", "MISSING_FIELD"),
        ("[{name: a, steps: []}]", "services[0].steps", "INVALID_STAGES"),
        ("[{name: a, steps: [healthCheck]}]", "services[0].steps[0]", "INVALID_FIELD"),
        ("[{name: a, steps: [{}]}]", "services[0].steps[0]", "INVALID_FIELD"),
        ("[{name: a, steps: [{healthCheck: {}, broadcast: {}}]}]", "services[0].steps[0]", "INVALID_FIELD"),
        ("[{name: a, steps: [{configUpdates: {}}]}]", "services[0].steps[0].configUpdates", "UNKNOWN_FIELD"),
        ("[{name: a, stpes: [], steps: [{healthCheck: {}}]}]", "services[0].stpes", "UNKNOWN_FIELD"),
    ],
)
def test_wrong_services_are_findings(catalogue: StageCatalogue, text: str, field: str, code: str) -> None:
    compiled = catalogue.compile(read(text))
    assert (field, ErrorCode(code)) in [(finding.field, finding.code) for finding in compiled.findings]
    assert compiled.stages == ()


def test_two_services_of_one_name_are_refused(catalogue: StageCatalogue) -> None:
    text = "[{name: a, steps: [{healthCheck: {}}]}, {name: a, steps: [{healthCheck: {}}]}]"
    assert findings(catalogue, text) == [("services[1].name", ErrorCode.INVALID_STAGES)]


@pytest.mark.parametrize(
    ("entry", "field", "code"),
    [
        ("configUpdate: {key: k, value: 1}", "configUpdate.target", "MISSING_FIELD"),
        ("configUpdate: {target: 'redis://h', value: 1}", "configUpdate.key", "MISSING_FIELD"),
        ("configUpdate: {target: 'redis://h', key: k}", "configUpdate.value", "MISSING_FIELD"),
        ("configUpdate: {target: 'ftp://h', key: k, value: 1}", "configUpdate.target", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis', key: k, value: 1}", "configUpdate.target", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis://', key: k, value: 1}", "configUpdate.target", "INVALID_FIELD"),
        ("configUpdate: {target: 'file://x/y', key: k, value: 1}", "configUpdate.target", "INVALID_FIELD"),
        ("configUpdate: {target: 5, key: k, value: 1}", "configUpdate.target", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis://{tenantId}', key: k, value: 1}", "configUpdate.target", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis://h', key: '{tenant}', value: 1}", "configUpdate.key", "UNKNOWN_FIELD"),
        ("configUpdate: {target: 'redis://h', key: '{generation}', value: 1}", "configUpdate.key", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis://h', key: 5, value: 1}", "configUpdate.key", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis://h', key: k, field: '', value: 1}", "configUpdate.field", "INVALID_FIELD"),
        ("configUpdate: {target: 'redis://h', key: k, fieldd: f, value: 1}", "configUpdate.fieldd", "UNKNOWN_FIELD"),
        ("configUpdate: {target: 'redis://h', key: k, value: {a: '{x}'}}", "configUpdate.value", "UNKNOWN_FIELD"),
        ("configUpdate: {target: 'redis://h', key: k, value: 2026-01-01}", "configUpdate.value", "INVALID_FIELD"),
        ("configUpdate: 5", "configUpdate", "INVALID_FIELD"),
        ("broadcast: {channel: c}", "broadcast.target", "MISSING_FIELD"),
        ("broadcast: {target: 'redis://h'}", "broadcast.channel", "MISSING_FIELD"),
        ("broadcast: {target: 'file:///x'}", "broadcast.target", "INVALID_FIELD"),
        ("configUpdate: {target: '', key: k, value: 1}", "configUpdate.target", "MISSING_FIELD"),
        ("configUpdate: {target: 'redis://h:1', key: ' ', value: 1}", "configUpdate.key", "MISSING_FIELD"),
        ("broadcast: {target: ''}", "broadcast.target", "MISSING_FIELD"),
        ("broadcast: {target: 'http://h:port/x'}", "broadcast.target", "INVALID_FIELD"),
        ("broadcast: {target: 'http://h:99999'}", "broadcast.target", "INVALID_FIELD"),
        ("broadcast: {target: 'http://[::]:@'}", "broadcast.target", "INVALID_FIELD"),
        ("broadcast: {target: 'http://h', message: '{'}", "broadcast.message", "INVALID_FIELD"),
        ("broadcast: {target: 'http://h', channell: c}", "broadcast.channell", "UNKNOWN_FIELD"),
        ("healthCheck: {interval: soon}", "healthCheck.interval", "INVALID_FIELD"),
        ("healthCheck: {timeout: 0}", "healthCheck.timeout", "INVALID_FIELD"),
        ("healthCheck: {attempts: 0}", "healthCheck.attempts", "INVALID_FIELD"),
        ("healthCheck: {attempts: '3'}", "healthCheck.attempts", "INVALID_FIELD"),
        ("healthCheck: {attempts: 2, consecutive: 3}", "healthCheck", "INVALID_FIELD"),
        ("healthCheck: {versionKey: 'a..b'}", "healthCheck.versionKey", "INVALID_FIELD"),
        ("healthCheck: {version_key: v}", "healthCheck.version_key", "UNKNOWN_FIELD"),
        ("healthCheck: {expect: '{planversion}'}", "healthCheck.expect", "UNKNOWN_FIELD"),
        ("healthCheck: {expect: 5}", "healthCheck.expect", "INVALID_FIELD"),
        ("healthCheck: {endpoints: []}", "healthCheck.endpoints", "INVALID_FIELD"),
        ("healthCheck: {endpoints: 5}", "healthCheck.endpoints", "INVALID_FIELD"),
        ("healthCheck: {endpoints: [5]}", "healthCheck.endpoints[0]", "INVALID_FIELD"),
        ("healthCheck: {endpoints: ['a b']}", "healthCheck.endpoints[0]", "INVALID_FIELD"),
        ("healthCheck: {endpoints: [{targetIP: x}]}", "healthCheck.endpoints[0]", "UNKNOWN_FIELD"),
        ("healthCheck: {endpoints: ['http://h/{x}']}", "healthCheck.endpoints[0]", "UNKNOWN_FIELD"),
    ],
)
def test_wrong_steps_are_findings_with_their_place(
    catalogue: StageCatalogue, entry: str, field: str, code: str
) -> None:
    text = f"[{{name: a, steps: [{{healthCheck: {{}}}}, {{{entry}}}]}}]"
    assert findings(catalogue, text) == [(f"services[0].steps[1].{field}", ErrorCode(code))]


def test_everything_is_reported_at_once(catalogue: StageCatalogue) -> None:
    text = "[{name: a, x: 1, steps: [{configUpdate: {target: 'ftp://h', key: '{x}'}}, {nope: 1}]}, {name: a, steps: 5}]"
    assert len(findings(catalogue, text)) == 7


def test_the_nearest_name_is_offered(catalogue: StageCatalogue) -> None:
    [finding] = catalogue.compile(read("[{name: a, steps: [{healthCheck: {version_key: v}}]}]")).findings
    assert finding.message == "unknown field 'version_key'; did you mean 'versionKey'?"


def test_findings_show_no_passwords(catalogue: StageCatalogue) -> None:
    compiled = catalogue.compile(
        [{"name": "a", "steps": [{"configUpdate": {"target": "ftp://u:s3cret@h/", "key": "k", "value": 1}}]}]
    )
    assert "s3cret" not in str(compiled.findings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "steps", "configUpdate", "broadcast", "healthCheck", "target", "key", "value"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_input_makes_it_raise(services: object) -> None:
    compiled = StageCatalogue().compile(services)
    assert bool(compiled.findings) != bool(compiled.stages)
