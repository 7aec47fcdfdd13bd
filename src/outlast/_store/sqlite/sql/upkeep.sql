-- name: find_expired
-- gives: one JSON array of ids
-- index: instances_expired
SELECT json_group_array(id)
FROM (SELECT id FROM {schema}_instances WHERE expires_us <= :now_us AND expires_us IS NOT NULL ORDER BY expires_us LIMIT :limit);

-- name: prune
-- takes: ids, as given by find_expired in the same transaction
DELETE FROM {schema}_instances WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_us IS NOT NULL;

-- name: stuck_quarantined
-- index: instances_quarantined
SELECT count(*) FROM {schema}_instances WHERE status = 'quarantined';

-- name: ready_programs
-- gives: programs with ready instances, how many, and the oldest due time
-- index: instances_ready
SELECT program, version, queue, count(*), min(due_us) FROM {schema}_instances WHERE status = 'ready'
GROUP BY program, version, queue;

-- name: next_future
SELECT count(*) FROM {schema}_instances WHERE status = 'scheduled' AND due_us < :now_us - 60000000;

-- name: ownerless
-- index: instances_running
SELECT count(*) FROM {schema}_instances AS i
WHERE i.status = 'running' AND NOT EXISTS (SELECT 1 FROM {schema}_nodes WHERE {schema}_nodes.id = i.node);
