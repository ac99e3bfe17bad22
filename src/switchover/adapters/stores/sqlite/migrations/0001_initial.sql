-- The first schema.
--
-- Moments are microseconds since 1970 (UTC); statuses, operations and event types are the codes of stores/codec.py and
-- domain/events.py; structured values are JSON text. What is written at every stage boundary is apart from what is
-- written once, because SQLite rewrites whole rows.

PRAGMA application_id = 1400328054; -- 'SwOv'

-- Who may commit. One row; every new holder raises the epoch.
CREATE TABLE driver (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;

CREATE TABLE stop_line (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;

CREATE TABLE plan (
    plan_id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    status INTEGER NOT NULL,
    counts TEXT NOT NULL,
    unsettled INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    sequence_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    run INTEGER NOT NULL,
    started_tasks INTEGER NOT NULL,
    pending_operation INTEGER,
    cancelled INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    failure TEXT
) STRICT;

CREATE INDEX plan_unsettled ON plan (plan_id) WHERE unsettled > 0;

-- What never changes about a plan.
CREATE TABLE plan_definition (
    plan_id INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    last_arrival INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    plan_version INTEGER,
    name TEXT,
    labels TEXT NOT NULL,
    rules TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    idempotency_key TEXT PRIMARY KEY,
    plan_id INTEGER NOT NULL,
    content_digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The names of a task's stages, in order (JSON): few different lists for very many tasks.
CREATE TABLE stage_list (
    stage_list_id INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE
) STRICT;

-- flags: 1 pending_from_checkpoint, 2 held, 4 line_held, 8 own_request, 16 retrying, 32 previous_known.
-- marks: one character per stage, '0' + StageMark.
CREATE TABLE task (
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    version INTEGER NOT NULL,
    tenant_id TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    stage_list_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    marks TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    sequence_id INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    pending_operation INTEGER,
    flags INTEGER NOT NULL,
    started_order INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    failure TEXT,
    PRIMARY KEY (plan_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_by_tenant ON task (tenant_id, arrival);

CREATE TABLE task_config (
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    config TEXT NOT NULL,
    previous TEXT,
    PRIMARY KEY (plan_id, ordinal)
) STRICT, WITHOUT ROWID;

-- In the order in which they were kept.
CREATE TABLE pre_image (
    pre_image_id INTEGER PRIMARY KEY,
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    stage TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    UNIQUE (plan_id, ordinal, stage, key)
) STRICT;

-- ordinal: 0 for the plan's own events. status: a code, or text when it has none. stage: the index of the task's stage,
-- or its name. data: JSON, or the index i of a stage for {"stage": <name of i>}, which most events of stages say.
CREATE TABLE event (
    plan_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    sequence_id INTEGER NOT NULL,
    type INTEGER NOT NULL,
    at INTEGER NOT NULL,
    status ANY NOT NULL,
    stage ANY,
    completed INTEGER NOT NULL,
    total INTEGER NOT NULL,
    failure TEXT,
    data ANY,
    PRIMARY KEY (plan_id, position)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX event_by_sequence ON event (plan_id, ordinal, sequence_id);

CREATE TABLE tenant (
    tenant_id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    owner_plan INTEGER,
    owner_ordinal INTEGER,
    started_plan INTEGER,
    started_ordinal INTEGER
) STRICT, WITHOUT ROWID;

-- Who waits for a tenant's lock.
CREATE TABLE lock_queue (
    tenant_id TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, arrival, plan_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenant_hold (
    tenant_id TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE last_known_good (
    tenant_id TEXT PRIMARY KEY,
    config TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What other processes ask of the driver. AUTOINCREMENT: an id is never used again.
CREATE TABLE request (
    request_id INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    payload BLOB NOT NULL,
    submitted_at INTEGER NOT NULL,
    answer BLOB
) STRICT;

CREATE INDEX request_open ON request (request_id) WHERE answer IS NULL;
