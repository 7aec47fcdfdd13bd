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

-- name: add_one
-- takes: one row's columns; now or null. Differs from add only in taking plain parameters, which is quicker for one row.
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
    progress, progress_note, correlation_key, created_at, due_at, claimed_at, finished_at, expires_at, node
FROM {schema}.instances WHERE id = :id;

-- name: find_by_key
-- index: instances_key
SELECT id::text FROM {schema}.instances
WHERE correlation_key = :key AND strpos(correlation_scope, ',' || status || ',') > 0;

-- name: find_last_by_key
-- index: instances_key_all
SELECT id::text FROM {schema}.instances WHERE correlation_key = :key ORDER BY instances.id DESC LIMIT 1;

-- name: list
-- takes: each filter or null; a prefix of an id as the least and greatest id that begin with it
-- index: primary key, walked from the newest
SELECT id::text, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error,
    progress, progress_note, correlation_key, created_at, due_at, claimed_at, finished_at, expires_at, node
FROM {schema}.instances
WHERE (:before::uuid IS NULL OR id < :before) AND id BETWEEN :least::uuid AND :greatest::uuid
    AND (:statuses::text[] IS NULL OR status = ANY (:statuses))
    AND (:program::text IS NULL OR program = :program) AND (:queue::text IS NULL OR queue = :queue)
    AND (:key::text IS NULL OR correlation_key = :key)
    AND (:created_after::timestamptz IS NULL OR created_at >= :created_after)
    AND (:created_before::timestamptz IS NULL OR created_at < :created_before)
ORDER BY instances.id DESC LIMIT :list_max::bigint;

-- name: ended
-- index: primary key
SELECT id::text, status, result, error FROM {schema}.instances WHERE id = ANY (:ids::uuid[]);

-- name: stand
-- gives: status, node, queue, correlation key and scope
SELECT status, node, queue, correlation_key, correlation_scope FROM {schema}.instances WHERE id = :id;

-- name: cancel
-- takes: id; error; retention_s or null; now or null
-- gives: status and node as they stood before; no row when there is no such instance
-- Bumps the epoch itself: whoever runs it can no longer commit.
-- why it differs: the row is locked as it is read, where SQLite has locked the whole file.
WITH stood AS (
    SELECT id, status, node FROM {schema}.instances WHERE id = :id FOR NO KEY UPDATE
), ended AS (
    UPDATE {schema}.instances AS i
    SET status = 'cancelled', epoch = i.epoch + 1, node = NULL, deadline_at = NULL, error = :error,
        finished_at = COALESCE(:now::timestamptz, now()),
        expires_at = COALESCE(:now, now()) + :retention_s * interval '1 second'
    FROM stood
    WHERE i.id = :id AND i.id = stood.id AND i.status IN ('scheduled', 'ready', 'blocked', 'running', 'waiting', 'quarantined')
)
SELECT status, node FROM stood;

-- name: retry
-- takes: id; now or null
-- gives: status and queue as they stood before; no row when there is no such instance
-- An operator's act; may meet the unique key of a successor.
WITH stood AS (
    SELECT id, status, queue FROM {schema}.instances WHERE id = :id FOR NO KEY UPDATE
), again AS (
    UPDATE {schema}.instances AS i
    SET status = 'ready', attempt = 0, crashes = 0, due_at = COALESCE(:now::timestamptz, now()), finished_at = NULL,
        expires_at = NULL, result = NULL, progress = NULL, progress_note = NULL
    FROM stood
    WHERE i.id = :id AND i.id = stood.id AND i.status IN ('failed', 'cancelled', 'compensated', 'compensation_failed', 'quarantined')
)
SELECT status, queue FROM stood;

-- name: delete
-- gives: the status as it stood before; no row when there is no such instance
WITH stood AS (
    SELECT id, status FROM {schema}.instances WHERE id = :id FOR UPDATE
), gone AS (
    DELETE FROM {schema}.instances AS i USING stood
    WHERE i.id = :id AND i.id = stood.id AND i.status <> 'running'
)
SELECT status FROM stood;

-- name: totals
-- index: none; reads the whole table
SELECT status, count(*) FROM {schema}.instances GROUP BY status;
