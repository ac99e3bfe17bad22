"""Behaviour, section 6, health checks; lessons 35 to 39 and 47."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from switchover.domain.plan import HealthSettings
from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot
from switchover.errors import ErrorCode, ErrorType, HealthCheckError, StageError, StepError, TargetError
from switchover.stages.health_check import compile_json_path
from switchover.stages.steps import HealthCheckStep
from switchover.testing.health import Answer, ScriptedHealthCheckClient
from tests.support.stages import BLUE, GREEN, Bench

ONE = "http://10.0.0.1/health"
TWO = "http://10.0.0.2/health"
GOOD = {"version": 42}
BAD = {"version": 41}


def tenant(*urls: str) -> TenantDeployConfigSnapshot:
    return replace(GREEN, network_endpoints=tuple(NetworkEndpointSnapshot(value=url) for url in urls))


async def check(
    bench: Bench,
    scripts: Mapping[str, list[Answer]],
    step: HealthCheckStep | None = None,
    health: HealthSettings | None = None,
) -> ScriptedHealthCheckClient:
    """Run a step on a clock of its own; the client tells what was asked."""
    client = ScriptedHealthCheckClient(scripts)
    bench.health = client
    config = tenant(*scripts)
    context = bench.context(config=config, switch_config=config, health=health)
    await bench.clock.run((step or HealthCheckStep()).execute(context))
    return client


async def fail(*arguments: object, **keywords: object) -> HealthCheckError:
    with pytest.raises(HealthCheckError) as failed:
        await check(*arguments, **keywords)  # type: ignore[arg-type]  # passed through
    return failed.value


# --- rounds --------------------------------------------------------------------------------------------------------


async def test_a_right_answer_passes_at_once(bench: Bench) -> None:
    client = await check(bench, {ONE: [GOOD]})
    assert client.calls == [ONE]
    assert bench.clock.monotonic() == 0


class Unshowable(Exception):  # noqa: N818  # it is nothing but an exception
    """A client of one's own may raise what cannot even be shown."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


async def slow(url: str) -> Mapping[str, object]:
    raise TimeoutError


@pytest.mark.parametrize(
    "answer",
    [
        BAD,
        {},
        {"version": None},
        {"version": [42]},
        {"version": {"42": 42}},
        RuntimeError("boom"),
        Unshowable(),
        OSError("refused"),
        TargetError("answered 500"),
        slow,
    ],
)
async def test_everything_else_is_one_failed_round_and_a_later_good_round_passes(bench: Bench, answer: Answer) -> None:
    """Lesson 35."""
    client = await check(bench, {ONE: [answer, answer, GOOD]})
    assert client.calls == [ONE, ONE, ONE]
    assert bench.clock.monotonic() == 6


async def test_exactly_ten_rounds_three_seconds_apart_and_no_wait_after_the_last(bench: Bench) -> None:
    """Lesson 36."""
    await fail(bench, {ONE: [BAD]})
    assert isinstance(bench.health, ScriptedHealthCheckClient)
    assert len(bench.health.calls) == 10
    assert bench.clock.monotonic() == 27


async def test_the_tenth_round_still_counts(bench: Bench) -> None:
    client = await check(bench, {ONE: [*[BAD] * 9, GOOD]})
    assert len(client.calls) == 10


async def test_one_attempt_never_waits(bench: Bench) -> None:
    await fail(bench, {ONE: [BAD]}, HealthCheckStep(attempts=1))
    assert bench.clock.monotonic() == 0


async def test_every_endpoint_is_asked_in_every_round_one_after_another(bench: Bench) -> None:
    """Lesson 36: also those after one that failed, and never two at a time."""
    client = await check(bench, {ONE: [BAD, OSError("away"), GOOD], TWO: [GOOD]})
    assert client.calls == [ONE, TWO] * 3
    assert client.in_flight_peak == 1


async def test_all_must_match_in_the_same_round(bench: Bench) -> None:
    """One after the other being right is not enough (lesson 36)."""
    client = await check(bench, {ONE: [GOOD, BAD, GOOD], TWO: [BAD, GOOD, GOOD]})
    assert client.calls == [ONE, TWO] * 3


async def test_rounds_in_a_row(bench: Bench) -> None:
    """With ``consecutive`` a failed round starts the count anew."""
    client = await check(bench, {ONE: [GOOD, BAD, GOOD, GOOD, BAD]}, HealthCheckStep(consecutive=2))
    assert len(client.calls) == 4
    assert bench.clock.monotonic() == 9


async def test_too_few_rounds_in_a_row_fail(bench: Bench) -> None:
    error = await fail(bench, {ONE: [BAD, GOOD]}, HealthCheckStep(consecutive=3, attempts=3))
    assert "3 times in a row (2 at the end)" in str(error)


