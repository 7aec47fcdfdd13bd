-- name: take
-- takes: queue; node, which must be in the table of nodes; known, an array of "program@version"; crashes_max; take_max;
-- grace_s; now or null
-- gives: the claims as they stand now, most urgent first, each with whether there are rows with a fair key, too; one row of
-- nulls and this when there is no claim
-- index: instances_ready, then the primary key; instances_fair
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
                AND EXISTS (SELECT 1 FROM {schema}.nodes WHERE nodes.id = :node)
                AND queue = :queue AND status = 'ready' AND fair_key IS NULL
                AND program || '@' || version = ANY (:known::text[])
                AND crashes <= :crashes_max::integer
            ORDER BY priority, due_at, id
            LIMIT :take_max::bigint
            FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING id, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
        spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent, due_at
)
SELECT id::text, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
    spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent::text, fair.there
FROM (
    SELECT EXISTS (
        SELECT 1 FROM {schema}.instances AS f
        WHERE f.queue = :queue AND f.status = 'ready' AND f.fair_key IS NOT NULL
    ) AS there
) AS fair
LEFT JOIN taken ON true
ORDER BY priority, due_at, taken.id;

-- name: take_fair
-- takes: as take; after, the fair key to go on behind
-- gives: claims as they stand now, the keys in turns, each with its fair key
-- index: instances_fair, then the primary key
-- Looks at as many keys as it may claim rows, and of each at no more rows than its share, and as many again.
WITH RECURSIVE ahead AS (
    (SELECT fair_key, 1 AS place FROM {schema}.instances
        WHERE queue = :queue AND status = 'ready' AND fair_key IS NOT NULL AND fair_key > :after::text
            AND NOT EXISTS (SELECT 1 FROM {schema}.queues WHERE name = :queue)
            AND EXISTS (SELECT 1 FROM {schema}.nodes WHERE nodes.id = :node)
        ORDER BY fair_key LIMIT 1)
    UNION ALL
    SELECT n.fair_key, a.place + 1 FROM ahead AS a CROSS JOIN LATERAL (
        SELECT i.fair_key FROM {schema}.instances AS i
        WHERE i.queue = :queue AND i.status = 'ready' AND i.fair_key IS NOT NULL AND i.fair_key > a.fair_key
        ORDER BY i.fair_key LIMIT 1
    ) AS n
    WHERE a.place < :take_max::bigint
), behind AS (
    (SELECT fair_key, 1 AS place FROM {schema}.instances
        WHERE queue = :queue AND status = 'ready' AND fair_key IS NOT NULL AND fair_key <= :after
            AND NOT EXISTS (SELECT 1 FROM {schema}.queues WHERE name = :queue)
            AND EXISTS (SELECT 1 FROM {schema}.nodes WHERE nodes.id = :node)
        ORDER BY fair_key LIMIT 1)
    UNION ALL
    SELECT n.fair_key, b.place + 1 FROM behind AS b CROSS JOIN LATERAL (
        SELECT i.fair_key FROM {schema}.instances AS i
        WHERE i.queue = :queue AND i.status = 'ready' AND i.fair_key IS NOT NULL AND i.fair_key > b.fair_key
            AND i.fair_key <= :after
        ORDER BY i.fair_key LIMIT 1
    ) AS n
    WHERE b.place < :take_max
), tenant AS (
    SELECT fair_key, row_number() OVER (ORDER BY turn, place) AS turn
    FROM (SELECT fair_key, 0 AS turn, place FROM ahead UNION ALL SELECT fair_key, 1, place FROM behind) AS t
    ORDER BY turn LIMIT :take_max
), chosen AS (
    SELECT c.id, t.turn, c.place / c.fair_weight AS share
    FROM tenant AS t CROSS JOIN LATERAL (
        SELECT i.id, i.fair_weight, row_number() OVER (ORDER BY i.priority, i.due_at, i.id) AS place
        FROM {schema}.instances AS i
        WHERE i.queue = :queue AND i.status = 'ready' AND i.fair_key IS NOT NULL AND i.fair_key = t.fair_key
            AND i.program || '@' || i.version = ANY (:known::text[]) AND i.crashes <= :crashes_max::integer
        ORDER BY i.priority, i.due_at, i.id
        LIMIT 1 + 2 * :take_max / (SELECT count(*) FROM tenant)
    ) AS c
    ORDER BY share, t.turn LIMIT :take_max
), locked AS (
    SELECT i.id FROM {schema}.instances AS i
    WHERE i.id = ANY (ARRAY(SELECT chosen.id FROM chosen)) AND i.status = 'ready'
    FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE {schema}.instances
    SET status = 'running', epoch = epoch + 1, node = :node, claimed_at = COALESCE(:now::timestamptz, now()),
        deadline_at = COALESCE(:now, now()) + (timeout_s + :grace_s) * interval '1 second'
    WHERE id = ANY (ARRAY(SELECT locked.id FROM locked)) AND status = 'ready'
    RETURNING id, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
        spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent, fair_key
)
SELECT taken.id::text, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
    spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent::text, fair_key
