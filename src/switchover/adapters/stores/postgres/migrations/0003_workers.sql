-- Stages that workers carry out.
--
-- The driver writes an order in the very commit that lets its stage begin, and takes it away in the one that ends the
-- run. Whoever has claimed it writes how the stage ended, as long as the claim stands.
CREATE TABLE stage_order (
    plan_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    run BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    stage SMALLINT NOT NULL,
    restoring BOOLEAN NOT NULL,
    worker BIGINT, -- 0: the driver's own process
    ended BOOLEAN NOT NULL DEFAULT FALSE,
    failure TEXT,
    PRIMARY KEY (plan_id, ordinal)
) WITH (fillfactor = 50);

CREATE INDEX stage_order_by_worker ON stage_order (worker);

-- Never given twice, so that a job of yesterday is not taken for one of today.
CREATE SEQUENCE stage_order_run;

CREATE TABLE worker (
    worker BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    concurrency INTEGER NOT NULL,
    since BIGINT NOT NULL,
    last_heartbeat BIGINT NOT NULL,
    heartbeats BIGINT NOT NULL,
    stopping BOOLEAN NOT NULL
) WITH (fillfactor = 50);
