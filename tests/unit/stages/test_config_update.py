from dataclasses import replace

import orjson
import pytest

from switchover.domain.stage import GenerationSource, StageStep
from switchover.errors import ErrorCode, ErrorType, StageError, StaleGenerationError, StepError, TargetError
from switchover.stages.service import CompositeServiceStage
from switchover.stages.steps import ConfigUpdateStep
from tests.support.stages import BLUE, GREEN, Bench

KEY = ("tenant_config:acme", "gateway")


def step(**changes: object) -> ConfigUpdateStep:
    settings: dict[str, object] = {
        "target": "redis://:s3cret@127.0.0.1:6379/0",
        "key": "tenant_config:{tenantId}",
        "field": "gateway",
        "value": {"unit": "{deployUnitName}", "version": "{deployUnitVersion}"},
    }
    return ConfigUpdateStep(**(settings | changes))  # type: ignore[arg-type]  # the tests' own settings


def test_it_is_a_step_that_adopt_can_ask() -> None:
    assert isinstance(step(), StageStep)
    assert isinstance(step(), GenerationSource)


async def test_value_and_generation_are_written(bench: Bench) -> None:
    await step().execute(bench.context(generation=5))
    assert bench.target.values == {KEY: b'{"unit":"green","version":"42"}'}
    assert bench.target.generations == {KEY: 5}


async def test_the_pre_image_is_kept_before_the_first_write(bench: Bench) -> None:
    bench.target.values[KEY] = b'{ "unit": "blue" }'
    await step().execute(bench.context())
    assert bench.journal == ["read", "keep", "write"]
    assert [image.value for image in bench.pre_images.kept.values()] == [b'{ "unit": "blue" }']


async def test_the_pre_image_of_the_first_run_is_the_one_that_counts(bench: Bench) -> None:
    """After a crash the stage runs again, reads its own write, and must not take that for the old value."""
    bench.target.values[KEY] = b'"old"'
    await step().execute(bench.context(generation=5))
    await step().execute(bench.context(generation=6))
    await step().execute(bench.rollback(generation=7))
    assert bench.target.values == {KEY: b'"old"'}


@pytest.mark.parametrize("before", [b'{ "unit" :"blue"\n}', b'""', b"null", None])
async def test_a_rollback_restores_byte_for_byte_under_a_higher_generation(bench: Bench, before: bytes | None) -> None:
    """Lessons 23 and 25."""
    if before is not None:
        bench.target.values[KEY] = before
    await step().execute(bench.context(generation=5))
    await step().execute(bench.rollback(generation=6))
    assert bench.target.values == ({} if before is None else {KEY: before})
    assert bench.target.generations == {KEY: 6}


async def test_a_key_that_was_never_written_is_left_alone(bench: Bench) -> None:
    bench.target.values[KEY] = b'"somebody else"'
    await step().execute(bench.rollback())
    assert bench.target.values == {KEY: b'"somebody else"'}
    assert bench.target.generations == {}


async def test_a_rollback_finds_the_key_that_the_switch_wrote(bench: Bench) -> None:
    """The key may hold what differs between the two configs."""
    moving = step(key="{tenantId}:{deployUnitName}:{planVersion}")
    await moving.execute(bench.context())
    assert list(bench.target.values) == [("acme:green:7", "gateway")]
    await moving.execute(bench.rollback())
    assert bench.target.values == {}


async def test_a_rollback_needs_nothing_that_the_previous_config_lacks(bench: Bench) -> None:
    await step().execute(bench.context())
    await step().execute(bench.rollback(config=replace(BLUE, deploy_unit_name=None)))
    assert bench.target.values == {}


async def test_pre_images_of_one_stage_do_not_mix(bench: Bench) -> None:
    stage = CompositeServiceStage(
        "gateway",
        [
            step(),
            step(field="media"),
            step(field=None),
            step(key="other:{tenantId}"),
            step(target="http://127.0.0.1/x"),
        ],
    )
    for one in stage.steps:
        await one.execute(bench.context())
    assert len(bench.pre_images.kept) == 5
    assert "s3cret" not in "".join(bench.pre_images.kept)


async def test_a_new_password_does_not_lose_the_pre_image(bench: Bench) -> None:
    await step().execute(bench.context())
    await step(target="redis://:other@127.0.0.1:6379/0").execute(bench.rollback())
    assert bench.target.values == {}


