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
-- index: instances_ready
SELECT queue, count(*), min(due_us) FROM {schema}_instances WHERE status = 'ready' GROUP BY queue;

-- name: queue_running
-- index: instances_running
SELECT queue, count(*), NULL FROM {schema}_instances WHERE status = 'running' GROUP BY queue;
