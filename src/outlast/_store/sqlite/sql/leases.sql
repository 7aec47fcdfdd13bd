-- name: register
INSERT INTO {schema}_nodes (id, host, pid, lease_s, started_us, renewed_us)
VALUES (:node, :host, :pid, :lease_s, :now_us, :now_us)
ON CONFLICT DO NOTHING;

-- name: renew
UPDATE {schema}_nodes SET beat = beat + 1, renewed_us = :now_us WHERE id = :node;

-- name: beats
SELECT id, beat, lease_s FROM {schema}_nodes;

-- name: bury
DELETE FROM {schema}_nodes WHERE id = :node AND beat = :beat;

-- name: retire
DELETE FROM {schema}_nodes WHERE id = :node;

-- name: find_lost
-- gives: one JSON array of [id, epoch, queue, crashes]
-- index: instances_running
SELECT json_group_array(json_array(id, epoch, queue, crashes))
FROM (
    SELECT id, epoch, queue, crashes FROM {schema}_instances AS i
    WHERE i.status = 'running' AND ((:overdue AND i.deadline_us < :now_us) OR NOT EXISTS (SELECT 1 FROM {schema}_nodes WHERE {schema}_nodes.id = i.node))
    LIMIT :limit
);

-- name: reclaim
-- takes: lost, as given by find_lost in the same transaction; max_crashes; error for those that crash out
-- index: primary key
UPDATE {schema}_instances
SET status = CASE WHEN crashes + 1 >= :max_crashes THEN 'quarantined'
        WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END, crashes = crashes + 1,
    node = NULL, slot = NULL, deadline_us = NULL, error = CASE WHEN crashes + 1 >= :max_crashes THEN :error ELSE error END
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch FROM json_each(:lost)) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running';

-- name: nodes
-- index: instances_running
SELECT n.id, n.host, n.pid, n.started_us, n.renewed_us, n.lease_s,
    (SELECT count(*) FROM {schema}_instances AS i WHERE i.status = 'running' AND i.node = n.id)
FROM {schema}_nodes AS n ORDER BY n.started_us;
