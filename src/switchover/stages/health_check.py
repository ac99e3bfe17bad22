"""
HealthCheckStep: ask every endpoint of the tenant which version it serves, until all of them say the expected one.

Rounds are counted, not timed: exactly ``attempts`` at most, and no wait after the last. In a round every endpoint is
asked, one after another, whatever the others said, so that the failure can name all that are wrong. Nothing that an
endpoint does ends the check early: an error, a time-out and nonsense all count as "not yet".
Source: behaviour, section 6; lessons 35 to 39.
"""

import asyncio
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import orjson

from switchover.domain.addresses import host_and_port
from switchover.domain.durations import format_duration, parse_duration
from switchover.domain.plan import HealthSettings
from switchover.domain.policies import HealthCheckPolicy
from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.task import NetworkEndpointSnapshot
from switchover.domain.wire import ENDPOINT_NAMES, endpoint_from_dict
from switchover.errors import ErrorCode, ErrorType, HealthCheckError, StageError, StepError, text_of
from switchover.redaction import without_credentials
from switchover.spi import StepServices
from switchover.stages.failures import again, explained, place
from switchover.stages.templates import Template, TemplateScope, compile_template, nearest

_GRACE_SECONDS = 5.0
_GRACE_SHARE = 0.1
_LONGEST_SHOWN = 200

EndpointInput = str | Mapping[str, object] | NetworkEndpointSnapshot
"""A URL or address, a NetworkEndpoint as a mapping (camelCase or snake_case), or its snapshot."""


class _Round(NamedTuple):
    """How to ask, everything filled in."""

    urls: tuple[str, ...]
    attempts: int
    interval_seconds: float
    timeout_seconds: float
    consecutive: int
    judge: "Callable[[Mapping[str, object]], str | None]"
    expected: str


class _Failure(NamedTuple):
    """What one endpoint answered instead; ``kind`` is None when it did answer."""

    url: str
    text: str
    kind: ErrorType | None


