-- name: pause
INSERT INTO {schema}_queues (name, paused_us) VALUES (:name, :now_us) ON CONFLICT DO NOTHING;

-- name: resume
DELETE FROM {schema}_queues WHERE name = :name;

-- name: paused
SELECT name, paused_us FROM {schema}_queues;

-- name: queue_scheduled
-- index: instances_due
SELECT queue, count(*), NULL FROM {schema}_instances WHERE status = 'scheduled' GROUP BY queue;

-- name: queue_ready
-- index: instances_ready, instances_fair
SELECT queue, sum(count), min(oldest_us) FROM (
    SELECT queue, count(*) AS count, min(due_us) AS oldest_us FROM {schema}_instances
    WHERE status = 'ready' AND fair_key IS NULL GROUP BY queue
    UNION ALL
    SELECT queue, count(*), min(due_us) FROM {schema}_instances
    WHERE status = 'ready' AND fair_key IS NOT NULL GROUP BY queue
)
GROUP BY queue;

-- name: queue_blocked
-- index: instances_blocked, instances_paused
SELECT queue, sum(count), NULL FROM (
    SELECT queue, count(*) AS count FROM {schema}_instances WHERE blocked_on IS NOT NULL AND status = 'blocked'
    GROUP BY queue
    UNION ALL
    SELECT queue, count(*) FROM {schema}_instances
    WHERE paused_us IS NOT NULL AND finished_us IS NULL AND blocked_on IS NULL AND status = 'blocked' GROUP BY queue
)
GROUP BY queue;

-- name: queue_waiting
-- index: instances_waiting
SELECT queue, count(*), NULL FROM {schema}_instances WHERE status = 'waiting' AND finished_us IS NULL GROUP BY queue;

-- name: queue_running
-- index: instances_running
SELECT queue, count(*), NULL FROM {schema}_instances WHERE status = 'running' GROUP BY queue;
