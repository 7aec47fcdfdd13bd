-- What an outcome changes beside its own row, in the same transaction.

-- name: lock_parents
-- takes: ids of children that this transaction has ended
-- gives: nothing of use; their parents, locked in one order
-- index: primary key
SELECT p.id FROM {schema}.instances AS p
WHERE p.id = ANY (ARRAY(SELECT c.parent FROM {schema}.instances AS c WHERE c.id = ANY (:ids::uuid[])))
ORDER BY p.id
FOR NO KEY UPDATE OF p;

-- name: lock_families
-- takes: ids of outcomes, and of the parents of those that they end
-- gives: nothing of use; all of them, locked in one order
-- index: primary key
SELECT i.id FROM {schema}.instances AS i WHERE i.id = ANY (:ids::uuid[])
ORDER BY i.id
FOR NO KEY UPDATE OF i;

-- name: lower
-- takes: ids of children that this transaction has ended, their parents locked; now or null
-- gives: queues of the parents that this wakes
-- index: primary key
-- Only the round that the parent waits for counts. One update for each parent, however many of its children ended.
UPDATE {schema}.instances AS p
SET pending = CASE WHEN p.pending > c.ended THEN p.pending - c.ended END,
    status = CASE WHEN p.pending > c.ended THEN p.status
        WHEN p.concurrency_key IS NULL AND p.rate_limit IS NULL AND p.paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_at = CASE WHEN p.pending > c.ended THEN p.due_at ELSE COALESCE(:now::timestamptz, now()) END,
    wake_at = CASE WHEN p.pending > c.ended THEN p.wake_at END
FROM (
    SELECT parent, round, count(*) AS ended FROM {schema}.instances
    WHERE id = ANY (:ids::uuid[]) GROUP BY parent, round
) AS c
WHERE p.id = ANY (ARRAY(SELECT k.parent FROM {schema}.instances AS k WHERE k.id = ANY (:ids)))
    AND p.id = c.parent AND p.spawns = c.round AND p.status = 'waiting' AND p.pending IS NOT NULL
RETURNING CASE WHEN p.pending IS NULL THEN p.queue END;

-- name: landed
-- takes: parents and their rounds as parallel arrays
-- gives: parent and count of the children of that round that were inserted
-- index: instances_child
SELECT c.parent::text, count(*) FROM {schema}.instances AS c
JOIN unnest(:ids::uuid[], :rounds::integer[]) AS o (id, round) ON c.parent = o.id AND c.round = o.round
WHERE c.parent = ANY (:ids)
GROUP BY c.parent;

-- name: open_round
-- takes: parents that this transaction has parked, as parallel arrays: ids, rounds, pending; now or null
-- gives: queues of those that wait for nobody
-- index: primary key
UPDATE {schema}.instances AS p
SET spawns = o.round, pending = NULLIF(o.pending, 0),
    status = CASE WHEN o.pending > 0 THEN 'waiting'
        WHEN p.concurrency_key IS NULL AND p.rate_limit IS NULL AND p.paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_at = CASE WHEN o.pending > 0 THEN p.due_at ELSE COALESCE(:now::timestamptz, now()) END,
    wake_at = CASE WHEN o.pending > 0 THEN p.wake_at END
FROM unnest(:ids::uuid[], :rounds::integer[], :pending::integer[]) AS o (id, round, pending)
WHERE p.id = ANY (:ids) AND p.id = o.id AND p.status = 'waiting'
RETURNING CASE WHEN p.pending IS NULL THEN p.queue END;

-- name: raise
-- takes: the id of a child that had ended and runs again
-- index: primary key
-- Its parent, where it still waits for that round, waits for it once more: else its second end would count for a sibling.
UPDATE {schema}.instances AS p SET pending = p.pending + 1
WHERE p.id = (SELECT c.parent FROM {schema}.instances AS c WHERE c.id = :id::uuid)
    AND p.spawns = (SELECT c.round FROM {schema}.instances AS c WHERE c.id = :id)
    AND p.status = 'waiting' AND p.pending IS NOT NULL;

-- name: find_callers
-- takes: ids of children that this transaction has ended
-- gives: child, parent, status, result, error, failed attempts and seconds that the last one took, of those that a workflow
-- has started, which has not ended
-- index: primary key
SELECT c.id::text, p.id::text, c.status, c.result, c.error, c.attempt,
    extract(epoch FROM c.finished_at - c.claimed_at)::double precision
FROM {schema}.instances AS c JOIN {schema}.instances AS p ON p.id = c.parent
WHERE c.id = ANY (:ids::uuid[]) AND p.step = 'workflow' AND p.finished_at IS NULL
    AND p.id = ANY (ARRAY(SELECT k.parent FROM {schema}.instances AS k WHERE k.id = ANY (:ids)));