async def test_each_request_has_its_own_time_out() -> None:
    """A request that hangs costs its own time-out, not the round's; real time, since it bounds a real wait."""

    async def hang(url: str) -> Mapping[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    bench = Bench()
    step = HealthCheckStep(timeout="20ms", attempts=2, interval=0)
    error = await fail(bench, {ONE: [hang], TWO: [GOOD]}, step)
    assert isinstance(bench.health, ScriptedHealthCheckClient)
    assert bench.health.calls == [ONE, TWO] * 2
    assert error.error_type is ErrorType.TIMEOUT_ERROR
    assert f"{ONE} gave no answer within 20ms" in str(error)


async def test_being_cancelled_is_no_failed_round(bench: Bench) -> None:
    async def hang(url: str) -> Mapping[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    bench.health = ScriptedHealthCheckClient({"*": [hang]})
    work = asyncio.ensure_future(HealthCheckStep().execute(bench.context()))
    await bench.clock.settle()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert len(bench.health.calls) == 1


async def test_nothing_is_asked_before_the_step_runs_and_no_answer_is_used_twice(bench: Bench) -> None:
    """Lesson 38: what was right before this write does not count."""
    bench.health = client = ScriptedHealthCheckClient({ONE: [GOOD, BAD, GOOD]})
    step = HealthCheckStep()
    await bench.clock.run(step.execute(bench.context()))
    await bench.clock.run(step.execute(bench.context()))
    assert client.calls == [ONE] * 3


# --- comparison ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [42, "42"], ids=repr)
async def test_versions_are_compared_as_text(bench: Bench, version: object) -> None:
    """Lesson 37: the number equals the text."""
    await check(bench, {ONE: [{"version": version}]})


@pytest.mark.parametrize("version", [None, 42.0, "42 ", "042", True, [], {}, "", 420], ids=repr)
async def test_nothing_else_equals_it(bench: Bench, version: object) -> None:
    await fail(bench, {ONE: [{"version": version}]}, HealthCheckStep(attempts=1))


@pytest.mark.parametrize(("expect", "wrong"), [("null", None), ("", None), ("None", None), ("[]", []), ("{{}}", {})])
async def test_null_and_containers_equal_no_text(bench: Bench, expect: str, wrong: object) -> None:
    """Lesson 37: null is not "null"."""
    if expect:
        await fail(bench, {ONE: [{"version": wrong}]}, HealthCheckStep(attempts=1, expect=expect))
        await check(bench, {ONE: [{"version": expect.replace("{{}}", "{}")}]}, HealthCheckStep(expect=expect))


async def test_true_is_compared_as_the_json_word(bench: Bench) -> None:
    await check(bench, {ONE: [{"ready": True}]}, HealthCheckStep(version_key="ready", expect="true"))


async def test_a_missing_key_never_passes(bench: Bench) -> None:
    """Lesson 37, with an expectation that a missing value could be mistaken for."""
    for expect in ("None", "null", "undefined", "{{}}"):
        error = await fail(bench, {ONE: [{"status": "up"}]}, HealthCheckStep(attempts=1, expect=expect))
        assert "answered without 'version'" in str(error)


@pytest.mark.parametrize(
    ("expect", "version"), [("{planVersion}", 7), ("{generation}", "5"), ("{deployUnitName}-{planId}", "green-100")]
)
async def test_the_expectation_is_a_template(bench: Bench, expect: str, version: object) -> None:
    await check(bench, {ONE: [{"version": version}]}, HealthCheckStep(expect=expect))


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("build", {"build": 42}),
        ("app.build", {"app": {"build": 42}}),
        ("$.app.build", {"app": {"build": 42}}),
        ("a.b[0].c", {"a": {"b": [{"c": 42}]}}),
        ("$['app version']", {"app version": 42}),
        ("app.build", {"app.build": 42}),
    ],
)
async def test_the_version_key_is_a_key_or_a_path(bench: Bench, key: str, body: Mapping[str, object]) -> None:
    await check(bench, {ONE: [body]}, HealthCheckStep(version_key=key))


@pytest.mark.parametrize("body", [{}, {"a": 1}, {"a": []}, {"a": {"b": {}}}, {"a": {"b": [1]}}, {"a": None}])
async def test_a_path_that_leads_nowhere_never_passes(bench: Bench, body: Mapping[str, object]) -> None:
    await fail(bench, {ONE: [body]}, HealthCheckStep(version_key="a.b[1]", attempts=1))


@pytest.mark.parametrize("key", ["", "$", "a..b", "a[", "a[x]", ".a", "a]b", "a[0]b"])
def test_paths_that_cannot_be_read_are_refused(key: str) -> None:
    with pytest.raises(StageError):
        compile_json_path(key)


