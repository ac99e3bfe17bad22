"""
Whether health checks can pass at all with the plan's health settings.

Steps of a stage factory use these settings too, so they are judged with a catalogue and without one.
"""

from collections.abc import Callable, Iterator

from switchover.domain.plan import HealthSettings
from switchover.dto import Finding
from switchover.errors import ErrorCode, StageError
from switchover.factory.reading import Draft
from switchover.stages.health_check import HealthCheckStep, compile_json_path
from switchover.stages.templates import compile_template


def health_problems(draft: Draft) -> Iterator[Finding]:
    """Templates and paths that are none, and more rounds in a row than there are rounds."""
    health = draft.rules.health
    checks: tuple[tuple[str, str, Callable[[str], object]], ...] = (
        ("health.path", health.path, compile_template),
        ("health.versionKey", health.version_key, compile_json_path),
        ("health.expect", health.expect, compile_template),
    )
    for field, text, check in checks:
        try:
            check(text)
        except StageError as error:
            yield _finding(field, error.message)
    if health.consecutive > health.attempts:
        yield _finding("health.consecutive", _never(health.consecutive, health.attempts))
    else:
        yield from _of_steps(draft, health)


def _of_steps(draft: Draft, health: HealthSettings) -> Iterator[Finding]:
    stages = () if draft.catalogue is None else draft.catalogue.stages
    for index, stage in enumerate(stages):
        for number, step in enumerate(stage.steps):
            if not isinstance(step, HealthCheckStep):
                continue
            attempts = health.attempts if step.attempts is None else step.attempts
            consecutive = health.consecutive if step.consecutive is None else step.consecutive
            if consecutive > attempts:
                path = f"services[{index}].steps[{number}].healthCheck"
                name = "attempts" if step.consecutive is None else "consecutive"
                yield _finding(f"{path}.{name}", _never(consecutive, attempts))


def _never(consecutive: int, attempts: int) -> str:
    return f"{consecutive} good rounds in a row can never come within {attempts} attempts"


def _finding(field: str, message: str) -> Finding:
    return Finding(tenant_id=None, field=field, code=ErrorCode.INVALID_FIELD, message=message)
