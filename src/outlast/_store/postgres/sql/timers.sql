-- name: promote
-- takes: promote_max; now or null
-- gives: queues that received work, how many instances were promoted, how many of them had waited for a signal or for
-- children, seconds until the next one is due (or null)
-- index: instances_due, instances_wake, then the primary key
-- why it differs: one statement finds, moves and looks ahead. What another node is promoting at this moment is skipped,
-- and counts as done in the look ahead, since it is due no later than now.
WITH due AS (
    SELECT id FROM {schema}.instances
    WHERE status = 'scheduled' AND due_at <= COALESCE(:now::timestamptz, now())
    ORDER BY due_at
    LIMIT :promote_max::bigint
    FOR NO KEY UPDATE SKIP LOCKED
), late AS (
    SELECT id FROM {schema}.instances
    WHERE wake_at IS NOT NULL AND wake_at <= COALESCE(:now, now()) AND status = 'waiting'
    ORDER BY wake_at
    LIMIT :promote_max
    FOR NO KEY UPDATE SKIP LOCKED
), promoted AS (
    UPDATE {schema}.instances SET status = 'ready'
    WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING queue
), woken AS (
    UPDATE {schema}.instances
    SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL THEN 'ready' ELSE 'scheduled' END,
        due_at = COALESCE(:now, now()), wake_at = NULL, pending = NULL
    WHERE id = ANY (ARRAY(SELECT id FROM late))
    RETURNING queue
)
SELECT (SELECT array_agg(DISTINCT queue ORDER BY queue) FROM (SELECT queue FROM promoted UNION ALL SELECT queue FROM woken) AS q),
    (SELECT count(*) FROM promoted) + (SELECT count(*) FROM woken), (SELECT count(*) FROM woken),
    LEAST(
        (SELECT extract(epoch FROM due_at - COALESCE(:now, now()))::double precision FROM {schema}.instances
            WHERE status = 'scheduled' AND id NOT IN (SELECT id FROM due)
                AND (due_at > COALESCE(:now, now()) OR (SELECT count(*) FROM due) >= :promote_max)
            ORDER BY due_at LIMIT 1),
        (SELECT extract(epoch FROM wake_at - COALESCE(:now, now()))::double precision FROM {schema}.instances
            WHERE wake_at IS NOT NULL AND id NOT IN (SELECT id FROM late)
                AND (wake_at > COALESCE(:now, now()) OR (SELECT count(*) FROM late) >= :promote_max)
            ORDER BY wake_at LIMIT 1));
