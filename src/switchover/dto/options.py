"""
What comes in beside the configs: a plan's metadata, and its options (``spec`` of a plan file without tenants).

Source: interfaces, section 2. Ids and versions below zero are findings of the validation chain: they have a code
of their own.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from switchover.domain.durations import DURATION_PATTERN, parse_duration
from switchover.dto.configs import Text, WireModel

LARGEST_COUNT = 2**31 - 1
LONGEST_SECONDS = 366 * 24 * 3600

_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": LONGEST_SECONDS},
        {"type": "string", "pattern": DURATION_PATTERN},
    ],
    "description": "500ms, 3s, 10m, 4h; a bare number is seconds.",
}


def _seconds(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, str) and len(value) > 64:  # noqa: PLR2004  # longer than any duration, and not worth showing
        message = "is no duration; write for example 500ms, 3s, 10m or 4h"
        raise ValueError(message)
    try:
        return parse_duration(value)
    except OverflowError as error:
        message = "is too large for a duration"
        raise ValueError(message) from error


Duration = Annotated[float, Field(ge=0, le=LONGEST_SECONDS), WithJsonSchema(_DURATION_SCHEMA)]
Wait = Annotated[Duration | None, BeforeValidator(_seconds)]
Limit = Annotated[
    Annotated[float, Field(gt=0, le=LONGEST_SECONDS), WithJsonSchema(_DURATION_SCHEMA)] | None,
    BeforeValidator(_seconds),
]
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
NonBlank = Annotated[Text, Field(min_length=1, pattern=r"\S")]


class PlanMetadata(WireModel):
    """What people call the plan."""

    name: Text | None = None
    labels: dict[Text, Text] | None = Field(default=None, description="Free; for searching and for the record.")


class RollbackOptions(WireModel):
    """When a failed task is rolled back, and what happens to its tenant then."""

    on_failure: Literal["manual", "auto"] | None = Field(
        default=None, description="auto: a failed task is rolled back at once. Default: manual."
    )
    hold: bool | None = Field(default=None, description="Put the tenant on hold after ROLLED_BACK. Default: false.")


class RetryOptions(WireModel):
    """How often a failed task may be retried."""

    max: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] | None = Field(
        default=None, description="Retries of one task at most. Default: the setting max_retry, 3."
    )


class HealthOptions(WireModel):
    """How health checks ask, where their entry in the catalogue says nothing else."""

    interval: Wait = Field(default=None, description="Wait after a failed round. Default: 3s.")
    attempts: Count | None = Field(default=None, description="Rounds at most. Default: 10.")
    timeout: Limit = Field(default=None, description="Limit of one request. Default: 2s.")
    path: NonBlank | None = Field(default=None, description="Asked of addresses that are no URL. Default: /health.")
    version_key: NonBlank | None = Field(default=None, description="Key or JSON path of the version. Default: version.")
    expect: NonBlank | None = Field(default=None, description="What it must equal. Default: {deployUnitVersion}.")
    consecutive: Count | None = Field(default=None, description="Good rounds in a row that are needed. Default: 1.")


class PlanLimits(WireModel):
    """Limits and rules of one plan; whatever is absent or null comes from the settings."""

    plan_id: int | None = Field(default=None, description="Assigned when absent.")
    plan_version: int | None = Field(default=None, description="For configs that carry none.")
    max_concurrency: Count | None = Field(
        default=None, description="Tasks that run at once; 1: strictly one after another. Default: 10."
    )
    on_conflict: Literal["reject", "wait"] | None = Field(
        default=None, description="What to do about a tenant that another live task holds. Default: reject."
    )
    rollback: RollbackOptions | None = None
    retry: RetryOptions | None = None
    health: HealthOptions | None = None


class PlanOptions(PlanLimits):
    """All that a plan says about itself."""

    services: list[dict[str, Any]] | None = Field(
        default=None,
        description="The stage catalogue, in order. Default: the stage factory's, or the setting services.",
    )
