-- name: probe_ready
-- gives: a row when the queue may hold work. Runs outside a transaction, so that looking at an idle queue locks nothing.
-- index: instances_ready, instances_fair
SELECT 1 FROM {schema}_instances WHERE queue = :queue AND status = 'ready' AND fair_key IS NULL
UNION ALL
SELECT 1 FROM {schema}_instances WHERE queue = :queue AND status = 'ready' AND fair_key IS NOT NULL
LIMIT 1;

-- name: take
-- takes: queue; node, which must be in the table of nodes; known, a JSON array of "program@version"; crashes_max; limit
-- gives: one JSON array of claims, as they will stand after mark_taken (epoch + 1); whether there are rows with a fair
-- key, too
-- index: instances_ready, instances_fair
-- One value and not many rows: every row fetched would hand the interpreter's lock back and forth.
SELECT json_group_array(json_array(id, program, version, step, state, epoch + 1, attempt, crashes, priority,
    correlation_key, commits, awaits, spawns, concurrency_key, rate_limit, rate_weight, trace,
    json(iif(mail, 'true', 'false')), parent)),
    EXISTS (SELECT 1 FROM {schema}_instances AS f
        WHERE f.queue = :queue AND f.status = 'ready' AND f.fair_key IS NOT NULL)
FROM (
    SELECT id, program, version, step, state, epoch, attempt, crashes, priority, correlation_key, commits, awaits,
        spawns, concurrency_key, rate_limit, rate_weight, trace, mail, parent
    FROM {schema}_instances
    WHERE queue = :queue AND status = 'ready' AND fair_key IS NULL
        AND program || '@' || version IN (SELECT value FROM json_each(:known)) AND crashes <= :crashes_max
        AND NOT EXISTS (SELECT 1 FROM {schema}_queues WHERE name = :queue)
        AND EXISTS (SELECT 1 FROM {schema}_nodes WHERE {schema}_nodes.id = :node)
    ORDER BY priority, due_us, id
    LIMIT :limit
);

-- name: next_fair
-- takes: queue; node, as for take; after
-- gives: the next fair key of which some are ready
-- index: instances_fair
SELECT fair_key FROM {schema}_instances
WHERE queue = :queue AND status = 'ready' AND fair_key IS NOT NULL AND fair_key > :after
    AND NOT EXISTS (SELECT 1 FROM {schema}_queues WHERE name = :queue)
    AND EXISTS (SELECT 1 FROM {schema}_nodes WHERE id = :node)
ORDER BY fair_key LIMIT 1;

-- name: pick_fair
-- takes: queue; known; crashes_max; fair_key; limit
-- gives: one JSON array of [id, fair_weight] of its rows, most urgent first
-- index: instances_fair
SELECT json_group_array(json_array(id, max(0.000001, min(fair_weight, 1e9)))) FROM (
    SELECT id, fair_weight FROM {schema}_instances
    WHERE queue = :queue AND status = 'ready' AND fair_key IS NOT NULL AND fair_key = :fair_key
        AND program || '@' || version IN (SELECT value FROM json_each(:known)) AND crashes <= :crashes_max
    ORDER BY priority, due_us, id LIMIT :limit
);

-- name: read_chosen
-- takes: ids, a JSON array in the order of the turns
-- gives: one JSON array of claims, as they will stand after mark_taken
-- index: primary key
SELECT json_group_array(json_array(i.id, i.program, i.version, i.step, i.state, i.epoch + 1, i.attempt, i.crashes,
    i.priority, i.correlation_key, i.commits, i.awaits, i.spawns, i.concurrency_key, i.rate_limit, i.rate_weight, i.trace,
    json(iif(i.mail, 'true', 'false')), i.parent))
FROM json_each(:ids) AS c JOIN {schema}_instances AS i ON i.id = c.value;

