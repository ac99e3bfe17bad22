"""From whatever a step raised to the ``FailureInfo`` that everybody sees."""

from datetime import datetime

from switchover.domain.task import FailureInfo, FailurePoint, TaskView
from switchover.errors import ErrorCode, ErrorType, ExecutorError, StepError, text_of


class StepTimeoutError(StepError):
    """A step overran its deadline."""

    code = ErrorCode.STEP_TIMEOUT


def failure_of(error: BaseException, *, task: TaskView, stage: str, step: str | None, now: datetime) -> FailureInfo:
    """
    Describe an error, naming tenant, stage and step (lesson 47).

    Errors of this package say themselves what they are; of others the kind is guessed from the exception's class.
    """
    place = f"tenant {task.tenant_id}, stage {stage}" + (f", step {step}" if step else "")
    text = text_of(error, named=False)
    if isinstance(error, StepError):
        code, kind, retryable = error.code, error.error_type, error.retryable
    elif isinstance(error, ExecutorError):
        code, kind, retryable = error.code, ErrorType.SYSTEM_ERROR, False
    elif isinstance(error, TimeoutError):
        code, kind, retryable = ErrorCode.STEP_TIMEOUT, ErrorType.TIMEOUT_ERROR, True
    elif isinstance(error, OSError):
        code, kind, retryable = ErrorCode.STEP_FAILED, ErrorType.NETWORK_ERROR, True
    else:
        code, kind, retryable = ErrorCode.STEP_FAILED, ErrorType.UNKNOWN_ERROR, True
        text = text_of(error)
    message = text if text.startswith(place) or f"tenant {task.tenant_id}" in text else f"{place}: {text}"
    return FailureInfo(
        error_code=code,
        error_type=kind,
        message=message,
        timestamp=now,
        failed_at=FailurePoint(stage=stage, step=step),
        retryable=retryable,
    )


def defect_of(error: BaseException, *, task: TaskView, stage: str, now: datetime) -> FailureInfo:
    """Describe what nobody foresaw, and what ended a run outside of its steps."""
    return FailureInfo(
        error_code=ErrorCode.INTERNAL_ERROR,
        error_type=ErrorType.SYSTEM_ERROR,
        message=f"tenant {task.tenant_id}, stage {stage}: a defect of this program ended the run: "
        f"{text_of(error)}; report it with the log, and retry",
        timestamp=now,
        failed_at=FailurePoint(stage=stage),
        retryable=True,
    )
