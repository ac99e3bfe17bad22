"""What a state looks like: a shape and a word for everybody, and a colour for those who see it."""

from dataclasses import dataclass
from enum import StrEnum

from switchover.domain.plan import PlanStatus
from switchover.domain.task import StageMark, TaskStatus


class Tone(StrEnum):
    """The class in the style sheet; what colours a state."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    BACK = "back"
    BROKEN = "broken"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Look:
    """How one state is shown: a letter for maps, a shape, a word, and a tone."""

    letter: str
    shape: str
    word: str
    tone: Tone


_WAITING = Look("w", "○", "waiting", Tone.WAITING)

TASK_LOOKS: dict[TaskStatus, Look] = {
    TaskStatus.CREATED: _WAITING,
    TaskStatus.VALIDATING: _WAITING,
    TaskStatus.VALIDATION_FAILED: Look("x", "✕", "invalid", Tone.FAILED),
    TaskStatus.PENDING: _WAITING,
    TaskStatus.RUNNING: Look("r", "▶", "running", Tone.RUNNING),
    TaskStatus.PAUSED: Look("p", "‖", "paused", Tone.PAUSED),
    TaskStatus.RESUMING: Look("s", "▷", "resuming", Tone.PAUSED),
    TaskStatus.COMPLETED: Look("d", "✓", "done", Tone.DONE),
    TaskStatus.FAILED: Look("f", "✕", "failed", Tone.FAILED),
    TaskStatus.CANCELLED: Look("c", "⊘", "cancelled", Tone.OFF),
    TaskStatus.ROLLING_BACK: Look("u", "◀", "rolling back", Tone.RUNNING),
    TaskStatus.ROLLED_BACK: Look("b", "↶", "rolled back", Tone.BACK),
    TaskStatus.ROLLBACK_FAILED: Look("y", "!", "rollback failed", Tone.BROKEN),
}

PLAN_LOOKS: dict[PlanStatus, Look] = {
    PlanStatus.CREATED: _WAITING,
    PlanStatus.VALIDATING: _WAITING,
    PlanStatus.READY: Look("w", "○", "ready", Tone.WAITING),
    PlanStatus.RUNNING: Look("r", "▶", "running", Tone.RUNNING),
    PlanStatus.PAUSED: Look("p", "‖", "paused", Tone.PAUSED),
    PlanStatus.COMPLETED: Look("d", "✓", "completed", Tone.DONE),
    PlanStatus.PARTIAL_FAILED: Look("f", "✕", "partly failed", Tone.FAILED),
    PlanStatus.FAILED: Look("f", "✕", "failed", Tone.FAILED),
    PlanStatus.CANCELLED: Look("c", "⊘", "cancelled", Tone.OFF),
    PlanStatus.ROLLING_BACK: Look("u", "◀", "rolling back", Tone.RUNNING),
    PlanStatus.ROLLED_BACK: Look("b", "↶", "rolled back", Tone.BACK),
    PlanStatus.ROLLBACK_FAILED: Look("y", "!", "rollback failed", Tone.BROKEN),
}

IN_PROGRESS_ORDER: tuple[TaskStatus, ...] = (
    TaskStatus.COMPLETED,
    TaskStatus.RUNNING,
    TaskStatus.ROLLING_BACK,
    TaskStatus.RESUMING,
    TaskStatus.PAUSED,
    TaskStatus.FAILED,
    TaskStatus.ROLLBACK_FAILED,
    TaskStatus.ROLLED_BACK,
    TaskStatus.CANCELLED,
    TaskStatus.PENDING,
)
"""The order of a progress bar's segments, and of the counts beside it."""

_STAGE_WAITING = Look("w", "○", "waiting", Tone.WAITING)
_STAGE_DONE = Look("d", "✓", "done", Tone.DONE)
_STAGE_SKIPPED = Look("k", "–", "skipped", Tone.OFF)
_STAGE_TOUCHED = Look("t", "◐", "started, not complete", Tone.OFF)
_STAGE_RESTORED = Look("b", "↶", "restored", Tone.BACK)
_STAGE_NOT_RESTORED = Look("y", "!", "not restored", Tone.BROKEN)


def stage_looks(status: TaskStatus, marks: tuple[int, ...]) -> list[Look]:
    """One look for each stage of a task."""
    looks = [_settled_look(mark) for mark in marks]
    current = _current(status, marks)
    if current is not None:
        looks[current] = TASK_LOOKS[status]
    return looks


def _settled_look(mark: int) -> Look:
    if mark & StageMark.RESTORE_FAILED:
        return _STAGE_NOT_RESTORED
    if mark & StageMark.RESTORED:
        return _STAGE_RESTORED
    if mark & StageMark.COMPLETED:
        return _STAGE_SKIPPED if mark & StageMark.SKIPPED else _STAGE_DONE
    return _STAGE_TOUCHED if mark & StageMark.STARTED else _STAGE_WAITING


def _current(status: TaskStatus, marks: tuple[int, ...]) -> int | None:
    """The stage that the status is about."""
    match status:
        case TaskStatus.RUNNING | TaskStatus.PAUSED | TaskStatus.RESUMING | TaskStatus.FAILED:
            return next((index for index, mark in enumerate(marks) if not mark & StageMark.COMPLETED), None)
        case TaskStatus.ROLLING_BACK:
            given_up = StageMark.RESTORED | StageMark.RESTORE_FAILED
            started = [index for index, mark in enumerate(marks) if mark & StageMark.STARTED and not mark & given_up]
            return started[-1] if started else None
        case _:
            return None
