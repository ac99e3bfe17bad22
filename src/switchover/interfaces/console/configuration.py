"""A tenant's configuration side by side: before, wanted, and what the targets hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from switchover.domain.task import TenantDeployConfigSnapshot
from switchover.domain.wire import config_to_dict
from switchover.engine.observing import PlaceReport

_APART = frozenset({"tenantId", "sourceTenantDeployConfig", "planId", "planVersion"})


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of the configuration."""

    name: str
    before: str
    wanted: str

    @property
    def differs(self) -> bool:
        """The switch changes it."""
        return self.before != self.wanted


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """One place of a target, as text."""

    stage: str
    name: str
    before: str
    wanted: str
    observed: str
    differs: bool


def field_rows(previous: TenantDeployConfigSnapshot | None, config: TenantDeployConfigSnapshot) -> list[FieldRow]:
    """Every field that either of them gives."""
    before = {} if previous is None else dict(_flat("", config_to_dict(previous)))
    wanted = dict(_flat("", config_to_dict(config)))
    return [FieldRow(name, before.get(name, ""), wanted.get(name, "")) for name in dict.fromkeys((*wanted, *before))]


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, object]", value).items():
            if prefix or name not in _APART:
                yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            yield from _flat(f"{prefix}[{index}]", inner)
    elif value is not None:
        yield prefix, str(value)


def place_rows(reports: Sequence[PlaceReport]) -> list[PlaceRow]:
    """What was found at the targets."""
    return [
        PlaceRow(
            stage=report.stage,
            name=report.place or report.step,
            before=_shown(report.before) if report.kept else "not written yet",
            wanted="" if report.wanted is None else _shown(report.wanted),
            observed=report.problem or f"{_shown(report.observed)} (generation {report.generation})",
            differs=bool(report.problem) or report.observed != report.wanted,
        )
        for report in reports
    ]


def _shown(value: str | None) -> str:
    return value or ("nothing" if value is None else "empty")