-- name: mark_taken
-- takes: claims as given by take, in the same transaction; node; now_us; grace_s
-- index: primary key
UPDATE {schema}_instances
SET status = 'running', epoch = epoch + 1, node = :node, claimed_us = :now_us,
    deadline_us = :now_us + CAST((timeout_s + :grace_s) * 1000000 AS INTEGER)
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:claims)) AND status = 'ready';

-- name: commit
-- takes: batch, a JSON array of settlements: of each the first eight fields, and commits; now_us
-- gives: the count of rows changed; fewer than the batch means that some claims were lost (see settled)
-- index: primary key
UPDATE {schema}_instances
SET status = CASE WHEN o.status = 'ready' AND paused_us IS NOT NULL THEN 'scheduled' ELSE o.status END, attempt = o.attempt,
    result = o.result, error = COALESCE(o.error, {schema}_instances.error), node = NULL, slot = NULL,
    awaits = CASE WHEN o.status IN ('ready', 'scheduled', 'quarantined') THEN {schema}_instances.awaits END,
    deadline_us = NULL, commit_epoch = {schema}_instances.epoch, commits = {schema}_instances.commits + 1,
    due_us = CASE WHEN o.delay_s IS NULL THEN due_us ELSE :now_us + CAST(o.delay_s * 1000000 AS INTEGER) END,
    finished_us = CASE WHEN o.status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN :now_us END,
    paused_us = CASE WHEN o.status NOT IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN paused_us END,
    expires_us = :now_us + CAST(o.retention_s * 1000000 AS INTEGER)
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch,
        json_extract(value, '$[2]') AS status, json_extract(value, '$[3]') AS attempt,
        json_extract(value, '$[4]') AS result, json_extract(value, '$[5]') AS error,
        json_extract(value, '$[6]') AS delay_s, json_extract(value, '$[7]') AS retention_s,
        json_extract(value, '$[8]') AS commits
    FROM json_each(:batch)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running'
    AND (o.commits IS NULL OR {schema}_instances.commits = o.commits);

-- name: commit_full
-- As commit, for outcomes that write more than most jobs do.
-- takes: batch, a JSON array of settlements; now_us; held, whether claims that are kept are written where their instance is
-- paused: without, the count tells that there are such
-- gives: the count of rows changed; fewer than the batch means that some claims were lost (see settled)
-- index: primary key
UPDATE {schema}_instances
SET status = CASE WHEN o.status = 'ready' AND paused_us IS NOT NULL THEN 'scheduled' ELSE o.status END, attempt = o.attempt,
    result = o.result, error = COALESCE(o.error, {schema}_instances.error),
    node = CASE WHEN o.status = 'running' THEN node END, slot = CASE WHEN o.status = 'running' THEN slot END,
    awaits = CASE WHEN o.status = 'waiting' THEN o.awaits
        WHEN o.step IS NULL AND o.status IN ('ready', 'scheduled', 'quarantined') THEN {schema}_instances.awaits END,
    wake_us = :now_us + CAST(o.wake_s * 1000000 AS INTEGER),
    concurrency_key = NULLIF(COALESCE(o.concurrency_key, {schema}_instances.concurrency_key), ''),
    rate_limit = NULLIF(COALESCE(o.rate_limit, {schema}_instances.rate_limit), ''),
    rate_weight = COALESCE(o.rate_weight, {schema}_instances.rate_weight),
    deadline_us = :now_us + CAST(o.deadline_s * 1000000 AS INTEGER), commit_epoch = {schema}_instances.epoch,
    commits = {schema}_instances.commits + 1, step = COALESCE(o.step, {schema}_instances.step),
    state = COALESCE(o.state, {schema}_instances.state), version = COALESCE(o.version, {schema}_instances.version),
    due_us = CASE WHEN o.delay_s IS NULL THEN due_us ELSE :now_us + CAST(o.delay_s * 1000000 AS INTEGER) END,
    finished_us = CASE WHEN o.status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN :now_us END,
    paused_us = CASE WHEN o.status NOT IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')
        THEN paused_us END,
    expires_us = :now_us + CAST(o.retention_s * 1000000 AS INTEGER)
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch,
        json_extract(value, '$[2]') AS status, json_extract(value, '$[3]') AS attempt,
        json_extract(value, '$[4]') AS result, json_extract(value, '$[5]') AS error,
        json_extract(value, '$[6]') AS delay_s, json_extract(value, '$[7]') AS retention_s,
        json_extract(value, '$[8]') AS step, json_extract(value, '$[9]') AS state,
        json_extract(value, '$[10]') AS version, json_extract(value, '$[11]') AS deadline_s,
        json_extract(value, '$[12]') AS commits, json_extract(value, '$[13]') AS awaits,
        json_extract(value, '$[14]') AS wake_s, json_extract(value, '$[19]') AS concurrency_key,
        json_extract(value, '$[20]') AS rate_limit, json_extract(value, '$[21]') AS rate_weight
    FROM json_each(:batch)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running'
    AND (o.commits IS NULL OR {schema}_instances.commits = o.commits) AND (o.status <> 'running' OR paused_us IS NULL OR :held);

