-- name: take
-- takes: queue; node; known, an array of "program@version"; crashes_max; take_max; grace_s; now or null
-- gives: the claims as they stand now, most urgent first
-- index: instances_ready, then the primary key
-- why it differs: rows are locked one by one, so several nodes claim from one queue at once; each skips what another
-- has locked. The ids go through an array because a join with the same sub-select is planned as a scan of the table;
-- they are locked and ready by then, and to say so again would invite a scan of the whole index of ready ones.
WITH taken AS (
    UPDATE {schema}.instances
    SET status = 'running', epoch = epoch + 1, node = :node, claimed_at = COALESCE(:now::timestamptz, now()),
        deadline_at = COALESCE(:now, now()) + (timeout_s + :grace_s) * interval '1 second'
    WHERE id = ANY (ARRAY(
            SELECT id FROM {schema}.instances
            WHERE NOT EXISTS (SELECT 1 FROM {schema}.queues WHERE name = :queue)
                AND queue = :queue AND status = 'ready' AND program || '@' || version = ANY (:known::text[])
                AND crashes <= :crashes_max::integer
            ORDER BY priority, due_at, id
            LIMIT :take_max::bigint
            FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING id, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
        spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent, due_at
)
SELECT id::text, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
    spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent::text
FROM taken ORDER BY priority, due_at, taken.id;

-- name: commit
-- takes: settlements as parallel arrays, sorted by id so that two batches lock rows in one order; now or null
-- gives: the count of rows changed; fewer than the batch means that some claims were lost (see settled)
-- index: primary key
UPDATE {schema}.instances AS i
SET status = o.status, attempt = o.attempt, result = o.result, error = COALESCE(o.error, i.error),
    node = CASE WHEN o.status = 'running' THEN i.node END, slot = CASE WHEN o.status = 'running' THEN i.slot END,
    awaits = CASE WHEN o.status = 'waiting' THEN o.awaits
        WHEN o.step IS NULL AND o.status IN ('ready', 'scheduled', 'quarantined') THEN i.awaits END,
    wake_at = COALESCE(:now, now()) + o.wake_s * interval '1 second',
    concurrency_key = NULLIF(COALESCE(o.concurrency_key, i.concurrency_key), ''),
    rate_limit = NULLIF(COALESCE(o.rate_limit, i.rate_limit), ''),
    rate_weight = COALESCE(o.rate_weight, i.rate_weight),
    deadline_at = COALESCE(:now::timestamptz, now()) + o.deadline_s * interval '1 second', commit_epoch = i.epoch,
    commits = i.commits + 1, step = COALESCE(o.step, i.step), state = COALESCE(o.state, i.state),
    version = COALESCE(o.version, i.version),
    due_at = CASE WHEN o.delay_s IS NULL THEN i.due_at
        ELSE COALESCE(:now, now()) + o.delay_s * interval '1 second' END,
    finished_at = CASE WHEN o.status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN COALESCE(:now, now()) END,
    expires_at = COALESCE(:now, now()) + o.retention_s * interval '1 second'
FROM unnest(:ids::uuid[], :epochs::bigint[], :statuses::text[], :attempts::integer[], :results::text[],
        :errors::text[], :delays_s::double precision[], :retentions_s::double precision[],
        :steps::text[], :states::text[], :versions::integer[], :deadlines_s::double precision[], :commits::bigint[],
        :awaits::text[], :wakes_s::double precision[], :concurrency_keys::text[], :rate_limits::text[],
        :rate_weights::double precision[])
    AS o (id, epoch, status, attempt, result, error, delay_s, retention_s, step, state, version, deadline_s, commits,
        awaits, wake_s, concurrency_key, rate_limit, rate_weight)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'
    AND (o.commits IS NULL OR i.commits = o.commits);

-- name: lock_ours
-- takes: ids, epochs and commits of a batch as for commit
-- gives: ids of those whose claim is ours, locked: what commit will write in the same transaction, and nobody has before
-- index: primary key
SELECT i.id::text FROM unnest(:ids::uuid[], :epochs::bigint[], :commits::bigint[]) AS o (id, epoch, commits)
JOIN {schema}.instances AS i ON i.id = o.id AND i.id = ANY (:ids) AND i.epoch = o.epoch AND i.status = 'running'
    AND (o.commits IS NULL OR i.commits = o.commits)
ORDER BY i.id
FOR NO KEY UPDATE OF i;

-- name: settled
-- takes: ids, epochs and commits of a batch as for commit
-- gives: ids of the batch whose last written outcome is this very claim's: written now, or by an earlier try
-- index: primary key
SELECT i.id::text FROM unnest(:ids::uuid[], :epochs::bigint[], :commits::bigint[]) AS o (id, epoch, commits)
JOIN {schema}.instances AS i ON i.id = o.id
WHERE i.id = ANY (:ids) AND i.commit_epoch = o.epoch AND (o.commits IS NULL OR i.commits = o.commits + 1);

-- name: release
-- takes: claims as parallel arrays, sorted by id
-- index: primary key
-- What has a limit goes back to the timekeeper, which admits such rows.
UPDATE {schema}.instances AS i
SET status = CASE WHEN i.concurrency_key IS NULL AND i.rate_limit IS NULL THEN 'ready' ELSE 'scheduled' END,
    node = NULL, slot = NULL, deadline_at = NULL
FROM unnest(:ids::uuid[], :epochs::bigint[]) AS o (id, epoch)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running';

-- name: owned
-- index: instances_running
SELECT id::text, epoch FROM {schema}.instances WHERE node = :node AND status = 'running';

-- name: report
-- takes: reports as parallel arrays, sorted by id
-- index: primary key
UPDATE {schema}.instances AS i SET progress = o.fraction, progress_note = o.note
FROM unnest(:ids::uuid[], :epochs::bigint[], :fractions::double precision[], :notes::text[])
    AS o (id, epoch, fraction, note)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running';
