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
-- index: instances_ready
SELECT queue, count(*), extract(epoch FROM COALESCE(:now::timestamptz, now()) - min(due_at))::double precision
FROM {schema}.instances WHERE status = 'ready' GROUP BY queue;

-- name: queue_running
-- index: instances_running
SELECT queue, count(*), NULL::double precision FROM {schema}.instances WHERE node IS NOT NULL AND status = 'running' GROUP BY queue;
