"""What a request would do, in sentences: for the question that a person answers before it is asked."""

from collections.abc import Mapping

from switchover.domain.task import Operation
from switchover.domain.verbs import Effect
from switchover.engine.forecast import Forecast
from switchover.errors import ErrorCode

_SENTENCES: Mapping[Operation, Mapping[Effect, str]] = {
    Operation.PAUSE: {
        Effect.REQUEST: "{tenants} running: paused at the next stage boundary, when the present stage has ended",
        Effect.HOLD: "{tenants} waiting: held before the first stage",
        Effect.PAUSE_NOW: "{tenants} about to go on: paused at once",
        Effect.NOTHING: "{tenants} paused already, or waiting and not started before the plan is resumed",
    },
    Operation.RESUME: {
        Effect.RESUME: "{tenants} paused: go on after the last complete stage; no complete stage is repeated",
        Effect.RELEASE: "{tenants} held: may start",
        Effect.WITHDRAW: "{tenants} running: the pending pause is withdrawn",
        Effect.NOTHING: "{tenants} waiting: start in turn",
    },
    Operation.CANCEL: {
        Effect.CANCEL_NOW: "{tenants} not running: cancelled at once",
        Effect.REQUEST: "{tenants} running: cancelled at the next stage boundary, when the present stage has ended",
        Effect.WITHDRAW: "{tenants} failed: the pending retry is withdrawn",
        Effect.NOTHING: "{tenants} cancelled already",
    },
    Operation.RETRY: {
        Effect.REQUEST: "{tenants} failed: run again, in turn",
        Effect.NOTHING: "{tenants} waiting for a retry already",
    },
    Operation.ROLLBACK: {
        Effect.REQUEST: "{tenants} switched or begun: each stage that was started gets its previous good configuration "
        "again, in reverse order, and counts as back when the old version is seen",
        Effect.CANCEL_NOW: "{tenants} not begun: cancelled",
        Effect.NOTHING: "{tenants} back already, or on the way",
    },
}

_CLOSING: Mapping[Operation, str] = {
    Operation.CANCEL: "What was switched stays as it is, and can still be rolled back",
}


def sentences(operation: Operation, forecast: Forecast) -> list[str]:
    """One sentence for each thing that would happen, and one for each reason why something would not."""
    if forecast.refusal:
        return [f"This would be refused: {forecast.refusal}."]
    by_effect: dict[Effect, int] = {}
    for (effect, _), number in forecast.effects.items():
        by_effect[effect] = by_effect.get(effect, 0) + number
    words = _SENTENCES[operation]
    lines = [f"{words[effect].format(tenants=_tenants(by_effect[effect]))}." for effect in words if effect in by_effect]
    if operation in _CLOSING and forecast.changing:
        lines.append(f"{_CLOSING[operation]}.")
    for code, (number, example) in forecast.refused.items():
        if code == ErrorCode.ILLEGAL_STATE:
            lines.append(f"{_tenants(number)} left alone: {operation} does not apply in that state.")
        else:
            lines.append(f"{_tenants(number)} refused with {code}, for example: {example}.")
    if not forecast.changing:
        lines.insert(0, "Nothing would change.")
    return lines


def _tenants(number: int) -> str:
    return "1 tenant" if number == 1 else f"{number:,} tenants"
