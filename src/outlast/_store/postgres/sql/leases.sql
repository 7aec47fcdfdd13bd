-- name: register
INSERT INTO {schema}.nodes (id, host, pid, lease_s, started_at, renewed_at)
VALUES (:node, :host, :pid, :lease_s, COALESCE(:now::timestamptz, now()), COALESCE(:now, now()))
ON CONFLICT DO NOTHING;

-- name: renew
UPDATE {schema}.nodes SET beat = beat + 1, renewed_at = COALESCE(:now::timestamptz, now()) WHERE id = :node;

-- name: beats
SELECT id, beat, lease_s FROM {schema}.nodes;

-- name: bury
DELETE FROM {schema}.nodes WHERE id = :node AND beat = :beat;

-- name: retire
DELETE FROM {schema}.nodes WHERE id = :node;

-- name: reclaim
-- takes: reclaim_max; max_crashes; overdue, whether to look at deadlines; error for those that crash out; now or null
-- gives: queue, status after, count
-- index: instances_running, then the primary key
-- why it differs: one statement finds, locks and moves. A row that somebody is writing is skipped: whoever writes it
-- lives, or the next round finds it. As nothing waits, the order of locking does not matter.
WITH lost AS (
    SELECT i.id, i.epoch FROM {schema}.instances AS i
    WHERE i.node IS NOT NULL AND i.status = 'running' AND ((:overdue::boolean AND i.deadline_at < COALESCE(:now::timestamptz, now()))
        OR NOT EXISTS (SELECT 1 FROM {schema}.nodes AS n WHERE n.id = i.node))
    LIMIT :reclaim_max::bigint
    FOR NO KEY UPDATE OF i SKIP LOCKED
), moved AS (
    UPDATE {schema}.instances AS i
    SET status = CASE WHEN i.crashes + 1 >= :max_crashes::integer THEN 'quarantined'
        WHEN i.concurrency_key IS NULL AND i.rate_limit IS NULL AND i.paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
        crashes = i.crashes + 1, node = NULL, slot = NULL, deadline_at = NULL,
        error = CASE WHEN i.crashes + 1 >= :max_crashes THEN :error::text ELSE i.error END
    FROM lost
    WHERE i.id = ANY (ARRAY(SELECT lost.id FROM lost)) AND i.id = lost.id AND i.epoch = lost.epoch
        AND i.status = 'running'
    RETURNING i.queue, i.status
)
SELECT queue, status, count(*) FROM moved GROUP BY queue, status ORDER BY queue, status;

-- name: nodes
-- index: instances_running
SELECT n.id, n.host, n.pid, n.started_at, n.renewed_at, n.lease_s,
    (SELECT count(*) FROM {schema}.instances AS i WHERE i.node = n.id AND i.status = 'running')
FROM {schema}.nodes AS n ORDER BY n.started_at;
