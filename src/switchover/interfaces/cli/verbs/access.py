"""token, audit: who may come in over the API, and what everybody did."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from switchover.interfaces.cli.command import run_async, verb
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.keeping import Keeper, keeper
from switchover.interfaces.cli.output import Column, Format, Output, write_all, write_json, write_line, write_table
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import printable

if TYPE_CHECKING:
    from switchover.domain.audit import AuditFilter

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the token.")]
Why = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it goes into the audit log.")]


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

    async def work(kept: Keeper) -> ExitCode:
        issued = await kept.create_token(
            name, scope, tenants=tenants or ("*",), expires_in_seconds=seconds, reason=reason
        )
        return _show_issued(issued, output)

    return _with_access(place, work, create=True)


def list_tokens(place: Place, *, output: Output = Format.TABLE) -> ExitCode:
    """List every token that ever was, and what became of it; never the token itself."""

    async def work(kept: Keeper) -> ExitCode:
        tokens = await kept.list_tokens()
        if output is Format.TABLE:
            _write_tokens(tokens, datetime.now(UTC))
        elif output is Format.JSON:
            write_json(tokens)
        else:
            for token in tokens:
                write_line(token)
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

    async def work(kept: Keeper) -> ExitCode:
        return _show_issued(await kept.rotate_token(name, grace_seconds=seconds, reason=reason), output)

    return _with_access(place, work)


def revoke(place: Place, *, name: Name, reason: Why = "", output: Output = Format.TABLE) -> ExitCode:
    """Refuse a token from now on, and every session that was opened with it."""

    async def work(kept: Keeper) -> ExitCode:
        token = await kept.revoke_token(name, reason=reason)
        if output is Format.TABLE:
            print(f"token {name} is revoked")
        else:
            (write_json if output is Format.JSON else write_line)(token)
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

    async def work() -> ExitCode:
        async with keeper(place) as kept:
            records = kept.audit(wanted, limit or None)
            if output is Format.TABLE:
                write_table(_COLUMNS, [_row(record) async for record in records])
            else:
                await write_all((dict(record) async for record in records), output)
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


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    actor, code = record["actor"], record["code"]
    where = f"{actor['via']} {actor['origin']}".strip()
    what = f"{record['verb']} {record['targetType'].lower()} {record['target']}".strip()
    outcome = record["outcome"] if code is None else f"{record['outcome']}: {code}"
    at = record["at"][: len("2026-01-01T00:00:00")].replace("T", " ")
    return at, actor["name"], where, what, outcome, record["reason"], record["message"]


def _filter(
    actor: str | None, action: str | None, tenant: str | None, plan: int | None, since: datetime | None
) -> "AuditFilter":
    from switchover.domain.audit import AuditFilter

    if tenant is not None and plan is not None:
        raise CommandError("name --tenant or --plan, not both: an entry is about one of them", ExitCode.USAGE)
    target_type = "TENANT" if tenant is not None else None if plan is None else "PLAN"
    target = tenant if tenant is not None else None if plan is None else str(plan)
    moment = since if since is None or since.tzinfo is not None else since.replace(tzinfo=UTC)
    return AuditFilter(actor=actor, verb=action, target_type=target_type, target=target, since=moment)


def _with_access(place: Place, work: Callable[[Keeper], Awaitable[ExitCode]], *, create: bool = False) -> ExitCode:
    async def run() -> ExitCode:
        async with keeper(place, create=create) as kept:
            return await work(kept)

    return run_async(run())


def _show_issued(issued: Mapping[str, Any], output: Format) -> ExitCode:
    if output is Format.TABLE:
        print(issued["token"])
        typer.echo(f"token {issued['name']}: shown this once, and kept by nobody", err=True)
    else:
        (write_json if output is Format.JSON else write_line)(issued)
    return ExitCode.DONE


def _write_tokens(tokens: Sequence[Mapping[str, Any]], now: datetime) -> None:
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
            token["name"],
            " ".join(token["scopes"]),
            " ".join(token["tenants"]),
            _state(token, now),
            "never" if token["lastUsedAt"] is None else _minute(token["lastUsedAt"]),
            printable(token["createdBy"]),
        )
        for token in tokens
    ]
    write_table(columns, rows)


def _state(token: Mapping[str, Any], now: datetime) -> str:
    if token["revokedAt"] is not None:
        return f"revoked {datetime.fromisoformat(token['revokedAt']):%Y-%m-%d}"
    if token["expiresAt"] is None:
        return "good"
    is_valid = now < datetime.fromisoformat(token["expiresAt"])
    return f"{'good until' if is_valid else 'expired'} {_minute(token['expiresAt'])}"


def _minute(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M}"


def _seconds(option: str, text: str) -> float:
    from switchover.domain.durations import parse_duration

    days, found, rest = text.strip().partition("d")
    try:
        if found and days.isdigit() and not rest:
            return int(days) * 86_400.0
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}; days are written 90d", ExitCode.USAGE) from error
