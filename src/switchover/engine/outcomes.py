"""What became of a request, before it takes the shape that callers see."""

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime

from switchover.domain.task import FailureInfo, Operation, TargetType, TaskAggregate
from switchover.domain.verbs import Effect, Verdict
from switchover.errors import ErrorCode, ErrorType


@dataclass(frozen=True, slots=True)
class TaskReference:
    """A task and its tenant, by their ids."""

    task_id: str
    tenant_id: str


@dataclass(slots=True)
class OperationOutcome:
    """
    The answer to one request.

    Attributes:
        final_status: At the moment of the answer; None for an unknown id.
        accepted, refused: By plan: what became of each task.
    """

    target_type: TargetType
    target_id: str
    _: KW_ONLY
    success: bool = True
    final_status: str | None = None
    failure: FailureInfo | None = None
    message: str = ""
    accepted: list[TaskReference] = field(default_factory=list[TaskReference])
    refused: list[tuple[TaskReference, FailureInfo]] = field(default_factory=list[tuple[TaskReference, FailureInfo]])

    def refuse(self, failure: FailureInfo) -> None:
        """Nothing of it applies."""
        self.success = False
        self.failure = failure
        self.message = failure.message

    def conclude_plan(self, verb: str, total: int) -> None:
        """Success when something was accepted; otherwise the refusal that says most."""
        if self.accepted:
            self.message = f"{verb} accepted for {len(self.accepted)} of {total} tasks"
            if self.refused:
                self.message += f", refused for {len(self.refused)}"
            return
        telling = [failure for _, failure in self.refused if failure.error_code is not ErrorCode.ILLEGAL_STATE]
        failure = (telling or [failure for _, failure in self.refused])[0]
        self.refuse(failure)
        self.message = f"{verb} applies to no task of plan {self.target_id}: {failure.message}"


def refused(code: ErrorCode, message: str, now: datetime) -> FailureInfo:
    """The failure that a refusal carries."""
    return FailureInfo(error_code=code, error_type=ErrorType.BUSINESS_ERROR, message=message, timestamp=now)


def accepted_message(  # noqa: PLR0911  # one sentence an effect
    task: TaskAggregate, operation: Operation, verdict: Verdict
) -> str:
    """What will happen now, in a sentence: "requested" and "done" are different words (lesson 11)."""
    subject = f"task {task.task_id} (tenant {task.tenant_id})"
    match verdict.effect:
        case None | Effect.NOTHING:
            return f"{subject}: nothing to do, {operation} is already so"
        case Effect.HOLD:
            return f"{subject} is held: it stays {task.status} until it is resumed"
        case Effect.RELEASE:
            return f"{subject} is no longer held"
        case Effect.WITHDRAW:
            return f"{subject}: the pending request is withdrawn"
        case Effect.RESUME:
            return f"{subject} resumes when a slot is free"
        case Effect.PAUSE_NOW | Effect.CANCEL_NOW:
            return f"{subject} is {task.status}"
        case Effect.REQUEST:
            when = "when the running stage has ended" if task.status.holds_slot else "when a slot is free"
            return f"{operation} of {subject} is requested; it takes effect {when}"
