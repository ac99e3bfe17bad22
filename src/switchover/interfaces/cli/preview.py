"""What a plan would do, as people read it."""

from collections.abc import Sequence

from switchover.interfaces.cli.findings import counted
from switchover.interfaces.cli.output import Column
from switchover.interfaces.cli.place import Place
from switchover.reports.preview import Preview, TenantPreview
from switchover.reports.texts import elapsed, on_failure

_STATES = {"starts": ("starts", "start"), "waits": ("waits", "wait"), "refused": ("is refused", "are refused")}
"""What one tenant does, and what several do."""

PREVIEW_COLUMNS = (
    Column("TENANT", flexible=True),
    Column("FROM"),
    Column("TO"),
    Column("STATE", flexible=True),
    Column("WORST CASE", right=True, optional=1),
    Column("CHANGES", flexible=True),
)
_UNIT_FIELDS = frozenset({"deployUnitId", "deployUnitVersion", "deployUnitName"})


def row(tenant: TenantPreview) -> Sequence[object]:
    """For ``PREVIEW_COLUMNS``."""
    rest = [str(item) for item in tenant.changes if item.field not in _UNIT_FIELDS]
    return (
        tenant.tenant_id,
        "unknown" if tenant.previous is None else tenant.previous,
        tenant.target,
        f"{tenant.state}: {tenant.reason}" if tenant.reason else tenant.state,
        elapsed(tenant.worst_case_seconds),
        "; ".join(rest) or ("" if tenant.previous is None or tenant.changes else "nothing changes"),
    )


def details(preview: Preview, place: Place) -> list[tuple[str, object]]:
    """The plan as a whole."""
    states = ", ".join(f"{number:,} {_STATES[state][number != 1]}" for state, number in preview.states.items())
    return [
        ("plan", "its id is assigned when it is created" if preview.plan_id is None else preview.plan_id),
        ("name", preview.name),
        ("tenants", f"{len(preview.tenants):,}: {states}"),
        ("stages", ", ".join(preview.stages)),
        ("concurrency", f"{preview.max_concurrency} at once"),
        ("on conflict", preview.on_conflict),
        ("on failure", on_failure(automatic=preview.rolls_back, retries=preview.retries)),
        ("worst case", f"{elapsed(preview.worst_case_seconds)}, if every stage takes as long as it may"),
        ("findings", counted(preview.findings)),
        (
            "database",
            f"{place.name}: asked for conflicts, holds and last known good"
            if preview.known
            else f"{place.name}: there is none yet, so conflicts and holds are not known",
        ),
    ]
