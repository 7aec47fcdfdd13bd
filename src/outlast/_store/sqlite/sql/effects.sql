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
WHERE p.round = c.round AND p.status = 'waiting' AND p.pending IS NOT NULL;

-- name: lower
-- takes: parents, a JSON array of [id, children still pending]; now_us
-- index: primary key
UPDATE {schema}_instances
SET pending = NULLIF(o.pending, 0),
    status = CASE WHEN o.pending > 0 THEN 'waiting'
        WHEN concurrency_key IS NULL AND rate_limit IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_us = CASE WHEN o.pending > 0 THEN due_us ELSE :now_us END, wake_us = CASE WHEN o.pending > 0 THEN wake_us END
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS pending FROM json_each(:parents)) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.status = 'waiting';

-- name: open_round
-- takes: id; round; pending, how many children must end; now_us
-- index: primary key
UPDATE {schema}_instances
SET round = :round, pending = NULLIF(:pending, 0),
    status = CASE WHEN :pending > 0 THEN 'waiting'
        WHEN concurrency_key IS NULL AND rate_limit IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_us = CASE WHEN :pending > 0 THEN due_us ELSE :now_us END, wake_us = CASE WHEN :pending > 0 THEN wake_us END
WHERE id = :id AND status = 'waiting';