FROM taken JOIN chosen ON chosen.id = taken.id ORDER BY chosen.share, chosen.turn;

-- name: commit
-- takes: settlements as parallel arrays, the first three as texts, sorted by id so that two batches lock rows in one order;
-- now or null
-- gives: the count of rows changed; fewer than the batch means that some claims were lost (see settled)
-- index: primary key
UPDATE {schema}.instances AS i
SET status = CASE WHEN o.status = 'ready' AND i.paused_at IS NOT NULL THEN 'scheduled' ELSE o.status END,
    attempt = o.attempt, result = o.result, error = COALESCE(o.error, i.error), node = NULL, slot = NULL,
    awaits = CASE WHEN o.status IN ('ready', 'scheduled', 'quarantined') THEN i.awaits END,
    deadline_at = NULL, commit_epoch = i.epoch, commits = i.commits + 1,
    due_at = CASE WHEN o.delay_s IS NULL THEN i.due_at
        ELSE COALESCE(:now::timestamptz, now()) + o.delay_s * interval '1 second' END,
    finished_at = CASE WHEN o.status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN COALESCE(:now, now()) END,
    paused_at = CASE WHEN o.status NOT IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN i.paused_at END,
    expires_at = COALESCE(:now, now()) + o.retention_s * interval '1 second'
FROM unnest(:ids::text::uuid[], :epochs::text::bigint[], :commits::text::bigint[], :statuses::text[],
        :attempts::integer[], :results::text[], :errors::text[], :delays_s::double precision[],
        :retentions_s::double precision[])
    AS o (id, epoch, commits, status, attempt, result, error, delay_s, retention_s)
WHERE i.id = ANY (:ids::text::uuid[]) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'
    AND (o.commits IS NULL OR i.commits = o.commits);

-- name: commit_full
-- As commit, for outcomes that write more than most jobs do.
-- takes: settlements as parallel arrays, sorted by id so that two batches lock rows in one order; now or null; held,
-- whether claims that are kept are written where their instance is paused: without, the count tells that there are such
-- gives: the count of rows changed; fewer than the batch means that some claims were lost (see settled)
-- index: primary key
UPDATE {schema}.instances AS i
SET status = CASE WHEN o.status = 'ready' AND i.paused_at IS NOT NULL THEN 'scheduled' ELSE o.status END,
    attempt = o.attempt, result = o.result, error = COALESCE(o.error, i.error),
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
    paused_at = CASE WHEN o.status NOT IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN i.paused_at END,
    expires_at = COALESCE(:now, now()) + o.retention_s * interval '1 second'
FROM unnest(:ids::uuid[], :epochs::bigint[], :statuses::text[], :attempts::integer[], :results::text[],
        :errors::text[], :delays_s::double precision[], :retentions_s::double precision[],
        :steps::text[], :states::text[], :versions::integer[], :deadlines_s::double precision[], :commits::bigint[],
        :awaits::text[], :wakes_s::double precision[], :concurrency_keys::text[], :rate_limits::text[],
        :rate_weights::double precision[])
    AS o (id, epoch, status, attempt, result, error, delay_s, retention_s, step, state, version, deadline_s, commits,
        awaits, wake_s, concurrency_key, rate_limit, rate_weight)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'
    AND (o.commits IS NULL OR i.commits = o.commits)
    AND (o.status <> 'running' OR i.paused_at IS NULL OR :held::boolean);

-- name: commit_recorded
-- As commit, for claims that have recorded something and go on.
-- takes: ids, epochs and commits as texts of parallel arrays, sorted by id; their rows are locked; held as for commit_full
-- gives: the count of rows changed, as commit
-- index: primary key
UPDATE {schema}.instances AS i
SET awaits = NULL, wake_at = NULL, deadline_at = NULL, commit_epoch = i.epoch, commits = i.commits + 1
FROM unnest(:ids::text::uuid[], :epochs::text::bigint[], :commits::text::bigint[]) AS o (id, epoch, commits)
WHERE i.id = ANY (:ids::text::uuid[]) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running' AND i.commits = o.commits
    AND (i.paused_at IS NULL OR :held::boolean);

