import orjson
import pytest

from switchover.errors import StepError, TargetError
from switchover.stages.steps import BroadcastStep
from tests.support.stages import Bench

REDIS = "redis://:s3cret@127.0.0.1:6379/0"


async def test_the_message_says_what_changed(bench: Bench) -> None:
    await BroadcastStep(target=REDIS, channel="tenant_config:topic").execute(bench.context(generation=5))
    [(channel, message)] = bench.target.published
    assert channel == "tenant_config:topic"
    assert orjson.loads(message) == {
        "tenantId": "acme",
        "planId": 100,
        "taskId": "100-1",
        "stage": "gateway",
        "deployUnitVersion": 42,
        "planVersion": 7,
        "generation": 5,
        "rollingBack": False,
        "timestamp": "2026-01-01T00:00:00.000000Z",
    }


async def test_a_rollback_tells_the_previous_version_under_the_new_generation(bench: Bench) -> None:
    await BroadcastStep(target=REDIS, channel="c").execute(bench.rollback(generation=6))
    message = orjson.loads(bench.target.published[0][1])
    assert (message["deployUnitVersion"], message["generation"], message["rollingBack"]) == (41, 6, True)


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("reload {tenantId} {generation}", b"reload acme 5"),
        ({"reload": "{tenantId}", "n": 1}, b'{"n":1,"reload":"acme"}'),
        ("", b""),
    ],
)
async def test_another_message_can_be_given(bench: Bench, message: object, sent: bytes) -> None:
    await BroadcastStep(target=REDIS, channel="c:{tenantId}", message=message).execute(bench.context())
    assert bench.target.published == [("c:acme", sent)]


async def test_a_message_that_nobody_hears_is_noted_and_no_failure(bench: Bench) -> None:
    """Pub/sub loses messages for absent subscribers; whether the change arrived is for the health check."""
    bench.target.listeners = 0
    await BroadcastStep(target=REDIS, channel="c").execute(bench.context())
    [(level, event, values)] = bench.log.lines
    assert (level, event) == ("warning", "broadcast heard by nobody")
    assert "s3cret" not in str(values)


async def test_failures_name_everything(bench: Bench) -> None:
    async def fail(channel: str | None, message: bytes) -> int:
        text = "redis://127.0.0.1:6379/0: connection refused"
        raise TargetError(text)

    bench.target.publish = fail  # type: ignore[method-assign]  # a target that is away
    with pytest.raises(
        TargetError,
        match=r"^tenant acme, stage gateway, step broadcast \(rolling back\): .*refused.*switchover rollback",
    ):
        await BroadcastStep(target=REDIS, channel="c").execute(bench.rollback())


async def test_a_field_that_the_config_lacks_fails(bench: Bench) -> None:
    with pytest.raises(StepError, match="has no trunkGroup"):
        await BroadcastStep(target=REDIS, channel="{trunkGroup}").execute(bench.context())
    assert bench.target.published == []


def test_what_it_uses_of_the_config_is_known() -> None:
    step = BroadcastStep(target="http://h/{tenantId}", channel="{planVersion}", message={"a": "{trunkGroup}"})
    assert step.required_fields == {"tenantId", "planVersion", "trunkGroup"}
