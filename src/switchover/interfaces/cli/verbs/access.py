"""token, audit: who may come in over the API, and what everybody did. On the store itself."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.interfaces.cli.command import run_async, verb
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.output import Column, Format, Output, write_all, write_json, write_line, write_table
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from switchover.access import AccessControl, IssuedToken
    from switchover.bootstrap import Executor
    from switchover.domain.access import AccessToken
    from switchover.domain.audit import AuditFilter, AuditRecord

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the token.")]
Why = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it goes into the audit log.")]

_PAGE = 500


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    tokens = typer.Typer(
        no_args_is_help=True, help="Tokens for the API: create, list, rotate, revoke.", rich_markup_mode=None
    )
    for name, function in (("create", create), ("list", list_tokens), ("rotate", rotate), ("revoke", revoke)):
        tokens.command(name, help=function.__doc__)(verb(function))
    app.add_typer(tokens, name="token")
    app.command("audit", help=audit.__doc__)(verb(audit))


def create(
    place: Place,
    *,
    name: Name,
    scope: Annotated[
        list[str], typer.Option("--scope", help="viewer, operator, approver or admin; may be given more than once.")
    ],
    tenants: Annotated[
        list[str] | None,
        typer.Option("--tenants", metavar="PATTERN", help="Only these: an id, or a pattern with * and ?; repeatable."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DURATION", help="After which it is refused: 90d, 12h.")
    ] = None,
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Make a token and show it, this once: only its digest is kept."""
    seconds = None if expires is None else _seconds("--expires", expires)

    async def work(access: "AccessControl", executor: "Executor") -> ExitCode:
        issued = await access.create_token(
            name,
            scope,
            by=executor.facade.actor,
            tenants=tenants or ("*",),
            expires_in_seconds=seconds,
            reason=reason,
        )
        return _show_issued(issued, output)

    return _with_access(place, work, create=True)


def list_tokens(place: Place, *, output: Output = Format.TABLE) -> ExitCode:
    """List every token that ever was, and what became of it; never the token itself."""

    async def work(access: "AccessControl", executor: "Executor") -> ExitCode:
        from switchover.access.views import token_view

        tokens = await access.list_tokens()
        if output is Format.TABLE:
            _write_tokens(tokens, executor.clock.now())
        elif output is Format.JSON:
            write_json([token_view(token) for token in tokens])
        else:
            for token in tokens:
                write_line(token_view(token))
        return ExitCode.DONE

    return _with_access(place, work)


def rotate(
    place: Place,
    *,
    name: Name,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="How long the old token stays good; 0: not at all.")
    ] = "1h",
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Give a token a new secret and show it, this once."""
    seconds = _seconds("--grace", grace)

    async def work(access: "AccessControl", executor: "Executor") -> ExitCode:
        by = executor.facade.actor
        return _show_issued(await access.rotate_token(name, by=by, grace_seconds=seconds, reason=reason), output)

    return _with_access(place, work)


def revoke(place: Place, *, name: Name, reason: Why = "", output: Output = Format.TABLE) -> ExitCode:
    """Refuse a token from now on, and every session that was opened with it."""

    async def work(access: "AccessControl", executor: "Executor") -> ExitCode:
        from switchover.access.views import token_view

        token = await access.revoke_token(name, by=executor.facade.actor, reason=reason)
        if output is Format.TABLE:
            print(f"token {name} is revoked")
        else:
            (write_json if output is Format.JSON else write_line)(token_view(token))
        return ExitCode.DONE

    return _with_access(place, work)


def audit(
    place: Place,
    *,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option("--verb", help="Only this verb, such as rollback.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only what was asked about this tenant.")] = None,
    plan: Annotated[int | None, typer.Option("--plan", help="Only what was asked about this plan.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Not older than this moment (UTC unless it has an offset).")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many entries; 0: all.")] = 100,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Show who wrote what, when, and why; the newest first."""
    wanted = _filter(actor, action, tenant, plan, since)

    place.only_here("audit")

    async def work() -> ExitCode:
        async with place.open("read") as executor:
            records = _records(executor, wanted, limit)
            if output is Format.TABLE:
                write_table(_COLUMNS, [_row(record) async for record in records])
            else:
                await write_all((record.to_dict() async for record in records), output)
        return ExitCode.DONE

    return run_async(work())


