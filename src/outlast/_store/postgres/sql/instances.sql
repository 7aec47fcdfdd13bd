-- name: add
-- takes: rows as parallel arrays, sorted by correlation key so that two batches never wait for each other; now or null
-- gives: the count of rows added; a row whose id or correlation key is taken is left out
-- index: primary key, instances_key
INSERT INTO {schema}.instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_at, created_at)
SELECT r.id, r.program, r.version, r.queue, r.priority, r.step, r.state, r.correlation_key, r.correlation_scope,
    r.timeout_s, CASE WHEN r.due_at > r.now THEN 'scheduled' ELSE 'ready' END, r.due_at, r.now
FROM (
    SELECT u.id, u.program, u.version, u.queue, u.priority, u.step, u.state, u.correlation_key, u.correlation_scope,
        u.timeout_s, COALESCE(:now::timestamptz, now()) AS now,
        COALESCE(u.due_at, COALESCE(:now, now()) + COALESCE(u.delay_s, 0) * interval '1 second') AS due_at
    FROM unnest(:ids::uuid[], :programs::text[], :versions::integer[], :queues::text[], :priorities::integer[],
            :steps::text[], :states::text[], :correlation_keys::text[], :correlation_scopes::text[],
            :delays_s::double precision[], :due_ats::timestamptz[], :timeouts_s::double precision[])
        AS u (id, program, version, queue, priority, step, state, correlation_key, correlation_scope, delay_s, due_at,
            timeout_s)
) AS r
ON CONFLICT DO NOTHING;

-- name: add_full
-- As add, for rows with a parent, a limit, a share, a trace or tags.
-- takes: rows as parallel arrays, sorted by correlation key so that two batches never wait for each other; now or null
-- gives: the count of rows added; a row whose id or correlation key is taken is left out
-- index: primary key, instances_key
INSERT INTO {schema}.instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_at, created_at, parent, round, child, concurrency_key, rate_limit, rate_weight, fair_key,
    fair_weight, trace, tags)
SELECT r.id, r.program, r.version, r.queue, r.priority, r.step, r.state, r.correlation_key, r.correlation_scope,
    r.timeout_s,
    CASE WHEN r.due_at > r.now OR r.concurrency_key IS NOT NULL OR r.rate_limit IS NOT NULL THEN 'scheduled'
        ELSE 'ready' END,
    r.due_at, r.now, r.parent, r.round, r.child, r.concurrency_key, r.rate_limit, r.rate_weight, r.fair_key,
    r.fair_weight, r.trace, r.tags
FROM (
    SELECT u.id, u.program, u.version, u.queue, u.priority, u.step, u.state, u.correlation_key, u.correlation_scope,
        u.timeout_s, u.parent, u.round, u.child, u.concurrency_key, u.rate_limit, u.rate_weight, u.fair_key,
        u.fair_weight, u.trace, u.tags, COALESCE(:now::timestamptz, now()) AS now,
        COALESCE(u.due_at, COALESCE(:now, now()) + COALESCE(u.delay_s, 0) * interval '1 second') AS due_at
    FROM unnest(:ids::uuid[], :programs::text[], :versions::integer[], :queues::text[], :priorities::integer[],
            :steps::text[], :states::text[], :correlation_keys::text[], :correlation_scopes::text[],
            :delays_s::double precision[], :due_ats::timestamptz[], :timeouts_s::double precision[],
            :parents::uuid[], :rounds::integer[], :children::integer[], :concurrency_keys::text[],
            :rate_limits::text[], :rate_weights::double precision[], :fair_keys::text[],
            :fair_weights::double precision[], :traces::text[], :tags::text[])
        AS u (id, program, version, queue, priority, step, state, correlation_key, correlation_scope, delay_s, due_at,
            timeout_s, parent, round, child, concurrency_key, rate_limit, rate_weight, fair_key, fair_weight, trace, tags)
) AS r
ON CONFLICT DO NOTHING;

-- name: add_one
-- takes: one row's columns; now or null. Differs from add in taking plain parameters, which is quicker for one row, and
-- in serving only rows without a parent or a limit.
INSERT INTO {schema}.instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_at, created_at)
SELECT :id::uuid, :program::text, :version::integer, :queue::text, :priority::integer, :step::text, :state::text,
    :correlation_key::text, :correlation_scope::text, :timeout_s::double precision,
    CASE WHEN r.due_at > r.now THEN 'scheduled' ELSE 'ready' END, r.due_at, r.now
FROM (
    SELECT COALESCE(:now::timestamptz, now()) AS now,
        COALESCE(:due_at::timestamptz,
            COALESCE(:now, now()) + COALESCE(:delay_s::double precision, 0) * interval '1 second') AS due_at
) AS r
ON CONFLICT DO NOTHING;

