"""
The jobs of Procrastinate, as its functions in the database make and free them: all that is known here about them.

A job is a hint: it brings a run to a worker that is free. What is true is in ``stage_order``. So jobs may vanish, or
come twice, and nothing is lost or doubled: missing ones are made again, and one whose run is over ends at once.

The statements run on the store's own connection, inside the transaction of the commit that they belong to.
"""

from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from switchover.adapters.stores.postgres.sql import Connection
from switchover.errors import StoreUnusableError

TASK_NAME: Final = "switchover.run"
QUEUE: Final = "switchover"
HEARTBEAT_SECONDS: Final = 1.0
STALLED_SECONDS: Final = 4.0

DEFER: Final = f"""
SELECT procrastinate_defer_jobs_v1(array_agg(
    ROW('{QUEUE}', '{TASK_NAME}', 0, tenant_id, NULL,
        jsonb_build_object('plan_id', plan_id, 'ordinal', ordinal, 'run', run), NULL)::procrastinate_job_to_defer_v1
    ORDER BY run
)) FROM led HAVING count(*) > 0
"""  # noqa: S608  # names are ours
"""
A job for each run of ``led`` (plan_id, ordinal, run, tenant_id); it exists when the transaction is through.

The tenant is the lock: no two jobs of one tenant are taken at once.
"""

FREE: Final = f"""
SELECT procrastinate_finish_job_v1(j.id, 'failed', true)
FROM stage_order AS o JOIN task AS t USING (plan_id, ordinal)
    JOIN procrastinate_jobs AS j ON j.lock = t.tenant_id AND j.status = 'doing' AND j.task_name = '{TASK_NAME}'
WHERE (o.plan_id, o.ordinal) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
    AND NOT EXISTS (SELECT 1 FROM worker AS w WHERE w.worker = o.worker)
"""  # noqa: S608  # names are ours
"""The job of a worker that is gone keeps its tenant's lock: nobody else ends it."""

RETRY_STALLED: Final = f"""
SELECT procrastinate_retry_job_v2(j.id, NULL, NULL, NULL, NULL)
FROM procrastinate_jobs AS j LEFT JOIN procrastinate_workers AS w ON w.id = j.worker_id
WHERE j.status = 'doing' AND j.task_name = '{TASK_NAME}'
    AND (w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => $1))
"""  # noqa: S608  # names are ours
"""Taken by a worker that died before it could claim the run. Where it could, whoever gets the job now ends it."""

REPLACE_MISSING: Final = f"""
WITH led AS (
    SELECT o.plan_id, o.ordinal, o.run, t.tenant_id FROM stage_order AS o JOIN task AS t USING (plan_id, ordinal)
    WHERE o.worker IS NULL AND NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS j WHERE j.lock = t.tenant_id AND j.status IN ('todo', 'doing')
            AND j.task_name = '{TASK_NAME}' AND (j.args ->> 'run')::bigint = o.run
    )
), deferred AS MATERIALIZED ({DEFER}) SELECT run FROM led, (SELECT count(*) FROM deferred) AS d
"""  # noqa: S608  # names are ours

_HAS_SCHEMA: Final = """
SELECT EXISTS (
    SELECT 1 FROM pg_class WHERE relname = 'procrastinate_jobs' AND relnamespace = current_schema()::regnamespace
)
"""
"""From the catalogue: ``to_regclass`` may not know yet what was made while this session waited for the lock."""

_FITS: Final = """
SELECT to_regprocedure('procrastinate_defer_jobs_v1(procrastinate_job_to_defer_v1[])') IS NOT NULL
    AND to_regprocedure('procrastinate_finish_job_v1(bigint, procrastinate_job_status, boolean)') IS NOT NULL
    AND to_regprocedure('procrastinate_retry_job_v2(bigint, timestamptz, integer, varchar, varchar)') IS NOT NULL
    AND to_regprocedure('procrastinate_fetch_job_v2(varchar[], bigint)') IS NOT NULL
"""
"""The functions that this program and its Procrastinate call."""

_LOCK: Final = (
    "SELECT pg_advisory_xact_lock(1400328056::bigint << 32 | (hashtext(current_schema())::bigint & 4294967295))"
)
"""``SwOx``: one below is the store's schema."""

_LIBPQ: Final = frozenset(
    {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "application_name", "passfile"),
        *("connect_timeout", "target_session_attrs", "service", "host", "port", "user", "dbname", "krbsrvname"),
    }
)


async def prepare_jobs(connection: Connection, place: str) -> None:
    """
    Make Procrastinate's tables where there are none.

    Raises:
        StoreUnusableError: Procrastinate is not installed here, or its tables are of a version that does not fit.
    """
    if not await connection.fetchval(_HAS_SCHEMA):
        async with connection.transaction():
            await connection.execute(_LOCK)
            if not await connection.fetchval(_HAS_SCHEMA):
                await connection.execute(_schema())
    if not await connection.fetchval(_FITS):
        message = (
            f"{place}: the job tables there are of a version of Procrastinate that this program cannot use; stop all "
            f"servers and workers, apply Procrastinate's migrations, and start them again"
        )
        raise StoreUnusableError(message)


def _schema() -> str:
    try:
        from procrastinate.schema import SchemaManager  # noqa: PLC0415  # an extra, and only needed once
    except ImportError as error:
        message = "workers need Procrastinate; install switchover[postgres]"
        raise StoreUnusableError(message) from error
    return SchemaManager.get_schema()


def conninfo(url: str) -> str:
    """The URL of a store as libpq understands it: settings of the server go into ``options``."""
    parts = urlsplit(url)
    kept: dict[str, str] = {}
    settings: list[str] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _LIBPQ:
            kept[name] = value
        elif name != "statement_cache_size":
            escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
            settings.append(f"-c {name}={escaped}")
    if settings:
        kept["options"] = " ".join(settings)
    return parts._replace(scheme="postgresql", query=urlencode(kept, quote_via=quote)).geturl()