# --- inside --------------------------------------------------------------------------------------------------------

_COLUMNS = (
    Column("WHEN (UTC)"),
    Column("WHO"),
    Column("FROM", optional=2),
    Column("WHAT"),
    Column("OUTCOME"),
    Column("WHY", flexible=True),
    Column("ANSWER", flexible=True, optional=1),
)


def _row(record: "AuditRecord") -> tuple[str, ...]:
    entry = record.entry
    where = f"{entry.actor.via} {entry.actor.origin}".strip()
    what = f"{entry.verb} {entry.target_type.lower()} {entry.target}".strip()
    outcome = entry.outcome if entry.code is None else f"{entry.outcome}: {entry.code}"
    return f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.actor.name, where, what, outcome, entry.reason, entry.message


def _filter(
    actor: str | None, action: str | None, tenant: str | None, plan: int | None, since: datetime | None
) -> "AuditFilter":
    from datetime import UTC

    from switchover.domain.audit import AuditFilter

    if tenant is not None and plan is not None:
        raise CommandError("name --tenant or --plan, not both: an entry is about one of them", ExitCode.USAGE)
    target_type = "TENANT" if tenant is not None else None if plan is None else "PLAN"
    target = tenant if tenant is not None else None if plan is None else str(plan)
    moment = since if since is None or since.tzinfo is not None else since.replace(tzinfo=UTC)
    return AuditFilter(actor=actor, verb=action, target_type=target_type, target=target, since=moment)


async def _records(executor: "Executor", wanted: "AuditFilter", limit: int) -> "AsyncIterator[AuditRecord]":
    before: int | None = None
    left = limit or None
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        page = await executor.store.access.list_audit(wanted, before=before, limit=size)
        for record in page:
            yield record
        if len(page) < size:
            return
        before = page[-1].number
        left = None if left is None else left - len(page)


def _with_access(
    place: Place, work: "Callable[[AccessControl, Executor], Awaitable[ExitCode]]", *, create: bool = False
) -> ExitCode:
    place.only_here("token")

    async def run() -> ExitCode:
        async with place.open("read", create=create) as executor:
            return await work(executor.access_control(), executor)

    return run_async(run())


def _show_issued(issued: "IssuedToken", output: Format) -> ExitCode:
    from switchover.access.views import token_view

    if output is Format.TABLE:
        print(issued.secret)
        typer.echo(f"token {issued.token.name}: shown this once, and kept by nobody", err=True)
    else:
        (write_json if output is Format.JSON else write_line)({**token_view(issued.token), "token": issued.secret})
    return ExitCode.DONE


def _write_tokens(tokens: "Sequence[AccessToken]", now: datetime) -> None:
    columns = (
        Column("NAME"),
        Column("SCOPES"),
        Column("TENANTS", flexible=True),
        Column("STATE"),
        Column("LAST USED", optional=1),
        Column("CREATED BY", optional=2),
    )
    rows = [
        (
            token.name,
            " ".join(sorted(token.scopes)),
            " ".join(token.tenants.patterns),
            _state(token, now),
            "never" if token.last_used_at is None else f"{token.last_used_at:%Y-%m-%d %H:%M}",
            printable(token.created_by),
        )
        for token in tokens
    ]
    write_table(columns, rows)


def _state(token: "AccessToken", now: datetime) -> str:
    if token.revoked_at is not None:
        return f"revoked {token.revoked_at:%Y-%m-%d}"
    if token.expires_at is None:
        return "good"
    return f"{'good until' if token.is_valid(now) else 'expired'} {token.expires_at:%Y-%m-%d %H:%M}"


def _seconds(option: str, text: str) -> float:
    from switchover.domain.durations import parse_duration

    days, found, rest = text.strip().partition("d")
    try:
        if found and days.isdigit() and not rest:
            return int(days) * 86_400.0
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}; days are written 90d", ExitCode.USAGE) from error
