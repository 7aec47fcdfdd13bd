-- name: find_due
-- gives: one JSON array of [id, queue]
-- index: instances_due
SELECT json_group_array(json_array(id, queue))
FROM (SELECT id, queue FROM {schema}_instances WHERE status = 'scheduled' AND due_us <= :now_us ORDER BY due_us LIMIT :limit);

-- name: promote
-- takes: due, as given by find_due in the same transaction
UPDATE {schema}_instances SET status = 'ready'
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:due)) AND status = 'scheduled';

-- name: next_due
-- index: instances_due
SELECT min(due_us) FROM {schema}_instances WHERE status = 'scheduled';