-- name: holders
-- takes: ids and correlation keys of rows as for add
-- gives: those that are not in the table: id, key, id of the key's holder (or null)
-- index: primary key, instances_key
SELECT r.id::text, r.key, held.id::text
FROM unnest(:ids::uuid[], :correlation_keys::text[]) AS r (id, key)
LEFT JOIN {schema}.instances AS held ON held.correlation_key = r.key
    AND held.correlation_key = ANY (:correlation_keys) AND strpos(held.correlation_scope, ',' || held.status || ',') > 0
WHERE NOT EXISTS (SELECT 1 FROM {schema}.instances AS mine WHERE mine.id = r.id AND mine.id = ANY (:ids));

-- name: get
-- index: primary key
SELECT id::text, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error,
    progress, progress_note, correlation_key, created_at, due_at, claimed_at, finished_at, expires_at, node, awaits,
    wake_at, parent::text, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags,
    paused_at, pause_reason
FROM {schema}.instances WHERE id = :id;

-- name: find_by_key
-- index: instances_key
SELECT id::text FROM {schema}.instances
WHERE correlation_key = :key AND strpos(correlation_scope, ',' || status || ',') > 0;

-- name: find_last_by_key
-- index: instances_key_all
SELECT id::text FROM {schema}.instances WHERE correlation_key = :key ORDER BY instances.id DESC LIMIT 1;

-- name: ended
-- index: primary key
SELECT id::text, status, result, error FROM {schema}.instances WHERE id = ANY (:ids::uuid[]);

-- name: stand
-- gives: status, node, queue, correlation key and scope, epoch
SELECT status, node, queue, correlation_key, correlation_scope, epoch FROM {schema}.instances WHERE id = :id;

-- name: lock_instance
-- gives: status, queue and epoch, as they are once the row is locked
SELECT status, queue, epoch FROM {schema}.instances WHERE id = :id::uuid FOR NO KEY UPDATE;

-- name: tree
-- takes: an id; whether whole, or only with the errands that are its own steps
-- gives: its id and those of all its descendants, ended ones included, locked
-- index: instances_child, then the primary key
-- Children are locked before their parents, as by commits that end children: neither then waits for the other in a circle.
-- The offset keeps it a look-up for each parent: as a join it would walk the whole index.
-- Errands are of later rounds than the children that a workflow calls, of which there may be many.
WITH RECURSIVE tree (id, depth, step) AS (
    SELECT id, 0, step FROM {schema}.instances WHERE id = :id::uuid
    UNION ALL
    SELECT c.id, t.depth + 1, c.step FROM tree AS t CROSS JOIN LATERAL (
        SELECT i.id, i.step FROM {schema}.instances AS i
        WHERE i.parent = t.id AND i.round > CASE WHEN :whole::boolean THEN -1 ELSE 1 END
        OFFSET 0
    ) AS c
    WHERE :whole OR (t.step = 'workflow' AND c.step = '~errand')
)
SELECT i.id::text FROM tree AS t
JOIN {schema}.instances AS i ON i.id = t.id AND i.id = ANY (ARRAY(SELECT tree.id FROM tree))
ORDER BY t.depth DESC, i.id
FOR NO KEY UPDATE OF i;

-- name: cancel
-- takes: ids, locked in the same transaction; error; retention_s or null; now or null
-- gives: id and former node of those that this ends
-- index: primary key
-- Bumps the epoch itself: whoever runs it can no longer commit.
WITH stood AS (
    SELECT id, node FROM {schema}.instances WHERE id = ANY (:ids::uuid[])
)
UPDATE {schema}.instances AS i
SET status = 'cancelled', epoch = i.epoch + 1, node = NULL, slot = NULL, awaits = NULL, wake_at = NULL, pending = NULL,
    blocked_on = NULL, deadline_at = NULL, paused_at = NULL, error = :error,
    finished_at = COALESCE(:now::timestamptz, now()),
    expires_at = COALESCE(:now, now()) + :retention_s * interval '1 second'
FROM stood
WHERE i.id = ANY (:ids) AND i.id = stood.id
    AND i.status IN ('scheduled', 'ready', 'blocked', 'running', 'waiting', 'quarantined')
RETURNING i.id::text, stood.node;

-- name: delete
-- takes: ids of an instance that does not run, and of its errands, locked in the same transaction
DELETE FROM {schema}.instances WHERE id = ANY (:ids::uuid[]) AND (status <> 'running' OR step = '~errand');

-- name: children
-- takes: parent; after_round and after_child, the place to go on from; last_round; list_max
-- index: instances_child
SELECT id::text, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error,
    progress, progress_note, correlation_key, created_at, due_at, claimed_at, finished_at, expires_at, node, awaits,
    wake_at, parent::text, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags,
    paused_at, pause_reason
FROM {schema}.instances
WHERE parent = :parent::uuid AND (round, child) > (:after_round::integer, :after_child::integer)
    AND round <= :last_round::integer
ORDER BY instances.round, instances.child LIMIT :list_max::bigint;

-- name: totals
-- index: none; reads the whole table
SELECT status, count(*) FROM {schema}.instances GROUP BY status;
