"""What failed steps say: who, where, expected, found, and the next move, so that nobody has to read a log."""

from switchover.domain.stage import TaskRuntimeContext
from switchover.errors import StaleGenerationError, StepError, TargetError


def place(context: TaskRuntimeContext, step: str) -> str:
    """``tenant acme, stage gateway, step configUpdate``: how every message begins."""
    during = " (rolling back)" if context.rolling_back else ""
    return f"tenant {context.tenant_id}, stage {context.stage}, step {step}{during}"


def again(context: TaskRuntimeContext) -> str:
    """The command that tries the same again."""
    verb = "rollback" if context.rolling_back else "retry"
    return f"`switchover {verb} --tenant {context.tenant_id}`"


def explained(error: StepError, context: TaskRuntimeContext, step: str) -> StepError:
    """The same error with place and next move; raise it ``from`` the one that is given."""
    where = f"{place(context, step)}: {error.message}"
    if isinstance(error, StaleGenerationError):
        # Behaviour, section 6, ConfigUpdateStep: which of the two it is, only a person can tell.
        message = (
            f"{where}; this run has generation {context.generation}, and nothing was written. Either a newer switch "
            f"of the tenant has written there, or the store is older than its target (fresh, or restored from a "
            f"backup). Next: if a newer switch has, leave it; if the store is older, "
            f"`switchover adopt --tenant {context.tenant_id}`, then {again(context)}"
        )
        return StaleGenerationError(message, held_generation=error.held_generation)
    message = f"{where}. Next: see to the cause, then {again(context)}"
    kind = TargetError if isinstance(error, TargetError) else StepError
    return kind(message, code=error.code, error_type=error.error_type, retryable=error.retryable)
