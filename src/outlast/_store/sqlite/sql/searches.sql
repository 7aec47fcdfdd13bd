-- Lists and counts. Each filter is null, or wanted.

-- name: list
-- index: primary key, walked from the newest
SELECT id, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error, progress,
    progress_note, correlation_key, created_us, due_us, claimed_us, finished_us, expires_us, node, awaits, wake_us,
    parent, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags, paused_us,
    pause_reason
FROM {schema}_instances
WHERE id < COALESCE(:before, '~')
    AND (:id_prefix IS NULL OR (id >= :id_prefix AND id < :id_prefix || '~'))
    AND (:status IS NULL OR status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR program = :program) AND (:queue IS NULL OR queue = :queue)
    AND (:key IS NULL OR correlation_key = :key) AND (:paused IS NULL OR (paused_us IS NOT NULL) = :paused)
    AND (:created_after_us IS NULL OR created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR created_us < :created_before_us)
    AND (:ended_before_us IS NULL OR finished_us < :ended_before_us)
    AND (:waiting_for IS NULL OR (status = 'waiting'
        AND EXISTS (SELECT 1 FROM json_each(awaits) AS a WHERE a.value = :waiting_for)))
    AND (NOT :roots OR parent IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: list_waiting
-- index: instances_waiting
-- Reads all that wait, and nothing else: no index knows the names of signals.
SELECT id, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error, progress,
    progress_note, correlation_key, created_us, due_us, claimed_us, finished_us, expires_us, node, awaits, wake_us,
    parent, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags, paused_us,
    pause_reason
FROM {schema}_instances INDEXED BY {schema}_instances_waiting
WHERE status = 'waiting' AND finished_us IS NULL AND id < COALESCE(:before, '~')
    AND (:status IS NULL OR status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR program = :program) AND (:queue IS NULL OR queue = :queue)
    AND (:key IS NULL OR correlation_key = :key) AND (:paused IS NULL OR (paused_us IS NOT NULL) = :paused)
    AND (:created_after_us IS NULL OR created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR created_us < :created_before_us)
    AND (:ended_before_us IS NULL OR finished_us < :ended_before_us)
    AND (:waiting_for IS NULL OR (status = 'waiting'
        AND EXISTS (SELECT 1 FROM json_each(awaits) AS a WHERE a.value = :waiting_for)))
    AND (NOT :roots OR parent IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: list_tagged
-- takes: tag_name and tag_value; tags, the others as a JSON array of [name, value], or null; each filter or null
-- index: the tags' own, walked from the newest, then the primary key
SELECT i.id, i.program, i.version, i.step, i.queue, i.priority, i.status, i.attempt, i.crashes, i.epoch, i.state, i.result, i.error,
    i.progress, i.progress_note, i.correlation_key, i.created_us, i.due_us, i.claimed_us, i.finished_us, i.expires_us,
    i.node, i.awaits, i.wake_us, i.parent, i.round, i.child, i.concurrency_key, i.rate_limit, i.rate_weight, i.blocked_on,
    i.fair_key, i.fair_weight, i.tags, i.paused_us, i.pause_reason
FROM {schema}_tags AS t CROSS JOIN {schema}_instances AS i ON i.id = t.instance
WHERE t.name = :tag_name AND t.value = :tag_value AND t.instance < COALESCE(:before, '~')
    AND (:tags IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:tags) AS w WHERE NOT EXISTS (
            SELECT 1 FROM {schema}_tags AS o
            WHERE o.name = json_extract(w.value, '$[0]') AND o.value = json_extract(w.value, '$[1]')
                AND o.instance = i.id)))
    AND (:status IS NULL OR i.status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR i.program = :program) AND (:queue IS NULL OR i.queue = :queue)
    AND (:key IS NULL OR i.correlation_key = :key) AND (:paused IS NULL OR (i.paused_us IS NOT NULL) = :paused)
    AND (:created_after_us IS NULL OR i.created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR i.created_us < :created_before_us)
    AND (:ended_before_us IS NULL OR i.finished_us < :ended_before_us)
    AND (:waiting_for IS NULL OR (i.status = 'waiting'
        AND EXISTS (SELECT 1 FROM json_each(i.awaits) AS a WHERE a.value = :waiting_for)))
    AND (NOT :roots OR i.parent IS NULL)
ORDER BY t.instance DESC LIMIT :limit;