# --- endpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (NetworkEndpointSnapshot(value="https://h:8443/x?y=1"), "https://h:8443/x?y=1"),
        (NetworkEndpointSnapshot(value="HTTP://h/x", target_ip="10.0.0.9"), "HTTP://h/x"),
        (NetworkEndpointSnapshot(value="http://h/{tenantId}"), "http://h/acme"),
        (NetworkEndpointSnapshot(target_domain="green.local", target_ip="10.0.0.1"), "http://green.local/health"),
        (NetworkEndpointSnapshot(target_ip="10.0.0.1:8080"), "http://10.0.0.1:8080/health"),
        (NetworkEndpointSnapshot(target_ip="::1"), "http://[::1]/health"),
        (NetworkEndpointSnapshot(target_ip="[::1]:81", target_domain=" "), "http://[::1]:81/health"),
        (NetworkEndpointSnapshot(value="gateway", target_ip="10.0.0.1"), "http://10.0.0.1/health"),
    ],
)
async def test_urls_are_made_of_what_the_endpoint_has(
    bench: Bench, endpoint: NetworkEndpointSnapshot, url: str
) -> None:
    bench.health = client = ScriptedHealthCheckClient({"*": [GOOD]})
    await HealthCheckStep().execute(bench.context(config=replace(GREEN, network_endpoints=(endpoint,))))
    assert client.calls == [url]


async def test_the_health_path_takes_encoded_placeholders(bench: Bench) -> None:
    bench.health = client = ScriptedHealthCheckClient({"*": [GOOD]})
    config = replace(
        GREEN, deploy_unit_name="a b/c", network_endpoints=(NetworkEndpointSnapshot(target_ip="10.0.0.1"),)
    )
    step = HealthCheckStep(path="check/{tenantId}/{deployUnitName}?deep=1")
    await step.execute(bench.context(config=config, switch_config=config))
    assert client.calls == ["http://10.0.0.1/check/acme/a%20b%2Fc?deep=1"]


async def test_the_catalogue_may_bring_the_endpoints(bench: Bench) -> None:
    bench.health = client = ScriptedHealthCheckClient({"*": [GOOD]})
    step = HealthCheckStep(endpoints=["http://h/{tenantId}", "10.0.0.1:80", {"targetDomain": "{tenantId}.svc"}])
    assert not step.uses_tenant_endpoints
    await step.execute(bench.context())
    assert client.calls == ["http://h/acme", "http://10.0.0.1:80/health", "http://acme.svc/health"]


async def test_no_endpoint_fails_and_never_passes(bench: Bench) -> None:
    """Lesson 39: an empty list is an error with its cause."""
    with pytest.raises(StepError, match="no endpoint to ask") as failed:
        await check(bench, {})
    assert failed.value.code is ErrorCode.NO_ENDPOINTS
    assert "tenant acme, stage gateway, step healthCheck" in str(failed.value)


async def test_an_endpoint_without_address_fails(bench: Bench) -> None:
    config = replace(GREEN, network_endpoints=(NetworkEndpointSnapshot(key="media", source_ip="10.0.0.1"),))
    with pytest.raises(StepError, match="endpoint media has no usable address") as failed:
        await HealthCheckStep().execute(bench.context(config=config))
    assert failed.value.code is ErrorCode.INVALID_ENDPOINT


async def test_a_rollback_confirms_the_previous_version(bench: Bench) -> None:
    """A previous config without endpoints uses those of the switch (behaviour, section 7)."""
    bench.health = client = ScriptedHealthCheckClient({ONE: [GOOD, BAD]})
    context = bench.rollback()
    assert context.config is BLUE
    assert not BLUE.network_endpoints
    await bench.clock.run(HealthCheckStep().execute(context))
    assert client.calls == [ONE, ONE]


async def test_a_previous_config_with_endpoints_uses_its_own(bench: Bench) -> None:
    bench.health = client = ScriptedHealthCheckClient({"*": [BAD]})
    previous = replace(BLUE, network_endpoints=(NetworkEndpointSnapshot(value=TWO),))
    await HealthCheckStep().execute(bench.rollback(config=previous))
    assert client.calls == [TWO]


# --- settings ------------------------------------------------------------------------------------------------------


async def test_the_plan_says_what_the_step_does_not(bench: Bench) -> None:
    health = HealthSettings(interval_seconds=7, attempts=3, version_key="v", expect="x", consecutive=2)
    client = await check(bench, {ONE: [{"v": "x"}]}, health=health)
    assert len(client.calls) == 2
    assert bench.clock.monotonic() == 7


async def test_the_step_wins_over_the_plan(bench: Bench) -> None:
    health = HealthSettings(interval_seconds=7, attempts=3, version_key="v", expect="x", consecutive=2)
    step = HealthCheckStep(interval="500ms", attempts=4, version_key="w", expect="y", consecutive=1)
    await fail(bench, {ONE: [{"v": "x"}]}, step, health)
    assert bench.clock.monotonic() == 1.5


