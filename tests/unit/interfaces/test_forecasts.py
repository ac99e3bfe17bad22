"""What a person is told before something is asked for: every effect that can be has a sentence."""

from switchover.domain.task import Operation, TaskStatus
from switchover.domain.verbs import VERB_TABLE, Effect, Rule
from switchover.engine.forecast import Forecast
from switchover.errors import ErrorCode
from switchover.interfaces.forecasts import sentences


def test_every_effect_of_every_verb_has_a_sentence() -> None:
    for operation in Operation:
        for effect in Effect:
            forecast = Forecast(total=3, effects={(effect, TaskStatus.RUNNING): 3})
            lines = sentences(operation, forecast)
            told = any("3 tenants" in line for line in lines)
            assert told or effect not in _possible(operation), (operation, effect)


def _possible(operation: Operation) -> set[Effect]:
    """What the table can lead to."""
    effects = {
        Rule.SAME: {Effect.NOTHING},
        Rule.HOLD: {Effect.HOLD, Effect.NOTHING},
        Rule.RELEASE: {Effect.RELEASE},
        Rule.AT_BOUNDARY: {Effect.REQUEST},
        Rule.WITHDRAW_PAUSE: {Effect.WITHDRAW},
        Rule.WITHDRAW_RETRY: {Effect.WITHDRAW},
        Rule.END_OF_STAGE: {Effect.REQUEST},
        Rule.AT_ONCE: {Effect.CANCEL_NOW if operation is Operation.CANCEL else Effect.PAUSE_NOW},
        Rule.WHEN_ALLOWED: {Effect.RESUME if operation is Operation.RESUME else Effect.REQUEST},
    }
    possible: set[Effect] = set()
    for row in VERB_TABLE.values():
        possible |= effects.get(row[operation], set())
    return possible


def test_a_refusal_as_a_whole_is_the_only_sentence() -> None:
    assert sentences(Operation.PAUSE, Forecast(refusal="plan 7 is COMPLETED")) == [
        "This would be refused: plan 7 is COMPLETED."
    ]


def test_who_is_left_alone_is_counted_and_other_refusals_give_an_example() -> None:
    forecast = Forecast(
        total=5,
        effects={(Effect.REQUEST, TaskStatus.COMPLETED): 1},
        refused={ErrorCode.ILLEGAL_STATE: (2, "x"), ErrorCode.NO_PREVIOUS_CONFIG: (1, "tenant acme has none")},
    )
    lines = sentences(Operation.ROLLBACK, forecast)
    assert lines[0].startswith("1 tenant switched or begun: each stage")
    assert lines[1] == "2 tenants left alone: rollback does not apply in that state."
    assert lines[2] == "1 tenant refused with NO_PREVIOUS_CONFIG, for example: tenant acme has none."


def test_when_nothing_would_change_that_comes_first() -> None:
    lines = sentences(Operation.CANCEL, Forecast(total=1, effects={(Effect.NOTHING, TaskStatus.CANCELLED): 1}))
    assert lines == ["Nothing would change.", "1 tenant cancelled already."]