-- name: commit_and_record
-- As commit, for claims that have recorded something, and end or go on. In one statement, which holds no lock while the
-- process prepares the next one.
-- takes: settlements as parallel arrays, sorted by id, the first three as texts; entries as record takes them; held as for
-- commit_full; now or null
-- gives: the count of rows changed, as commit
-- index: primary key, the journal's own key
WITH written AS (
    UPDATE {schema}.instances AS i
    SET status = CASE WHEN o.status = 'ready' AND i.paused_at IS NOT NULL THEN 'scheduled' ELSE o.status END,
        attempt = o.attempt, result = o.result, error = COALESCE(o.error, i.error),
        node = CASE WHEN o.status = 'running' THEN i.node END, slot = CASE WHEN o.status = 'running' THEN i.slot END,
        awaits = CASE WHEN o.status IN ('ready', 'scheduled', 'quarantined') THEN i.awaits END, wake_at = NULL,
        deadline_at = NULL, commit_epoch = i.epoch, commits = i.commits + 1,
        due_at = CASE WHEN o.delay_s IS NULL THEN i.due_at
            ELSE COALESCE(:now::timestamptz, now()) + o.delay_s * interval '1 second' END,
        finished_at = CASE WHEN o.status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
            THEN COALESCE(:now, now()) END,
        paused_at = CASE WHEN o.status NOT IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
            THEN i.paused_at END,
        expires_at = COALESCE(:now, now()) + o.retention_s * interval '1 second'
    FROM unnest(:ids::text::uuid[], :epochs::text::bigint[], :commits::text::bigint[], :statuses::text[],
            :attempts::integer[], :results::text[], :errors::text[], :delays_s::double precision[],
            :retentions_s::double precision[])
        AS o (id, epoch, commits, status, attempt, result, error, delay_s, retention_s)
    WHERE i.id = ANY (:ids::text::uuid[]) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'
        AND (o.commits IS NULL OR i.commits = o.commits)
        AND (o.status <> 'running' OR i.paused_at IS NULL OR :held::boolean)
    RETURNING i.id
), recorded AS (
    INSERT INTO {schema}.journal AS j
        (instance, key, kind, status, number, attempt, value, error, duration_s, wake_at, recorded_at)
    SELECT e.instance, e.key, e.kind, e.status, e.number, e.attempt, e.value, e.error, e.duration_s,
        COALESCE(:now, now()) + e.wake_s * interval '1 second', COALESCE(:now, now())
    FROM unnest(:instances::uuid[], :keys::text[], :kinds::text[], :entry_statuses::text[], :numbers::integer[],
            :entry_attempts::integer[], :values::text[], :entry_errors::text[], :durations_s::double precision[],
            :wakes_s::double precision[])
        AS e (instance, key, kind, status, number, attempt, value, error, duration_s, wake_s)
    JOIN written AS w ON w.id = e.instance
    ON CONFLICT (instance, key) DO UPDATE
    SET status = EXCLUDED.status, number = EXCLUDED.number, attempt = EXCLUDED.attempt, value = EXCLUDED.value,
        error = EXCLUDED.error, duration_s = EXCLUDED.duration_s, wake_at = EXCLUDED.wake_at,
        recorded_at = EXCLUDED.recorded_at
    WHERE j.status <> 'done'
)
SELECT count(*) FROM written;

-- name: lock_ours
-- takes: ids, epochs and commits of a batch as texts of parallel arrays, sorted by id
-- gives: one array of the ids of those whose claim is ours, locked: what commit will write in the same transaction, and
-- nobody has before; null: there are none
-- index: primary key
SELECT array_agg(l.id::text)
FROM (
    SELECT i.id
    FROM unnest(:ids::text::uuid[], :epochs::text::bigint[], :commits::text::bigint[]) AS o (id, epoch, commits)
    JOIN {schema}.instances AS i ON i.id = o.id AND i.id = ANY (:ids::text::uuid[]) AND i.epoch = o.epoch
        AND i.status = 'running' AND (o.commits IS NULL OR i.commits = o.commits)
    ORDER BY i.id
    FOR NO KEY UPDATE OF i
) AS l;

-- name: settled
-- takes: ids, epochs and commits of a batch as texts of parallel arrays, sorted by id
-- gives: ids of the batch whose last written outcome is this very claim's: written now, or by an earlier try; and whether
-- each is paused
-- index: primary key
SELECT i.id::text, i.paused_at IS NOT NULL
FROM unnest(:ids::text::uuid[], :epochs::text::bigint[], :commits::text::bigint[]) AS o (id, epoch, commits)
JOIN {schema}.instances AS i ON i.id = o.id
WHERE i.id = ANY (:ids::text::uuid[]) AND i.commit_epoch = o.epoch AND (o.commits IS NULL OR i.commits = o.commits + 1);

-- name: release
-- takes: claims as parallel arrays, sorted by id
-- index: primary key
-- What has a limit goes back to the timekeeper, which admits such rows.
UPDATE {schema}.instances AS i
SET status = CASE WHEN i.concurrency_key IS NULL AND i.rate_limit IS NULL AND i.paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
    node = NULL, slot = NULL, deadline_at = NULL
FROM unnest(:ids::uuid[], :epochs::bigint[]) AS o (id, epoch)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running';

-- name: owned
-- gives: id, epoch, and whether it is paused
-- index: instances_running
SELECT id::text, epoch, paused_at IS NOT NULL FROM {schema}.instances WHERE node = :node AND status = 'running';

-- name: report
-- takes: reports as parallel arrays, sorted by id
-- Who has parked meanwhile has said it all the same, as long as nobody has claimed it since.
-- index: primary key
UPDATE {schema}.instances AS i SET progress = o.fraction, progress_note = o.note
FROM unnest(:ids::uuid[], :epochs::bigint[], :fractions::double precision[], :notes::text[])
    AS o (id, epoch, fraction, note)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch
    AND (i.status = 'running' OR i.status = 'waiting');
