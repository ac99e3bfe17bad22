"""Events as rows of typed columns: where SQLite keeps a number or a text in one column, there are two here."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchover.adapters.stores.rows import Row, event_from, event_values
from switchover.domain.events import Event

COLUMNS: Final = (
    "plan_id",
    "position",
    "ordinal",
    "sequence_id",
    "type",
    "at",
    "completed",
    "total",
    "failure",
    "status",
    "status_word",
    "stage",
    "stage_name",
    "data_stage",
    "data",
)


def typed_event_values(event: Event, names: tuple[str, ...] = ()) -> Row:
    """The values of ``COLUMNS``; ``names`` as for ``event_values``."""
    *numbers, status, stage, completed, total, failure, data = event_values(event, names)
    return (*numbers, completed, total, failure, *_two(status), *_two(stage), *_two(data))


def typed_event_from(row: Sequence[Any], names: Mapping[int, tuple[str, ...]]) -> Event:
    """From ``COLUMNS``, the tenant id and the stage list id of the task (None for events of the plan)."""
    *numbers, completed, total, failure, code, word, index, name, data_index, data, tenant_id, stage_list_id = row
    values = (_one(code, word), _one(index, name), completed, total, failure, _one(data_index, data))
    return event_from((*numbers, *values, tenant_id, stage_list_id), names)


def _two(value: int | str | None) -> tuple[int | None, str | None]:
    return (value, None) if isinstance(value, int) else (None, value)


def _one(number: int | None, text: str | None) -> int | str | None:
    return text if number is None else number