async def test_a_newer_generation_refuses_the_write_and_changes_nothing(bench: Bench) -> None:
    bench.target.values[KEY], bench.target.generations[KEY] = b'"newer"', 9
    with pytest.raises(StaleGenerationError) as refused:
        await step().execute(bench.context(generation=5))
    assert bench.target.values == {KEY: b'"newer"'}
    assert bench.target.generations == {KEY: 9}
    assert bench.pre_images.kept == {}, "what a newer switch wrote is nothing that this one has to restore"
    message = str(refused.value)
    for part in (
        *("tenant acme", "stage gateway", "step configUpdate", "redis://127.0.0.1:6379/0", "tenant_config:acme"),
        *("generation 9", "generation 5", "newer switch", "older than its target"),
        *("switchover adopt --tenant acme", "switchover retry --tenant acme"),
    ):
        assert part in message
    assert "s3cret" not in message
    assert refused.value.held_generation == 9
    assert not refused.value.retryable


async def test_a_newer_generation_between_read_and_write_is_refused_too(bench: Bench) -> None:
    keep = bench.pre_images.keep

    async def overtaken(key: str, value: bytes | None) -> object:
        bench.target.generations[KEY] = 9
        return await keep(key, value)

    bench.pre_images.keep = overtaken  # type: ignore[method-assign, assignment]  # a switch that runs in between
    with pytest.raises(StaleGenerationError, match="switchover adopt --tenant acme"):
        await step().execute(bench.context(generation=5))
    assert bench.target.values == {}


async def test_failures_name_everything(bench: Bench) -> None:
    async def fail(key: str, field: str | None) -> object:
        message = "redis://127.0.0.1:6379/0, key 'tenant_config:acme': connection refused"
        raise TargetError(message, code=ErrorCode.TARGET_UNAVAILABLE, error_type=ErrorType.NETWORK_ERROR)

    bench.target.read = fail  # type: ignore[method-assign, assignment]  # a target that is away
    with pytest.raises(TargetError) as failed:
        await step().execute(bench.context())
    assert failed.value.code is ErrorCode.TARGET_UNAVAILABLE
    assert failed.value.error_type is ErrorType.NETWORK_ERROR
    assert str(failed.value) == (
        "tenant acme, stage gateway, step configUpdate: redis://127.0.0.1:6379/0, key 'tenant_config:acme': "
        "connection refused. Next: see to the cause, then `switchover retry --tenant acme`"
    )


async def test_a_field_that_the_config_lacks_fails_before_anything_is_touched(bench: Bench) -> None:
    with pytest.raises(StepError, match="has no trunkGroup") as failed:
        await step(value="{trunkGroup}").execute(bench.context())
    assert failed.value.code is ErrorCode.MISSING_FIELD
    assert bench.journal == []


async def test_an_empty_key_is_refused(bench: Bench) -> None:
    config = replace(GREEN, trunk_group="")
    with pytest.raises(StepError, match="is empty for tenant acme"):
        await step(key="{trunkGroup}").execute(bench.context(config=config, switch_config=config))
    assert bench.target.values == {}


@pytest.mark.parametrize("name", ["{generation}", "{taskId}"])
def test_keys_must_not_move_from_run_to_run(name: str) -> None:
    with pytest.raises(StageError, match="a rollback must find again"):
        step(key=f"x:{name}")
    with pytest.raises(StageError, match="a rollback must find again"):
        step(field=name)


@pytest.mark.parametrize("target", ["redis://{tenantId}/0", "nonsense", "http://{tenantId}/x", "http://h/{generation}"])
def test_targets_are_judged_when_the_step_is_made(target: str) -> None:
    with pytest.raises(StageError):
        step(target=target)


async def test_http_targets_take_placeholders(bench: Bench) -> None:
    await step(target="http://h/units/{deployUnitName}").execute(bench.context())
    assert bench.provider.urls == ["http://h/units/green"]


async def test_adopt_asks_what_the_target_holds(bench: Bench) -> None:
    bench.target.generations[KEY] = 17
    assert await step().held_generation(GREEN, bench.services()) == 17
    assert await step(targets=bench.provider).held_generation(GREEN) == 17
    assert await step(field="{stage}", stage="gateway").held_generation(GREEN, bench.services()) == 17
    with pytest.raises(StageError, match="no targets"):
        await step().held_generation(GREEN)


async def test_without_services_the_step_says_so(bench: Bench) -> None:
    context = bench.context()
    context.services = None
    with pytest.raises(StageError, match="StepServices"):
        await step().execute(context)


def test_what_it_uses_of_the_config_is_known() -> None:
    assert step(target="http://h/{planVersion}").required_fields == {
        "tenantId",
        "deployUnitName",
        "deployUnitVersion",
        "planVersion",
    }


async def test_the_value_is_the_same_bytes_every_time(bench: Bench) -> None:
    one = step(value={"b": 1, "a": {"d": 1, "c": 2}})
    two = step(value={"a": {"c": 2, "d": 1}, "b": 1})
    await one.execute(bench.context())
    first = bench.target.values[KEY]
    await two.execute(bench.context())
    assert bench.target.values[KEY] == first
    assert orjson.loads(first) == {"a": {"c": 2, "d": 1}, "b": 1}
