-- name: promote
-- takes: promote_max; now or null
-- gives: queues that received work, how many instances were promoted, seconds until the next one is due (or null)
-- index: instances_due, then the primary key
-- why it differs: one statement finds, moves and looks ahead. What another node is promoting at this moment is skipped,
-- and counts as done in the look ahead, since it is due no later than now.
WITH due AS (
    SELECT id FROM {schema}.instances
    WHERE status = 'scheduled' AND due_at <= COALESCE(:now::timestamptz, now())
    ORDER BY due_at
    LIMIT :promote_max::bigint
    FOR NO KEY UPDATE SKIP LOCKED
), promoted AS (
    UPDATE {schema}.instances SET status = 'ready'
    WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING queue
)
SELECT (SELECT array_agg(DISTINCT queue ORDER BY queue) FROM promoted),
    (SELECT count(*) FROM promoted),
    (SELECT extract(epoch FROM due_at - COALESCE(:now, now()))::double precision FROM {schema}.instances
        WHERE status = 'scheduled' AND id NOT IN (SELECT id FROM due)
            AND (due_at > COALESCE(:now, now()) OR (SELECT count(*) FROM due) >= :promote_max)
        ORDER BY due_at LIMIT 1);
