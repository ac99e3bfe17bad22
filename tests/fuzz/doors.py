"""
The doors: every place where text that other people wrote is read, each as a function of bytes.

A door lets out what its documentation names, findings and errors, and nothing else. What comes out must be presentable:
short, and text that can be stored and sent.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, cast

from pydantic import ValidationError

from switchover import ExecutorSettings, TenantDeployConfig
from switchover.adapters import health as health_answers
from switchover.domain.addresses import AllowList, host_and_port
from switchover.domain.durations import parse_duration
from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot
from switchover.dto import Finding
from switchover.dto.options import PlanMetadata, PlanOptions
from switchover.errors import InvalidPlanError, StageError, TargetError
from switchover.factory import PlanFactory
from switchover.factory.endpoints import EndpointJudge
from switchover.planfile import PlanFile, parse_plan
from switchover.planfile.json_text import parse_json
from switchover.planfile.positions import PlanSyntaxError
from switchover.planfile.tenants import configs_of, parse_csv
from switchover.redaction import without_credentials, without_secrets
from switchover.stages import health_check
from switchover.stages.catalogue import StageCatalogue
from switchover.stages.templates import JsonTemplate, TemplateScope, compile_template
from tests.support.plans import SERVICES

_FACTORY: Final = PlanFactory(ExecutorSettings(), StageCatalogue())
_CONFIG: Final = TenantDeployConfigSnapshot(
    tenant_id="acme", deploy_unit_id=2, deploy_unit_version=42, deploy_unit_name="gr/een ü"
)
_SCOPE: Final = TemplateScope(config=_CONFIG, plan_id=5, task_id="5-1", stage="gateway", generation=3)
_JUDGE: Final = EndpointJudge(AllowList(ExecutorSettings().endpoint_allow_list), asked=True)
_LONGEST_SHORT: Final = 2_000
"""Characters of a message that repeats only pieces of what it is about."""


class UnpresentableError(AssertionError):
    """A message that cannot be stored or sent, or that repeats a stranger at length."""


def _at_most(text: str, most: int) -> None:
    if len(text) > most:
        message = f"{len(text)} characters where {most} are enough: {text[:200]!r}"
        raise UnpresentableError(message)


def _presentable(text: str, most: int) -> None:
    _at_most(text, most)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnpresentableError(repr(text[:200])) from error


def _judge_findings(findings: Iterable[Finding], size: int) -> None:
    for finding in findings:
        _presentable(finding.message, _LONGEST_SHORT + 4 * size)  # the text of a template may be repeated
        _presentable(finding.field, _LONGEST_SHORT + size)
        _presentable(finding.tenant_id or "", _LONGEST_SHORT)
        assert (finding.line or 1) >= 1, finding
        assert (finding.column or 1) >= 1, finding


def _read_and_judge(configs: object, options: object, metadata: object, plan: PlanFile | None, size: int) -> None:
    draft = _FACTORY.read(configs, options, metadata)
    findings = _FACTORY.validate(draft)
    assert len(draft.digest) == 32
    _judge_findings(findings if plan is None else plan.locate(findings), size)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def plan(data: bytes) -> None:
    """A plan file: YAML or JSON, its tenants judged, and each finding given its place."""
    for name in ("plan", "plan.yaml"):
        try:
            found = parse_plan(data, name=name)
        except InvalidPlanError as error:
            _judge_findings(cast("Iterable[Finding]", error.findings), len(data))
            continue
        _read_and_judge(found.configs, found.options, found.metadata, found, len(data))


def documents(data: bytes) -> None:
    """What comes as the body of a request: configs, options, metadata, and each of the models by itself."""
    for model in (TenantDeployConfig, PlanOptions, PlanMetadata):
        with suppress(ValidationError):
            model.model_validate_json(data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    _read_and_judge(*_request(value), None, len(data))
    _read_and_judge([value], {"services": SERVICES}, None, None, len(data))
    _read_and_judge([], value, value, None, len(data))


def _request(value: object) -> tuple[object, object, object]:
    options = {"services": SERVICES}
    if not isinstance(value, dict):
        return value, options, None
    return value.get("configs", value), value.get("options", options), value.get("metadata")


def templates(data: bytes) -> None:
    """Templates of texts, of URLs, of JSON values, and whole catalogues."""
    text = _text(data)
    try:
        template = compile_template(text)
    except StageError as error:
        _at_most(error.message, _LONGEST_SHORT + 4 * len(text))
    else:
        with suppress(StageError):
            rendered = template.render(_SCOPE)
            assert len(rendered) <= len(text) * 20
        with suppress(StageError):
            template.render_url(_SCOPE)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = text
    with suppress(StageError):
        json.loads(JsonTemplate.compile(value).render(_SCOPE))
    for services in (value, [{"name": "a", "steps": [value]}], [{"name": "a", "steps": [{"configUpdate": value}]}]):
        for finding in StageCatalogue().compile(services).findings:
            assert len(finding.message) <= _LONGEST_SHORT + 4 * len(text), finding


def tenants(data: bytes) -> None:
    """Files of tenantsFrom, JSON and CSV, and ids of tenants."""
    text = data.decode("utf-8", "replace")
    for read in (_csv_configs, _json_configs):
        try:
            configs = read(text)
        except PlanSyntaxError as error:
            _presentable(error.message, _LONGEST_SHORT)
            continue
        _read_and_judge(configs, {"services": SERVICES}, None, None, len(data))
    named = {"tenantId": _text(data), "deployUnitId": 1, "deployUnitVersion": 1}
    findings = _FACTORY.validate(_FACTORY.read([named], {"services": SERVICES}))
    _judge_findings(findings, len(data))
    legal = all(char.isascii() and (char.isalnum() or char in "._-:") for char in _text(data)) and 0 < len(data) <= 128
    codes = {str(finding.code) for finding in findings if finding.field == "tenantId"}
    assert legal == (not codes), (data, codes)


def _csv_configs(text: str) -> list[object]:
    configs, lines = parse_csv(text)
    assert len(configs) == len(lines)
    return configs


def _json_configs(text: str) -> list[object]:
    return configs_of(parse_json(text))[0]


def health(data: bytes) -> None:
    """The first line is a version key, the second the version, the rest the body that an endpoint answers."""
    head, _, body = data.partition(b"\n{")
    key, _, version = head.decode("utf-8", "replace").partition("\n")
    body = b"{" + body
    try:
        answer = health_answers._parse(body)
    except TargetError as error:
        _presentable(error.message, _LONGEST_SHORT)
        answer = {"version": version}
    with suppress(StageError):
        _compare(key, version, answer)
    for known in ("version", "$.app.builds[0].version"):
        _compare(known, version, answer)


def _compare(key: str, version: str, answer: Mapping[str, object]) -> None:
    wrong = health_check._comparison(key, version)(answer)
    if wrong is not None:
        _presentable(wrong, _LONGEST_SHORT + 8 * len(key))


def addresses(data: bytes) -> None:
    """Endpoints, their URLs, allow-lists, durations, and what is shown of an address."""
    text = _text(data)
    for shown in (without_credentials(text), without_secrets(text.encode("utf-8", "backslashreplace").decode())):
        _presentable(shown, _LONGEST_SHORT + 12 * len(text))
    AllowList(["10.0.0.0/8", "fd00::/8"]).permits(text)
    for read in (host_and_port, parse_duration, _network, health_answers._parsed):
        with suppress(ValueError):
            read(text)
    with suppress(StageError):
        health_check.read_endpoint(text)
    for endpoint in _endpoints(text):
        for problem in _JUDGE.problems(endpoint, _CONFIG):
            assert len(problem.message) <= _LONGEST_SHORT + 4 * len(text), problem
        with suppress(StageError):
            health_check.endpoint_url(endpoint, compile_template("/live/{tenantId}"), _SCOPE)


def _network(text: str) -> AllowList:
    return AllowList([text])


def _endpoints(text: str) -> Iterator[NetworkEndpointSnapshot]:
    yield NetworkEndpointSnapshot(value=text)
    yield NetworkEndpointSnapshot(value=f"http://{text}")
    yield NetworkEndpointSnapshot(target_ip=text, source_domain=text)
    yield NetworkEndpointSnapshot(target_domain=text, source_ip=text)


DOORS: Final[Mapping[str, Callable[[bytes], None]]] = {
    door.__name__: door for door in (plan, documents, templates, tenants, health, addresses)
}
