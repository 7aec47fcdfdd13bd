-- name: pause
INSERT INTO {schema}.queues (name, paused_at) VALUES (:name, COALESCE(:now::timestamptz, now()))
ON CONFLICT DO NOTHING;

-- name: resume
DELETE FROM {schema}.queues WHERE name = :name;

-- name: paused
SELECT name, paused_at FROM {schema}.queues;

-- name: queue_scheduled
-- index: instances_due
SELECT queue, count(*), NULL::double precision FROM {schema}.instances WHERE status = 'scheduled' GROUP BY queue;

-- name: queue_ready
-- takes: now or null
-- gives: queue, count, age of the oldest in seconds
-- index: instances_ready, instances_fair
SELECT r.queue, sum(r.count)::bigint,
    extract(epoch FROM COALESCE(:now::timestamptz, now()) - min(r.oldest_at))::double precision
FROM (
    SELECT queue, count(*) AS count, min(due_at) AS oldest_at FROM {schema}.instances
    WHERE status = 'ready' AND fair_key IS NULL GROUP BY queue
    UNION ALL
    SELECT queue, count(*), min(due_at) FROM {schema}.instances
    WHERE status = 'ready' AND fair_key IS NOT NULL GROUP BY queue
) AS r
GROUP BY r.queue;

-- name: queue_blocked
-- index: instances_blocked, instances_paused
SELECT b.queue, sum(b.count)::bigint, NULL::double precision
FROM (
    SELECT queue, count(*) AS count FROM {schema}.instances WHERE blocked_on IS NOT NULL AND status = 'blocked'
    GROUP BY queue
    UNION ALL
    SELECT queue, count(*) FROM {schema}.instances
    WHERE paused_at IS NOT NULL AND finished_at IS NULL AND blocked_on IS NULL AND status = 'blocked' GROUP BY queue
) AS b
GROUP BY b.queue;

-- name: queue_waiting
-- index: instances_waiting
SELECT queue, count(*), NULL::double precision FROM {schema}.instances WHERE status = 'waiting' AND finished_at IS NULL GROUP BY queue;

-- name: queue_running
-- index: instances_running
SELECT queue, count(*), NULL::double precision FROM {schema}.instances WHERE node IS NOT NULL AND status = 'running' GROUP BY queue;