class Readiness:
    """A policy of one's own."""

    def interval(self) -> float:
        return 1.0

    def max_attempts(self) -> int:
        return 4

    def success_predicate(self, response: Mapping[str, object]) -> bool:
        return response["ready"] is True


async def test_a_registered_policy_wins(bench: Bench) -> None:
    bench.policy = Readiness()
    client = await check(bench, {ONE: [GOOD, {"ready": False}, {"ready": True}]}, HealthCheckStep(attempts=1))
    assert len(client.calls) == 3
    assert bench.clock.monotonic() == 2


async def test_the_policys_rounds_are_exact_and_its_exception_is_a_failed_round(bench: Bench) -> None:
    bench.policy = Readiness()
    error = await fail(bench, {ONE: [{}]})
    assert isinstance(bench.health, ScriptedHealthCheckClient)
    assert len(bench.health.calls) == 4
    assert "policy" in str(error)
    assert "KeyError" in str(error)


def test_the_deadline_is_the_worst_case(bench: Bench) -> None:
    config = tenant(ONE, TWO)
    context = bench.context(config=config)
    worst = 10 * 2 * 2 + 9 * 3
    assert worst < HealthCheckStep().deadline_seconds(context) < worst * 1.2 + 10
    worst = 2 * 2 * 30 + 60
    assert (
        worst < HealthCheckStep(attempts=2, timeout="30s", interval="1m").deadline_seconds(context) < worst * 1.2 + 10
    )
    bench.policy = Readiness()
    worst = 4 * 2 * 2 + 3
    assert worst < HealthCheckStep().deadline_seconds(bench.context(config=config)) < worst * 1.2 + 10


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": True},
        {"consecutive": 0},
        {"timeout": 0},
        {"interval": "-1s"},
        {"interval": "soon"},
        {"attempts": 2, "consecutive": 3},
        {"version_key": "a..b"},
        {"expect": "{nope}"},
        {"path": "{nope}"},
        {"endpoints": ["http://h/{nope}"]},
        {"endpoints": [""]},
        {"endpoints": [{"target_ipp": "10.0.0.1"}]},
        {"endpoints": [{"key": "only"}]},
        {"endpoints": [{"targetIp": 5}]},
    ],
)
def test_nonsense_is_refused_when_the_step_is_made(settings: dict[str, object]) -> None:
    with pytest.raises(StageError):
        HealthCheckStep(**settings)  # type: ignore[arg-type]  # nonsense on purpose


# --- what a failure says -------------------------------------------------------------------------------------------


async def test_a_failure_names_everything(bench: Bench) -> None:
    """Lesson 47."""
    three = "http://user:s3cret@10.0.0.3/health"
    error = await fail(
        bench,
        {ONE: [{"version": 1}, {"version": 41}], TWO: [OSError("refused"), {"status": "up"}], three: [GOOD, slow]},
    )
    message = str(error)
    for part in (
        *("tenant acme", "stage gateway", "step healthCheck", '3 of 3 endpoints did not report version "42"'),
        *("within 10 rounds, 3s apart", f"{ONE} answered version 41", TWO, '{"status":"up"}'),
        *("http://10.0.0.3/health gave no answer within 2s", "switchover retry --tenant acme"),
    ):
        assert part in message
    assert "version 1;" not in message, "only the last answers count"
    assert "s3cret" not in message
    assert error.code is ErrorCode.HEALTH_CHECK_FAILED
    assert error.error_type is ErrorType.BUSINESS_ERROR
    assert error.retryable


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([OSError("refused"), OSError("refused")], ErrorType.NETWORK_ERROR),
        ([slow, slow], ErrorType.TIMEOUT_ERROR),
        ([slow, OSError("refused")], ErrorType.NETWORK_ERROR),
        ([BAD, slow], ErrorType.BUSINESS_ERROR),
        ([TargetError("503", error_type=ErrorType.SERVICE_UNAVAILABLE)] * 2, ErrorType.SERVICE_UNAVAILABLE),
        ([RuntimeError("x"), OSError("y")], ErrorType.BUSINESS_ERROR),
    ],
)
async def test_the_kind_of_a_failure_follows_what_went_wrong(
    bench: Bench, answers: list[Answer], kind: ErrorType
) -> None:
    error = await fail(bench, {ONE: [answers[0]], TWO: [answers[1]]}, HealthCheckStep(attempts=1))
    assert error.error_type is kind


async def test_a_long_answer_is_cut_short_in_the_message(bench: Bench) -> None:
    error = await fail(bench, {ONE: [{"version": "x" * 10_000}]}, HealthCheckStep(attempts=1))
    assert len(str(error)) < 1_000
