"""What a request would do, in sentences: for the question that a person answers before it is asked."""

from collections.abc import Mapping

from switchover.domain.task import Operation
from switchover.domain.verbs import Effect
from switchover.engine.forecast import Forecast
from switchover.errors import ErrorCode

_SENTENCES: Mapping[Operation, Mapping[Effect, str]] = {
    Operation.PAUSE: {
        Effect.REQUEST: "{tenants} that run stop at their next stage boundary; the stage that runs ends first",
        Effect.HOLD: "{tenants} that wait are held before their first stage",
        Effect.PAUSE_NOW: "{tenants} about to go on stay paused",
        Effect.NOTHING: "{tenants} are paused already, or wait and start only when the plan is resumed",
    },
    Operation.RESUME: {
        Effect.RESUME: "{tenants} go on after their last complete stage; no complete stage is repeated",
        Effect.RELEASE: "{tenants} that were held may start",
        Effect.WITHDRAW: "{tenants} go on without a stop: their pending pause is withdrawn",
        Effect.NOTHING: "{tenants} that wait may start, each in its turn",
    },
    Operation.CANCEL: {
        Effect.CANCEL_NOW: "{tenants} are cancelled at once",
        Effect.REQUEST: "{tenants} that run are cancelled at their next stage boundary",
        Effect.WITHDRAW: "{tenants} are not retried: their pending retry is withdrawn",
        Effect.NOTHING: "{tenants} are cancelled already",
    },
    Operation.RETRY: {
        Effect.REQUEST: "{tenants} that failed run again, each in its turn",
        Effect.NOTHING: "{tenants} wait for their retry already",
    },
    Operation.ROLLBACK: {
        Effect.REQUEST: "{tenants} go back: every stage that was started gets its previous good configuration "
        "again, in reverse order, and counts as back when the old version is seen",
        Effect.CANCEL_NOW: "{tenants} that have switched nothing yet are cancelled",
        Effect.NOTHING: "{tenants} are back already, or on their way",
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
            lines.append(f"{_tenants(number)} are left alone, because {operation} does not apply to their state.")
        else:
            lines.append(f"{_tenants(number)} would be refused with {code}: {example}.")
    if not forecast.changing:
        lines.insert(0, "Nothing would change.")
    return lines


def _tenants(number: int) -> str:
    return "1 tenant" if number == 1 else f"{number:,} tenants"
