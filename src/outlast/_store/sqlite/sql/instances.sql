-- name: add
-- takes: rows, a JSON array of arrays in the order below; now_us
-- gives: nothing; a row whose id or correlation key is taken is left out
-- index: primary key, instances_key
INSERT INTO {schema}_instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_us, created_us)
SELECT r.id, r.program, r.version, r.queue, r.priority, r.step, r.state, r.correlation_key, r.correlation_scope,
    r.timeout_s, CASE WHEN r.due_us > :now_us THEN 'scheduled' ELSE 'ready' END, r.due_us, :now_us
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS program,
        json_extract(value, '$[2]') AS version, json_extract(value, '$[3]') AS queue,
        json_extract(value, '$[4]') AS priority, json_extract(value, '$[5]') AS step,
        json_extract(value, '$[6]') AS state, json_extract(value, '$[7]') AS correlation_key,
        json_extract(value, '$[8]') AS correlation_scope,
        CAST(json_extract(value, '$[11]') AS REAL) AS timeout_s,
        COALESCE(json_extract(value, '$[10]'),
            :now_us + CAST(COALESCE(json_extract(value, '$[9]'), 0) * 1000000 AS INTEGER)) AS due_us
    FROM json_each(:rows)
) AS r
WHERE true
ON CONFLICT DO NOTHING;

-- name: add_one
-- takes: one row's columns; now_us. Differs from add only in taking plain parameters, which is quicker for one row.
INSERT INTO {schema}_instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_us, created_us)
VALUES (:id, :program, :version, :queue, :priority, :step, :state, :correlation_key, :correlation_scope,
    :timeout_s, CASE WHEN :due_us > :now_us THEN 'scheduled' ELSE 'ready' END, :due_us, :now_us)
ON CONFLICT DO NOTHING;

-- name: holders
-- takes: rows as for add
-- gives: those that are not in the table: id, key, id of the key's holder (or null)
-- index: primary key, instances_key
SELECT json_extract(r.value, '$[0]'), json_extract(r.value, '$[7]'), held.id
FROM json_each(:rows) AS r
LEFT JOIN {schema}_instances AS held ON held.correlation_key = json_extract(r.value, '$[7]')
    AND instr(held.correlation_scope, ',' || held.status || ',') > 0
WHERE NOT EXISTS (SELECT 1 FROM {schema}_instances AS mine WHERE mine.id = json_extract(r.value, '$[0]'));

-- name: get
-- index: primary key
SELECT id, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error, progress,
    progress_note, correlation_key, created_us, due_us, claimed_us, finished_us, expires_us, node
FROM {schema}_instances WHERE id = :id;

-- name: find_by_key
-- index: instances_key
SELECT id FROM {schema}_instances
WHERE correlation_key = :key AND instr(correlation_scope, ',' || status || ',') > 0;

-- name: find_last_by_key
-- index: instances_key_all
SELECT id FROM {schema}_instances WHERE correlation_key = :key ORDER BY id DESC LIMIT 1;

-- name: list
-- index: primary key, walked from the newest
SELECT id, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error, progress,
    progress_note, correlation_key, created_us, due_us, claimed_us, finished_us, expires_us, node
FROM {schema}_instances
WHERE id < COALESCE(:before, '~') AND (:status IS NULL OR status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR program = :program) AND (:queue IS NULL OR queue = :queue)
    AND (:key IS NULL OR correlation_key = :key)
    AND (:created_after_us IS NULL OR created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR created_us < :created_before_us)
    AND (:id_prefix IS NULL OR (id >= :id_prefix AND id < :id_prefix || '~'))
ORDER BY id DESC LIMIT :limit;

-- name: ended
-- index: primary key
SELECT id, status, result, error FROM {schema}_instances WHERE id IN (SELECT value FROM json_each(:ids));

-- name: stand
-- gives: status, node, queue, correlation key and scope
SELECT status, node, queue, correlation_key, correlation_scope FROM {schema}_instances WHERE id = :id;

-- name: cancel
-- Bumps the epoch itself: whoever runs it can no longer commit.
UPDATE {schema}_instances
SET status = 'cancelled', epoch = epoch + 1, node = NULL, deadline_us = NULL, error = :error,
    finished_us = :now_us, expires_us = :now_us + CAST(:retention_s * 1000000 AS INTEGER)
WHERE id = :id AND status IN ('scheduled', 'ready', 'blocked', 'running', 'waiting', 'quarantined');

-- name: retry
-- An operator's act; may meet the unique key of a successor.
UPDATE {schema}_instances
SET status = 'ready', attempt = 0, crashes = 0, due_us = :now_us, finished_us = NULL, expires_us = NULL,
    result = NULL, progress = NULL, progress_note = NULL
WHERE id = :id AND status IN ('failed', 'cancelled', 'compensated', 'compensation_failed', 'quarantined');

-- name: delete
DELETE FROM {schema}_instances WHERE id = :id AND status <> 'running';

-- name: totals
-- index: none; reads the whole table
SELECT status, count(*) FROM {schema}_instances GROUP BY status;
