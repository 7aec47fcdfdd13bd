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

-- name: add_full
-- As add, for rows with a parent, a limit, a share, a trace or tags.
-- takes: rows, a JSON array of arrays in the order below; now_us
-- gives: nothing; a row whose id or correlation key is taken is left out
-- index: primary key, instances_key
INSERT INTO {schema}_instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_us, created_us, parent, round, child, concurrency_key, rate_limit, rate_weight, fair_key,
    fair_weight, trace, tags)
SELECT r.id, r.program, r.version, r.queue, r.priority, r.step, r.state, r.correlation_key, r.correlation_scope,
    r.timeout_s,
    CASE WHEN r.due_us > :now_us OR r.concurrency_key IS NOT NULL OR r.rate_limit IS NOT NULL THEN 'scheduled'
        ELSE 'ready' END,
    r.due_us, :now_us, r.parent, r.round, r.child, r.concurrency_key, r.rate_limit, r.rate_weight, r.fair_key,
    r.fair_weight, r.trace, r.tags
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS program,
        json_extract(value, '$[2]') AS version, json_extract(value, '$[3]') AS queue,
        json_extract(value, '$[4]') AS priority, json_extract(value, '$[5]') AS step,
        json_extract(value, '$[6]') AS state, json_extract(value, '$[7]') AS correlation_key,
        json_extract(value, '$[8]') AS correlation_scope,
        CAST(json_extract(value, '$[11]') AS REAL) AS timeout_s,
        COALESCE(json_extract(value, '$[10]'),
            :now_us + CAST(COALESCE(json_extract(value, '$[9]'), 0) * 1000000 AS INTEGER)) AS due_us,
        json_extract(value, '$[12]') AS parent, json_extract(value, '$[13]') AS round,
        json_extract(value, '$[14]') AS child, json_extract(value, '$[15]') AS concurrency_key,
        json_extract(value, '$[16]') AS rate_limit, json_extract(value, '$[17]') AS rate_weight,
        json_extract(value, '$[18]') AS fair_key, json_extract(value, '$[19]') AS fair_weight,
        json_extract(value, '$[20]') AS trace, json_extract(value, '$[21]') AS tags
    FROM json_each(:rows)
) AS r
WHERE true
ON CONFLICT DO NOTHING;

-- name: add_one
-- takes: one row's columns; now_us. Differs from add in taking plain parameters, which is quicker for one row, and in
-- serving only rows without a parent or a limit.
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
    progress_note, correlation_key, created_us, due_us, claimed_us, finished_us, expires_us, node, awaits, wake_us,
    parent, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags, paused_us,
    pause_reason
FROM {schema}_instances WHERE id = :id;

-- name: find_by_key
-- index: instances_key
SELECT id FROM {schema}_instances
WHERE correlation_key = :key AND instr(correlation_scope, ',' || status || ',') > 0;

-- name: find_last_by_key
-- index: instances_key_all
SELECT id FROM {schema}_instances WHERE correlation_key = :key ORDER BY id DESC LIMIT 1;

-- name: ended
-- index: primary key
SELECT id, status, result, error FROM {schema}_instances WHERE id IN (SELECT value FROM json_each(:ids));

-- name: stand
-- gives: status, node, queue, correlation key and scope, epoch
SELECT status, node, queue, correlation_key, correlation_scope, epoch FROM {schema}_instances WHERE id = :id;

-- name: queues_of
-- takes: ids, a JSON array
-- gives: one JSON array of their queues
-- index: primary key
SELECT json_group_array(DISTINCT queue) FROM {schema}_instances WHERE id IN (SELECT value FROM json_each(:ids));

-- name: tree
-- takes: id; whether whole, or only with the errands that are its own steps
-- gives: one JSON array of its id and those of all its descendants, ended ones included
-- index: primary key, then instances_child
-- Errands are of later rounds than the children that a workflow calls, of which there may be many.
WITH RECURSIVE tree (id, step) AS (
    SELECT id, step FROM {schema}_instances WHERE id = :id
    UNION
    SELECT c.id, c.step FROM tree CROSS JOIN {schema}_instances AS c
        ON c.parent = tree.id AND c.round > CASE WHEN :whole THEN -1 ELSE 1 END
    WHERE :whole OR (tree.step = 'workflow' AND c.step = '~errand')
)
SELECT json_group_array(id) FROM tree;

-- name: find_live
-- takes: ids, a JSON array
-- gives: one JSON array of [id, node] of those that have not ended
-- index: primary key
SELECT json_group_array(json_array(id, node)) FROM {schema}_instances
WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_us IS NULL;

-- name: cancel
-- takes: ended, a JSON array of [id, node]; error; retention_s; now_us
-- Bumps the epoch itself: whoever runs it can no longer commit.
UPDATE {schema}_instances
SET status = 'cancelled', epoch = epoch + 1, node = NULL, slot = NULL, awaits = NULL, wake_us = NULL, pending = NULL,
    blocked_on = NULL, deadline_us = NULL, paused_us = NULL, error = :error, finished_us = :now_us,
    expires_us = :now_us + CAST(:retention_s * 1000000 AS INTEGER)
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:ended))
    AND status IN ('scheduled', 'ready', 'blocked', 'running', 'waiting', 'quarantined');

-- name: delete
-- takes: ids, a JSON array of an instance that does not run, and of its errands
DELETE FROM {schema}_instances
WHERE id IN (SELECT value FROM json_each(:ids)) AND (status <> 'running' OR step = '~errand');

-- name: children
-- takes: parent; after_round and after_child, the place to go on from; last_round; limit
-- index: instances_child
SELECT id, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error, progress,
    progress_note, correlation_key, created_us, due_us, claimed_us, finished_us, expires_us, node, awaits, wake_us,
    parent, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags, paused_us,
    pause_reason
FROM {schema}_instances
WHERE parent = :parent AND (round, child) > (:after_round, :after_child) AND round <= :last_round
ORDER BY round, child LIMIT :limit;

-- name: totals
-- index: none; reads the whole table
SELECT status, count(*) FROM {schema}_instances GROUP BY status;