-- name: weigh_tags
-- takes: tags, a JSON array of [name, value]; limit
-- gives: for each its place, and how many instances have it, counted up to the limit
-- index: the tags' own
SELECT w.key, (
    SELECT count(*) FROM (
        SELECT 1 FROM {schema}_tags AS t
        WHERE t.name = json_extract(w.value, '$[0]') AND t.value = json_extract(w.value, '$[1]') LIMIT :limit
    )
)
FROM json_each(:tags) AS w;

-- name: count
-- takes: by, a column's name; each filter or null
-- index: none; reads the whole table
SELECT CASE :by WHEN 'status' THEN status WHEN 'program' THEN program ELSE queue END, count(*)
FROM {schema}_instances
WHERE (:status IS NULL OR status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR program = :program) AND (:queue IS NULL OR queue = :queue)
    AND (:key IS NULL OR correlation_key = :key) AND (:paused IS NULL OR (paused_us IS NOT NULL) = :paused)
    AND (:created_after_us IS NULL OR created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR created_us < :created_before_us)
    AND (:ended_before_us IS NULL OR finished_us < :ended_before_us)
    AND (:waiting_for IS NULL OR (status = 'waiting'
        AND EXISTS (SELECT 1 FROM json_each(awaits) AS a WHERE a.value = :waiting_for)))
    AND (NOT :roots OR parent IS NULL)
GROUP BY 1;

-- name: count_tagged
-- takes: by; tag_name and tag_value; tags, the others as a JSON array of [name, value], or null; each filter or null
-- index: the tags' own, then the primary key
SELECT CASE :by WHEN 'status' THEN i.status WHEN 'program' THEN i.program ELSE i.queue END, count(*)
FROM {schema}_tags AS t CROSS JOIN {schema}_instances AS i ON i.id = t.instance
WHERE t.name = :tag_name AND t.value = :tag_value
    AND (:tags IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:tags) AS w WHERE NOT EXISTS (
            SELECT 1 FROM {schema}_tags AS o
            WHERE o.name = json_extract(w.value, '$[0]') AND o.value = json_extract(w.value, '$[1]')
                AND o.instance = i.id)))
    AND (:status IS NULL OR i.status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR i.program = :program) AND (:queue IS NULL OR i.queue = :queue)
    AND (:key IS NULL OR i.correlation_key = :key) AND (:paused IS NULL OR (i.paused_us IS NOT NULL) = :paused)
    AND (:created_after_us IS NULL OR i.created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR i.created_us < :created_before_us)
    AND (:ended_before_us IS NULL OR i.finished_us < :ended_before_us)
    AND (:waiting_for IS NULL OR (i.status = 'waiting'
        AND EXISTS (SELECT 1 FROM json_each(i.awaits) AS a WHERE a.value = :waiting_for)))
    AND (NOT :roots OR i.parent IS NULL)
GROUP BY 1;

-- name: count_children
-- takes: by; parent; tags as a JSON array of [name, value], or null; each filter or null
-- index: instances_child
SELECT CASE :by WHEN 'status' THEN i.status WHEN 'program' THEN i.program ELSE i.queue END, count(*)
FROM {schema}_instances AS i
WHERE i.parent = :parent
    AND (:tags IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:tags) AS w WHERE NOT EXISTS (
            SELECT 1 FROM {schema}_tags AS o
            WHERE o.name = json_extract(w.value, '$[0]') AND o.value = json_extract(w.value, '$[1]')
                AND o.instance = i.id)))
    AND (:status IS NULL OR i.status IN (SELECT value FROM json_each(:status)))
    AND (:program IS NULL OR i.program = :program) AND (:queue IS NULL OR i.queue = :queue)
    AND (:key IS NULL OR i.correlation_key = :key) AND (:paused IS NULL OR (i.paused_us IS NOT NULL) = :paused)
    AND (:created_after_us IS NULL OR i.created_us >= :created_after_us)
    AND (:created_before_us IS NULL OR i.created_us < :created_before_us)
    AND (:ended_before_us IS NULL OR i.finished_us < :ended_before_us)
    AND (:waiting_for IS NULL OR (i.status = 'waiting'
        AND EXISTS (SELECT 1 FROM json_each(i.awaits) AS a WHERE a.value = :waiting_for)))
    AND (NOT :roots OR i.parent IS NULL)
GROUP BY 1;
