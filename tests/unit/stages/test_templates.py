import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.domain.task import TenantDeployConfigSnapshot
from switchover.errors import ErrorCode, StageError, StepError
from switchover.stages.templates import PLACEHOLDERS, JsonTemplate, Template, TemplateScope, compile_template

SCOPE = TemplateScope(
    config=TenantDeployConfigSnapshot(
        tenant_id="acme", deploy_unit_id=2, deploy_unit_version=42, deploy_unit_name='gr"een/ü', default_flag=True
    ),
    plan_id=100,
    task_id="100-1",
    stage="gateway",
    generation=5,
)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("tenant_config:{tenantId}", "tenant_config:acme"),
        ("{deployUnitVersion}", "42"),
        ("{planId}/{taskId}/{stage}/{generation}", "100/100-1/gateway/5"),
        ("{defaultFlag}", "true"),
        ("{{tenantId}} {{{tenantId}}}", "{tenantId} {acme}"),
        ("{ tenantId }", "acme"),
        ("no placeholder", "no placeholder"),
        ("", ""),
    ],
)
def test_templates_are_filled_in(text: str, rendered: str) -> None:
    assert compile_template(text).render(SCOPE) == rendered


def test_every_field_with_one_value_is_known() -> None:
    assert {"tenantId", "deployUnitId", "nacosNameSpace", "calledNumberRules", "trunkGroup", "planVersion"} < set(
        PLACEHOLDERS
    )
    assert "networkEndpoints" not in PLACEHOLDERS


def test_an_unknown_name_is_reported_with_the_nearest() -> None:
    with pytest.raises(StageError, match="did you mean 'tenantId'") as refused:
        compile_template("{tenant_id}")
    assert refused.value.code is ErrorCode.UNKNOWN_FIELD


@pytest.mark.parametrize("text", ["{", "a}b", "{tenantId", "{{tenantId}", "{a{b}}"])
def test_lone_braces_are_refused(text: str) -> None:
    with pytest.raises(StageError):
        compile_template(text)


def test_a_missing_field_is_named_when_it_is_needed() -> None:
    with pytest.raises(StepError, match="tenant acme has no trunkGroup") as failed:
        compile_template("{trunkGroup}").render(SCOPE)
    assert failed.value.code is ErrorCode.MISSING_FIELD


def test_only_fields_of_the_config_are_required() -> None:
    assert compile_template("{tenantId}{planId}{generation}{stage}{taskId}{planVersion}").required_fields == {
        "tenantId",
        "planVersion",
    }


def test_values_cannot_break_out_of_a_url() -> None:
    assert compile_template("/t/{deployUnitName}?x=1").render_url(SCOPE) == "/t/gr%22een%2F%C3%BC?x=1"
    dots = TemplateScope(config=TenantDeployConfigSnapshot(tenant_id="..", deploy_unit_id=1, deploy_unit_version=1))
    assert compile_template("/t/{tenantId}/x").render_url(dots) == "/t/%2E%2E/x"


def test_json_values_are_text_sorted_and_escaped() -> None:
    value = {
        "version": "{deployUnitVersion}",
        "unit": "{deployUnitName}",
        "n": [1, None, True, 1.5, "{{}}"],
        "{stage}": {},
    }
    template = JsonTemplate.compile(value)
    assert template.render(SCOPE) == (
        '{"n":[1,null,true,1.5,"{}"],"unit":"gr\\"een/ü","version":"42","gateway":{}}'.encode()
    )
    assert template.required_fields == {"deployUnitVersion", "deployUnitName"}


@pytest.mark.parametrize("value", [float("nan"), 2**70, {1: "a"}, object(), b"x", {"a": [{"b": object()}]}, "\ud800"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(StageError) as refused:
        JsonTemplate.compile(value)
    assert refused.value.code is ErrorCode.INVALID_FIELD


def test_the_place_inside_a_value_is_named() -> None:
    with pytest.raises(StageError, match=r"^\.a\[1\]\.b: unknown placeholder"):
        JsonTemplate.compile({"a": [1, {"b": "{nope}"}]})


def test_bottomless_values_are_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(StageError, match="too deeply"):
        JsonTemplate.compile(value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaped_text_comes_out_as_it_went_in(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert Template(escaped).render(SCOPE) == text
    assert JsonTemplate.compile(escaped).render(SCOPE).decode().startswith('"')
