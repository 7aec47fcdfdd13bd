-- name: promote
-- takes: promote_max; now or null
-- gives: queues that received work, gates at which others wait now, how many instances were promoted, seconds until the
-- next one has waited long enough, until the next rate limit is looked at, and until the next one is due (or null)
-- index: instances_due, instances_wake, buckets_wake, then the primary key
-- why it differs: one statement finds, moves and looks ahead. What another node is promoting at this moment is skipped,
-- and counts as done in the look ahead, since it is due no later than now. What is paused is blocked on no gate: nobody
-- but its resume lets it go on.
WITH due AS (
    SELECT id FROM {schema}.instances
    WHERE status = 'scheduled' AND due_at <= COALESCE(:now::timestamptz, now())
    ORDER BY due_at
    LIMIT :promote_max::bigint
    FOR NO KEY UPDATE SKIP LOCKED
), promoted AS (
    UPDATE {schema}.instances
    SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_at IS NULL THEN 'ready'
            ELSE 'blocked' END,
        blocked_on = CASE WHEN paused_at IS NULL THEN COALESCE('r:' || rate_limit, 'k:' || concurrency_key) END
    WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING queue, blocked_on, status
)
SELECT (SELECT array_agg(DISTINCT queue ORDER BY queue) FROM promoted WHERE status = 'ready'),
    (SELECT array_agg(DISTINCT blocked_on) FROM promoted WHERE blocked_on IS NOT NULL),
    (SELECT count(*) FROM promoted),
    (SELECT extract(epoch FROM min(wake_at) - COALESCE(:now, now()))::double precision FROM {schema}.instances
        WHERE wake_at IS NOT NULL),
    (SELECT extract(epoch FROM min(wake_at) - COALESCE(:now, now()))::double precision FROM {schema}.buckets
        WHERE wake_at IS NOT NULL),
    (SELECT extract(epoch FROM due_at - COALESCE(:now, now()))::double precision FROM {schema}.instances
        WHERE status = 'scheduled' AND id NOT IN (SELECT id FROM due)
            AND (due_at > COALESCE(:now, now()) OR (SELECT count(*) FROM due) >= :promote_max)
        ORDER BY due_at LIMIT 1);

-- name: wake_late
-- takes: wake_max; now or null
-- gives: queues of instances that have waited long enough, and are ready now
-- index: instances_wake, then the primary key
UPDATE {schema}.instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_at = COALESCE(:now::timestamptz, now()), wake_at = NULL, pending = NULL
WHERE id = ANY (ARRAY(
        SELECT id FROM {schema}.instances
        WHERE wake_at IS NOT NULL AND wake_at <= COALESCE(:now, now())
        ORDER BY wake_at
        LIMIT :wake_max::bigint
        FOR NO KEY UPDATE SKIP LOCKED))
    AND status = 'waiting'
RETURNING queue;

-- name: hurry
-- takes: ids; now or null
-- index: primary key
UPDATE {schema}.instances
SET due_at = CASE WHEN status = 'scheduled' THEN least(due_at, COALESCE(:now::timestamptz, now())) ELSE due_at END,
    wake_at = CASE WHEN wake_at IS NULL THEN NULL ELSE least(wake_at, COALESCE(:now, now())) END
WHERE id = ANY (:ids::uuid[]) AND status IN ('scheduled', 'waiting');