-- name: commit_recorded
-- As commit, for claims that have recorded something and go on. It touches no index: a workflow does this at each step.
-- takes: fences, a JSON array of [id, epoch, commits]; held as for commit_full
-- gives: the count of rows changed, as commit
-- index: primary key
UPDATE {schema}_instances
SET awaits = NULL, wake_us = NULL, deadline_us = NULL, commit_epoch = {schema}_instances.epoch,
    commits = {schema}_instances.commits + 1
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch,
        json_extract(value, '$[2]') AS commits
    FROM json_each(:fences)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running'
    AND {schema}_instances.commits = o.commits AND (paused_us IS NULL OR :held);

-- name: find_ours
-- takes: fences of a batch, a JSON array of [id, epoch, commits]
-- gives: one JSON array of the ids whose claim is ours: what commit will write in the same transaction
-- index: primary key
SELECT json_group_array(i.id) FROM json_each(:fences) AS o
JOIN {schema}_instances AS i ON i.id = json_extract(o.value, '$[0]')
WHERE i.epoch = json_extract(o.value, '$[1]') AND i.status = 'running'
    AND (json_extract(o.value, '$[2]') IS NULL OR i.commits = json_extract(o.value, '$[2]'));

-- name: settled
-- takes: fences of a batch, as find_ours
-- gives: ids of the batch whose last written outcome is this very claim's: written now, or by an earlier try; and whether
-- each is paused
-- index: primary key
SELECT i.id, i.paused_us IS NOT NULL
FROM json_each(:fences) AS o JOIN {schema}_instances AS i ON i.id = json_extract(o.value, '$[0]')
WHERE i.commit_epoch = json_extract(o.value, '$[1]')
    AND (json_extract(o.value, '$[2]') IS NULL OR i.commits = json_extract(o.value, '$[2]') + 1);

-- name: release
-- takes: claims, a JSON array of [id, epoch]
-- index: primary key
-- What has a limit goes back to the timekeeper, which admits such rows.
UPDATE {schema}_instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END, node = NULL,
    slot = NULL, deadline_us = NULL
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch FROM json_each(:claims)) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running';

-- name: owned
-- gives: id, epoch, and whether it is paused
-- index: instances_running
SELECT id, epoch, paused_us IS NOT NULL FROM {schema}_instances WHERE status = 'running' AND node = :node;

-- name: report
-- takes: reports, a JSON array of [id, epoch, fraction, note]
-- Who has parked meanwhile has said it all the same, as long as nobody has claimed it since.
-- index: primary key
UPDATE {schema}_instances SET progress = o.fraction, progress_note = o.note
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch,
        CAST(json_extract(value, '$[2]') AS REAL) AS fraction, json_extract(value, '$[3]') AS note
    FROM json_each(:reports)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch
    AND ({schema}_instances.status = 'running' OR {schema}_instances.status = 'waiting');
