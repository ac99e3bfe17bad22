-- The order of the events of all plans, and how far they were forgotten.

-- What was committed in one piece: ``length`` events of a plan, the last of them at ``position``; over all plans that one
-- has this number, and those before it the numbers before. The first row says how far events were forgotten: nothing up
-- to ``number - length`` is given to anybody who reads all plans.
CREATE TABLE event_run (
    number BIGINT PRIMARY KEY,
    plan_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    length BIGINT NOT NULL
);

-- Up to where the events of a plan were forgotten.
CREATE TABLE pruned_plan (
    plan_id BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);

-- Earlier schemas did not note the order of commits. Within a plan it is that of the positions; between plans that of
-- the moments, which the greatest one so far stands for where a clock was set back.
INSERT INTO event_run (number, plan_id, position, length)
SELECT max(number), plan_id, max(position), count(*) FROM (
    SELECT plan_id, position, row_number() OVER (ORDER BY moment, plan_id, position) AS number FROM (
        SELECT plan_id, position, max(at) OVER (PARTITION BY plan_id ORDER BY position) AS moment FROM event
    ) AS moments
) AS numbers
GROUP BY plan_id, number - position;

INSERT INTO counter SELECT 'event', coalesce(max(number), 0) FROM event_run;
