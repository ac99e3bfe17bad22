-- The first schema.
--
-- Moments are microseconds since 1970 (UTC); statuses, operations and event types are the codes of stores/codec.py and
-- domain/events.py; structured values are JSON text, which is what was written and not what the server makes of it.
-- Names are compared byte by byte, so that their order is the same in every database.

-- Who may commit. One row; every new holder raises the epoch.
CREATE TABLE driver (
    one SMALLINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL,
    owner TEXT NOT NULL,
    since BIGINT NOT NULL,
    released BOOLEAN NOT NULL
);

-- When the driver last said that it lives, and after how long without a word it may be replaced. Apart from the epoch,
-- which every commit locks.
CREATE TABLE driver_beat (
    one SMALLINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    lost_after INTERVAL NOT NULL
) WITH (fillfactor = 10);

-- Numbers that are given once, without a gap, in the order of the commits: whoever takes one holds the row until then.
CREATE TABLE counter (
    name TEXT COLLATE "C" PRIMARY KEY,
    last BIGINT NOT NULL
);

INSERT INTO counter VALUES ('audit', 0), ('request', 0);

CREATE TABLE stop_line (
    one SMALLINT PRIMARY KEY CHECK (one = 1),
    reason TEXT NOT NULL,
    since BIGINT NOT NULL
);

-- Written in every commit: free room in its pages keeps its indexes from being written, too.
CREATE TABLE plan (
    plan_id BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    status SMALLINT NOT NULL,
    counts TEXT NOT NULL,
    unsettled INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    sequence_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    run BIGINT NOT NULL,
    started_tasks BIGINT NOT NULL,
    pending_operation SMALLINT,
    cancelled SMALLINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    failure TEXT
) WITH (fillfactor = 50);

-- What never changes about a plan.
CREATE TABLE plan_definition (
    plan_id BIGINT PRIMARY KEY,
    total INTEGER NOT NULL,
    last_arrival BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    plan_version BIGINT,
    name TEXT,
    labels TEXT NOT NULL,
    rules TEXT NOT NULL
);

CREATE TABLE idempotency (
    idempotency_key TEXT COLLATE "C" PRIMARY KEY,
    plan_id BIGINT NOT NULL,
    content_digest TEXT NOT NULL,
    findings BYTEA NOT NULL
);

-- The names of a task's stages, in order (JSON): few different lists for very many tasks.
CREATE TABLE stage_list (
    stage_list_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE, -- SHA-256 of the names, which may be too long for an index
    names TEXT NOT NULL
);

-- flags: 1 pending_from_checkpoint, 2 held, 4 line_held, 8 own_request, 16 retrying, 32 previous_known.
-- marks: one character per stage, '0' + StageMark.
CREATE TABLE task (
    plan_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    version BIGINT NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    arrival BIGINT NOT NULL,
    stage_list_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    status SMALLINT NOT NULL,
    marks TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    sequence_id BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    retry_count INTEGER NOT NULL,
    pending_operation SMALLINT,
    flags INTEGER NOT NULL,
    started_order BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    failure TEXT,
    not_before BIGINT,
    PRIMARY KEY (plan_id, ordinal)
) WITH (fillfactor = 70);

CREATE INDEX task_by_tenant ON task (tenant_id, arrival);

CREATE TABLE task_config (
    plan_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    config TEXT NOT NULL,
    previous TEXT,
    PRIMARY KEY (plan_id, ordinal)
);

-- In the order in which they were kept.
CREATE TABLE pre_image (
    pre_image_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    stage TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value BYTEA,
    UNIQUE (plan_id, ordinal, stage, key)
);

-- ordinal: 0 for the plan's own events. status: a code, or the word itself when it has none. stage: the index of the
-- task's stage, or its name. data: JSON, or the index i of a stage for {"stage": <name of i>}, which most events of
-- stages say.
CREATE TABLE event (
    plan_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    sequence_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    total INTEGER NOT NULL,
    type SMALLINT NOT NULL,
    status SMALLINT,
    stage SMALLINT,
    data_stage SMALLINT,
    status_word TEXT,
    stage_name TEXT,
    failure TEXT,
    data TEXT,
    PRIMARY KEY (plan_id, position)
);

CREATE UNIQUE INDEX event_by_sequence ON event (plan_id, ordinal, sequence_id);

CREATE TABLE tenant (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    generation BIGINT NOT NULL,
    owner_plan BIGINT,
    owner_ordinal INTEGER,
    started_plan BIGINT,
    started_ordinal INTEGER
) WITH (fillfactor = 70);

-- Who waits for a tenant's lock.
CREATE TABLE lock_queue (
    tenant_id TEXT COLLATE "C" NOT NULL,
    arrival BIGINT NOT NULL,
    plan_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, arrival, plan_id, ordinal)
);

CREATE TABLE tenant_hold (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL
);

CREATE TABLE last_known_good (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    config TEXT NOT NULL
);

-- What other processes ask of the driver.
CREATE TABLE request (
    request_id BIGINT PRIMARY KEY,
    verb TEXT NOT NULL,
    payload BYTEA NOT NULL,
    submitted_at BIGINT NOT NULL,
    answer BYTEA
);

CREATE INDEX request_open ON request (request_id) WHERE answer IS NULL;

-- Who may come in, and what they did. Of the tokens only SHA-256 digests, in hex; document: stores/access_codec.py.
-- Rows stay when a token is revoked.
CREATE TABLE access_token (
    name TEXT COLLATE "C" PRIMARY KEY,
    version BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    previous_digest TEXT COLLATE "C",
    last_used_at BIGINT,
    document TEXT NOT NULL
);

CREATE INDEX access_token_previous ON access_token (previous_digest) WHERE previous_digest IS NOT NULL;

CREATE TABLE login_session (
    session_id TEXT COLLATE "C" PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    verb TEXT COLLATE "C" NOT NULL,
    target_type TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    document TEXT NOT NULL
);

-- A hash, because a target may be too long for a sorted index.
CREATE INDEX audit_by_target ON audit USING hash (target);
