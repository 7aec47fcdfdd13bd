-- What an outcome changes beside its own row, in the same transaction.

-- name: find_lowered
-- takes: ids, a JSON array of children that this transaction has ended
-- gives: one JSON array of [parent, children still pending, queue] of the parents that wait for their round
-- index: primary key
-- One entry for each parent, however many of its children ended.
SELECT json_group_array(json_array(p.id, MAX(p.pending - c.ended, 0), p.queue))
FROM (
    SELECT parent, round, count(*) AS ended FROM {schema}_instances
    WHERE id IN (SELECT value FROM json_each(:ids)) AND parent IS NOT NULL GROUP BY parent, round
) AS c
JOIN {schema}_instances AS p ON p.id = c.parent
WHERE p.spawns = c.round AND p.status = 'waiting' AND p.pending IS NOT NULL;

-- name: lower
-- takes: parents, a JSON array of [id, children still pending]; now_us
-- index: primary key
UPDATE {schema}_instances
SET pending = NULLIF(o.pending, 0),
    status = CASE WHEN o.pending > 0 THEN 'waiting'
        WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_us = CASE WHEN o.pending > 0 THEN due_us ELSE :now_us END, wake_us = CASE WHEN o.pending > 0 THEN wake_us END
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS pending FROM json_each(:parents)) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.status = 'waiting';

-- name: landed
-- takes: rounds, a JSON array of [parent, round]
-- gives: one JSON array of [parent, count of the children of that round that were inserted]
-- index: instances_child
SELECT json_group_array(json_array(json_extract(o.value, '$[0]'),
    (SELECT count(*) FROM {schema}_instances AS c
        WHERE c.parent = json_extract(o.value, '$[0]') AND c.round = json_extract(o.value, '$[1]'))))
FROM json_each(:rounds) AS o;

-- name: open_round
-- takes: parents that this transaction has parked, a JSON array of [id, round, how many children must end]; now_us
-- index: primary key
UPDATE {schema}_instances
SET spawns = o.round, pending = NULLIF(o.pending, 0),
    status = CASE WHEN o.pending > 0 THEN 'waiting'
        WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_us = CASE WHEN o.pending > 0 THEN due_us ELSE :now_us END, wake_us = CASE WHEN o.pending > 0 THEN wake_us END
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS round,
        json_extract(value, '$[2]') AS pending
    FROM json_each(:parents)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.status = 'waiting';

-- name: raise
-- takes: the id of a child that had ended and runs again
-- index: primary key
-- Its parent, where it still waits for that round, waits for it once more: else its second end would count for a sibling.
UPDATE {schema}_instances SET pending = pending + 1
WHERE id = (SELECT parent FROM {schema}_instances WHERE id = :id)
    AND spawns = (SELECT round FROM {schema}_instances WHERE id = :id) AND status = 'waiting' AND pending IS NOT NULL;

-- name: find_callers
-- takes: ids, a JSON array of children that this transaction has ended
-- gives: child, parent, status, result, error, failed attempts and seconds that the last one took, of those that a workflow
-- has started, which has not ended
-- index: primary key
SELECT c.id, p.id, c.status, c.result, c.error, c.attempt, (c.finished_us - c.claimed_us) / 1000000.0
FROM {schema}_instances AS c JOIN {schema}_instances AS p ON p.id = c.parent
WHERE c.id IN (SELECT value FROM json_each(:ids)) AND p.step = 'workflow' AND p.finished_us IS NULL;