# Tenants that go to one deploy unit ask the same addresses for the same version, and get the same answers: while they
# wait, they share what they know.
_DIFFERENT = 256
_round = lru_cache(maxsize=_DIFFERENT)(_Round)
_failure = lru_cache(maxsize=_DIFFERENT)(_Failure)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HealthCheckStep:
    """
    Polls until every endpoint reports the expected version in the same round.

    What is None is taken from the plan's health settings. A registered ``HealthCheckPolicy`` wins over interval and
    attempts, and its predicate replaces the comparison of versions.

    Attributes:
        endpoints: Whom to ask; None: the endpoints of the config to make effective, or those of the switch when it
            has none. Texts inside are templates.
        interval: Seconds, or a duration such as ``3s``, between two rounds.
        attempts: Rounds at most.
        timeout: Limit of one request, in seconds or as a duration.
        path: Template of the health path, for endpoints that are no URL.
        version_key: Plain key, or JSON path such as ``app.builds[0].version``.
        expect: Template of the expected version; compared as text.
        consecutive: How many rounds must pass in a row.
    """

    endpoints: Sequence[EndpointInput] | None = None
    interval: float | str | None = None
    attempts: int | None = None
    timeout: float | str | None = None
    path: str | None = None
    version_key: str | None = None
    expect: str | None = None
    consecutive: int | None = None
    name: str = "healthCheck"
    _endpoints: tuple[NetworkEndpointSnapshot, ...] | None = dataclasses.field(init=False, repr=False)
    _interval: float | None = dataclasses.field(init=False, repr=False)
    _timeout: float | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = self.endpoints
        object.__setattr__(self, "_endpoints", None if given is None else tuple(read_endpoint(item) for item in given))
        object.__setattr__(self, "_interval", _duration("interval", self.interval))
        object.__setattr__(self, "_timeout", _duration("timeout", self.timeout))
        if self._timeout == 0:
            raise _invalid("timeout must be above zero")
        for name, count in (("attempts", self.attempts), ("consecutive", self.consecutive)):
            if count is not None and (isinstance(count, bool) or count < 1):
                raise _invalid(f"{name} must be a number from 1, not {count!r}")
        if self.attempts is not None and self.consecutive is not None and self.consecutive > self.attempts:
            raise _invalid(f"{self.consecutive} consecutive rounds can never pass within {self.attempts} attempts")
        if self.version_key is not None:
            compile_json_path(self.version_key)
        for text in self._templates(HealthSettings()):
            compile_template(text)

    def _templates(self, health: HealthSettings) -> list[str]:
        texts = [self.path or health.path, self.expect or health.expect]
        for endpoint in self._endpoints or ():
            texts.extend(text for text in (endpoint.value, endpoint.target_domain, endpoint.target_ip) if text)
        return texts

    @property
    def uses_tenant_endpoints(self) -> bool:
        """Whether the endpoints come from the tenant's config."""
        return self._endpoints is None

    def required_fields(self, health: HealthSettings) -> frozenset[str]:
        """The config fields, in camelCase, that the step uses under these settings."""
        names: frozenset[str] = frozenset()
        for text in self._templates(health):
            names |= compile_template(text).required_fields
        return names

    def deadline_seconds(self, context: TaskRuntimeContext) -> float:
        """The step's own worst case, with a little room so that its own message comes before the engine's."""
        policy = StepServices.of(context).health_policy
        attempts, interval = self._attempts(context.health), self._interval_seconds(context.health)
        if policy is not None:
            attempts, interval = policy.max_attempts(), policy.interval()
        requests = attempts * len(self._asked(context)) * self._timeout_seconds(context.health)
        return (requests + (attempts - 1) * interval) * (1 + _GRACE_SHARE) + _GRACE_SECONDS

    def worst_case_seconds(self, health: HealthSettings, tenant_endpoints: int) -> float:
        """
        How long it takes to fail when every request times out.

        Args:
            tenant_endpoints: How many endpoints the tenant has; they count when the step asks those.
        """
        asked = tenant_endpoints if self._endpoints is None else len(self._endpoints)
        attempts = self._attempts(health)
        return attempts * asked * self._timeout_seconds(health) + (attempts - 1) * self._interval_seconds(health)

    def _attempts(self, health: HealthSettings) -> int:
        return health.attempts if self.attempts is None else self.attempts

    def _interval_seconds(self, health: HealthSettings) -> float:
        return health.interval_seconds if self._interval is None else self._interval

    def _timeout_seconds(self, health: HealthSettings) -> float:
        return health.timeout_seconds if self._timeout is None else self._timeout

    def _asked(self, context: TaskRuntimeContext) -> tuple[NetworkEndpointSnapshot, ...]:
        if self._endpoints is not None:
            return self._endpoints
        return context.config.network_endpoints or context.switch_config.network_endpoints

    async def execute(self, context: TaskRuntimeContext) -> None:
        """
        Ask until the answer is right, or the rounds are used up.

        Raises:
            HealthCheckError: They are used up; names every endpoint that was wrong and what it answered last.
            StepError: There is no endpoint to ask, or one has no address.
        """
        services = StepServices.of(context)
        try:
            plan = self._prepare(context, services)
        except StepError as error:
            raise explained(error, context, self.name) from error
        passed = 0
        failures: list[_Failure] = []
        for attempt in range(1, plan.attempts + 1):
            found: list[_Failure] = []
            for url in plan.urls:
                failure = await _ask(url, plan, services)
                if failure is not None:
                    found.append(failure)
            if found:
                passed, failures = 0, found
                context.log.debug("health round failed", round=attempt, of=plan.attempts, failing=len(found))
            else:
                passed += 1
                if passed >= plan.consecutive:
                    return
            if attempt < plan.attempts:
                await services.clock.sleep(plan.interval_seconds)
        raise self._failed(context, plan, failures, passed)

    def _prepare(self, context: TaskRuntimeContext, services: StepServices) -> _Round:
        health = context.health
        scope = TemplateScope.of(context)
        endpoints = self._asked(context)
        if not endpoints:
            raise StepError(
                "there is no endpoint to ask, so nothing could be confirmed; give the tenant networkEndpoints, or the "
                "health check its endpoints",
                code=ErrorCode.NO_ENDPOINTS,
                error_type=ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        path = compile_template(self.path or health.path)
        urls = tuple(endpoint_url(endpoint, path, scope) for endpoint in endpoints)
        consecutive = health.consecutive if self.consecutive is None else self.consecutive
        timeout = self._timeout_seconds(health)
        policy = services.health_policy
        if policy is not None:
            return _Round(
                urls=urls,
                attempts=policy.max_attempts(),
                interval_seconds=policy.interval(),
                timeout_seconds=timeout,
                consecutive=consecutive,
                judge=_predicate(policy),
                expected="what the registered health check policy accepts",
            )
        version_key = self.version_key or health.version_key
        version = compile_template(self.expect or health.expect).render(scope)
        return _round(
            urls,
            self._attempts(health),
            self._interval_seconds(health),
            timeout,
            consecutive,
            _comparison(version_key, version),
            f'{version_key} "{version}"',
        )

    def _failed(
        self, context: TaskRuntimeContext, plan: _Round, failures: Sequence[_Failure], passed: int
    ) -> HealthCheckError:
        if failures:
            head = f"{len(failures)} of {len(plan.urls)} endpoints did not report {plan.expected}"
            tail = "; ".join(f"{without_credentials(failure.url)} {failure.text}" for failure in failures)
        else:
            head = f"not enough rounds reported {plan.expected}"
            tail = "every endpoint was right in the last round"
        in_a_row = f" {plan.consecutive} times in a row ({passed} at the end)" if plan.consecutive > 1 else ""
        apart = f", {format_duration(plan.interval_seconds)} apart" if plan.attempts > 1 else ""
        rounds = "1 round" if plan.attempts == 1 else f"{plan.attempts} rounds"
        message = (
            f"{place(context, self.name)}: {head}{in_a_row} within {rounds}{apart}; last answers: {tail}. "
            f"Next: look at these instances, then {again(context)}"
        )
        return HealthCheckError(message, error_type=_kind(failures))


async def _ask(url: str, plan: _Round, services: StepServices) -> _Failure | None:
    try:
        async with asyncio.timeout(plan.timeout_seconds):
            body = await services.health_client.get(url)
        wrong = plan.judge(body)
    except TimeoutError:
        return _failure(url, f"gave no answer within {format_duration(plan.timeout_seconds)}", ErrorType.TIMEOUT_ERROR)
    except StepError as error:
        return _Failure(url, error.message, error.error_type)
    except Exception as error:  # noqa: BLE001  # whatever a client raises is a failed round, and is named at the end
        kind = ErrorType.NETWORK_ERROR if isinstance(error, OSError) else ErrorType.BUSINESS_ERROR
        return _Failure(url, f"failed with {text_of(error)[:_LONGEST_SHOWN]}", kind)
    return None if wrong is None else _failure(url, wrong, None)


def _kind(failures: Sequence[_Failure]) -> ErrorType:
    # An endpoint that answers something else is the stronger finding: the network works, the version is wrong.
    kinds = {failure.kind for failure in failures}
    if not kinds or None in kinds or ErrorType.BUSINESS_ERROR in kinds:
        return ErrorType.BUSINESS_ERROR
    if kinds == {ErrorType.TIMEOUT_ERROR}:
        return ErrorType.TIMEOUT_ERROR
    if kinds == {ErrorType.SERVICE_UNAVAILABLE}:
        return ErrorType.SERVICE_UNAVAILABLE
    return ErrorType.NETWORK_ERROR


def _predicate(policy: HealthCheckPolicy) -> Callable[[Mapping[str, object]], str | None]:
    def judge(body: Mapping[str, object]) -> str | None:
        return None if policy.success_predicate(body) else f"answered {_shown(body)}"

    return judge


@lru_cache(maxsize=256)  # tenants that go to the same version share one: each is half a kilobyte
def _comparison(version_key: str, version: str) -> Callable[[Mapping[str, object]], str | None]:
    path = compile_json_path(version_key)

    def judge(body: Mapping[str, object]) -> str | None:
        found = _look_up(body, version_key, path)
        if found is _MISSING:
            return f"answered without {version_key!r}: {_shown(body)}"
        if as_text(found) == version:
            return None
        return f"answered {version_key} {_shown(found)}"

    return judge


def as_text(value: object) -> str | None:
    """
    The text that a version is compared as: ``5`` is ``"5"``, ``true`` is ``"true"``.

    None for null, lists and objects, which equal no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return None


def _shown(value: object) -> str:
    try:
        text = orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError):
        text = str(value).encode("utf-8", "backslashreplace").decode()  # JSON can spell what UTF-8 cannot
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# --- version keys --------------------------------------------------------------------------------------------------

_MISSING = object()
_PATH_PART = re.compile(r"""\.?([^.\[\]]+)|\[(\d{1,9})\]|\[(?:'([^']*)'|"([^"]*)")\]""")


def compile_json_path(text: str) -> tuple[str | int, ...]:
    """
    ``$.a.b[0]['c']`` -> ``("a", "b", 0, "c")``; the leading ``$.`` may be left out.

    Raises:
        StageError: It cannot be read (INVALID_FIELD).
    """
    rest = text.removeprefix("$") if text == "$" or text.startswith(("$.", "$[")) else text
    parts: list[str | int] = []
    end = 0
    while end < len(rest):
        match = _PATH_PART.match(rest, end)
        if match is None or (match.group().startswith(".") and not parts and not text.startswith("$")):
            break
        name, index, single, double = cast("tuple[str | None, ...]", match.groups())
        if name is not None and parts and not match.group().startswith("."):
            break
        parts.append(int(index) if index is not None else next(x for x in (name, single, double) if x is not None))
        end = match.end()
    if end < len(rest) or not parts:
        raise _invalid(f"{text!r} is neither a key nor a JSON path such as app.builds[0].version")
    return tuple(parts)


def _look_up(body: Mapping[str, object], key: str, path: Sequence[str | int]) -> object:
    if key in body:
        return body[key]
    found: object = body
    for part in path:
        found = _member(found, part)
    return found


def _member(value: object, part: str | int) -> object:
    if isinstance(part, str):
        return cast("Mapping[str, object]", value).get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    items = cast("Sequence[object]", value) if isinstance(value, list) else ()
    return items[part] if part < len(items) else _MISSING


# --- endpoints -----------------------------------------------------------------------------------------------------


def read_endpoint(given: EndpointInput) -> NetworkEndpointSnapshot:
    """
    One entry of ``endpoints``.

    Raises:
        StageError: UNKNOWN_FIELD or INVALID_FIELD.
    """
    if isinstance(given, NetworkEndpointSnapshot):
        return given
    if isinstance(given, str):
        if not given.strip():
            raise _invalid("an endpoint must not be empty")
        return (
            NetworkEndpointSnapshot(value=given) if is_http_url(given) else NetworkEndpointSnapshot(target_domain=given)
        )
    values: dict[str, str | None] = {}
    for name, value in given.items():
        wire_name = ENDPOINT_NAMES.get(name, name)
        if wire_name not in ENDPOINT_NAMES.values():
            msg = f"unknown field {name!r}{nearest(str(name), tuple(ENDPOINT_NAMES.values()))}"
            raise StageError(msg, code=ErrorCode.UNKNOWN_FIELD)
        if value is not None and not isinstance(value, str):
            raise _invalid(f"{name} must be text, not {value!r}")
        values[wire_name] = value
    endpoint = endpoint_from_dict(values)
    if not (is_http_url(endpoint.value or "") or endpoint.target_domain or endpoint.target_ip):
        raise _invalid("an endpoint needs a value that is an http(s) URL, a targetDomain or a targetIp")
    return endpoint


def endpoint_url(endpoint: NetworkEndpointSnapshot, path: Template, scope: TemplateScope) -> str:
    """
    Where an endpoint is asked (behaviour, section 6, URL).

    Raises:
        StepError: It has no usable address (INVALID_ENDPOINT), or a placeholder's field is missing.
    """
    value = (endpoint.value or "").strip()
    if is_http_url(value):
        return _filled(value, scope, in_url=True)
    address = (endpoint.target_domain or "").strip() or (endpoint.target_ip or "").strip()
    try:
        host = host_and_port(_filled(address, scope, in_url=False))
    except ValueError as error:
        name = endpoint.key or endpoint.value or "without a key"
        msg = f"endpoint {name} has no usable address: {error}"
        raise StepError(
            msg, code=ErrorCode.INVALID_ENDPOINT, error_type=ErrorType.VALIDATION_ERROR, retryable=False
        ) from error
    rendered = path.render_url(scope)
    return f"http://{host}{rendered}" if rendered.startswith("/") else f"http://{host}/{rendered}"


def is_http_url(text: str) -> bool:
    """Whether an endpoint's value is used as it is."""
    return text.lstrip()[:8].lower().startswith(("http://", "https://"))


def _filled(text: str, scope: TemplateScope, *, in_url: bool) -> str:
    if "{" not in text:
        return text
    try:
        template = compile_template(text)
    except StageError as error:
        raise StepError(
            error.message, code=ErrorCode.INVALID_ENDPOINT, error_type=ErrorType.VALIDATION_ERROR, retryable=False
        ) from error
    return template.render_url(scope) if in_url else template.render(scope)


def _duration(name: str, value: float | str | None) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise _invalid(f"{name}: {error}") from error


def _invalid(message: str) -> StageError:
    return StageError(message, code=ErrorCode.INVALID_FIELD)
