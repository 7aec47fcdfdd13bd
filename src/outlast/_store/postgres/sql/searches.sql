-- Lists and counts. Each filter is null, or wanted.

-- name: list
-- takes: each filter or null; a prefix of an id as the least and greatest id that begin with it
-- index: primary key, walked from the newest
SELECT id::text, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error,
    progress, progress_note, correlation_key, created_at, due_at, claimed_at, finished_at, expires_at, node, awaits,
    wake_at, parent::text, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags,
    paused_at, pause_reason
FROM {schema}.instances
WHERE (:before::uuid IS NULL OR id < :before) AND id BETWEEN :least::uuid AND :greatest::uuid
    AND (:statuses::text[] IS NULL OR status = ANY (:statuses))
    AND (:program::text IS NULL OR program = :program) AND (:queue::text IS NULL OR queue = :queue)
    AND (:key::text IS NULL OR correlation_key = :key)
    AND (:paused::boolean IS NULL OR (paused_at IS NOT NULL) = :paused)
    AND (:created_after::timestamptz IS NULL OR created_at >= :created_after)
    AND (:created_before::timestamptz IS NULL OR created_at < :created_before)
    AND (:ended_before::timestamptz IS NULL OR finished_at < :ended_before)
    AND (:waiting_for::text IS NULL OR (status = 'waiting' AND awaits::jsonb ? :waiting_for))
    AND (NOT :roots::boolean OR parent IS NULL)
ORDER BY instances.id DESC LIMIT :list_max::bigint;

-- name: list_waiting
-- index: instances_waiting
-- Reads all that wait, and nothing else: no index knows the names of signals. Sorted by the text of the id, which is the
-- same order: for the id itself it would walk the primary key.
SELECT id::text, program, version, step, queue, priority, status, attempt, crashes, epoch, state, result, error,
    progress, progress_note, correlation_key, created_at, due_at, claimed_at, finished_at, expires_at, node, awaits,
    wake_at, parent::text, round, child, concurrency_key, rate_limit, rate_weight, blocked_on, fair_key, fair_weight, tags,
    paused_at, pause_reason
FROM {schema}.instances
WHERE status = 'waiting' AND finished_at IS NULL AND (:before::uuid IS NULL OR id < :before)
    AND (:statuses::text[] IS NULL OR status = ANY (:statuses))
    AND (:program::text IS NULL OR program = :program) AND (:queue::text IS NULL OR queue = :queue)
    AND (:key::text IS NULL OR correlation_key = :key)
    AND (:paused::boolean IS NULL OR (paused_at IS NOT NULL) = :paused)
    AND (:created_after::timestamptz IS NULL OR created_at >= :created_after)
    AND (:created_before::timestamptz IS NULL OR created_at < :created_before)
    AND (:ended_before::timestamptz IS NULL OR finished_at < :ended_before)
    AND (:waiting_for::text IS NULL OR (status = 'waiting' AND awaits::jsonb ? :waiting_for))
    AND (NOT :roots::boolean OR parent IS NULL)
ORDER BY instances.id::text COLLATE "C" DESC LIMIT :list_max::bigint;

-- name: list_tagged
-- takes: tag_name and tag_value; tags, the others as the text of a JSON object, or null; each filter or null
-- index: the tags' own, walked from the newest, then the primary key
-- The inner limit keeps it a look-up for each: as a join it might walk the instances.
SELECT i.*
FROM {schema}.tags AS t CROSS JOIN LATERAL (
    SELECT n.id::text, n.program, n.version, n.step, n.queue, n.priority, n.status, n.attempt, n.crashes, n.epoch, n.state, n.result,
        n.error, n.progress, n.progress_note, n.correlation_key, n.created_at, n.due_at, n.claimed_at, n.finished_at,
        n.expires_at, n.node, n.awaits, n.wake_at, n.parent::text, n.round, n.child, n.concurrency_key, n.rate_limit,
        n.rate_weight, n.blocked_on, n.fair_key, n.fair_weight, n.tags, n.paused_at, n.pause_reason
    FROM {schema}.instances AS n
    WHERE n.id = t.instance
        AND (:tags::text IS NULL OR n.tags::jsonb @> :tags::jsonb)
        AND (:statuses::text[] IS NULL OR n.status = ANY (:statuses))
        AND (:program::text IS NULL OR n.program = :program) AND (:queue::text IS NULL OR n.queue = :queue)
        AND (:key::text IS NULL OR n.correlation_key = :key)
        AND (:paused::boolean IS NULL OR (n.paused_at IS NOT NULL) = :paused)
        AND (:created_after::timestamptz IS NULL OR n.created_at >= :created_after)
        AND (:created_before::timestamptz IS NULL OR n.created_at < :created_before)
        AND (:ended_before::timestamptz IS NULL OR n.finished_at < :ended_before)
        AND (:waiting_for::text IS NULL OR (n.status = 'waiting' AND n.awaits::jsonb ? :waiting_for))
        AND (NOT :roots::boolean OR n.parent IS NULL)
    LIMIT 1
) AS i
WHERE t.name = :tag_name AND t.value = :tag_value
    AND t.instance < COALESCE(:before::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY t.instance DESC LIMIT :list_max::bigint;

-- name: weigh_tags
-- takes: names and values as parallel arrays; count_max
-- gives: for each its place, and how many instances have it, counted up to the limit
-- index: the tags' own
SELECT w.place::integer, (
    SELECT count(*) FROM (
        SELECT 1 FROM {schema}.tags AS t WHERE t.name = w.name AND t.value = w.value LIMIT :count_max::bigint
    ) AS counted
)
FROM unnest(:names::text[], :values::text[]) WITH ORDINALITY AS w (name, value, place);

-- name: count
-- takes: by, a column's name; each filter or null
-- index: none; reads the whole table
SELECT CASE :by::text WHEN 'status' THEN n.status WHEN 'program' THEN n.program ELSE n.queue END, count(*)
FROM {schema}.instances AS n
WHERE (:statuses::text[] IS NULL OR n.status = ANY (:statuses))
    AND (:program::text IS NULL OR n.program = :program) AND (:queue::text IS NULL OR n.queue = :queue)
    AND (:key::text IS NULL OR n.correlation_key = :key)
    AND (:paused::boolean IS NULL OR (n.paused_at IS NOT NULL) = :paused)
    AND (:created_after::timestamptz IS NULL OR n.created_at >= :created_after)
    AND (:created_before::timestamptz IS NULL OR n.created_at < :created_before)
    AND (:ended_before::timestamptz IS NULL OR n.finished_at < :ended_before)
    AND (:waiting_for::text IS NULL OR (n.status = 'waiting' AND n.awaits::jsonb ? :waiting_for))
    AND (NOT :roots::boolean OR n.parent IS NULL)
GROUP BY 1;

-- name: count_tagged
-- takes: by; tag_name and tag_value; tags, the others as the text of a JSON object, or null; each filter or null
-- index: the tags' own, then the primary key
SELECT i.word, count(*)
FROM {schema}.tags AS t CROSS JOIN LATERAL (
    SELECT CASE :by::text WHEN 'status' THEN n.status WHEN 'program' THEN n.program ELSE n.queue END AS word
    FROM {schema}.instances AS n
    WHERE n.id = t.instance
        AND (:tags::text IS NULL OR n.tags::jsonb @> :tags::jsonb)
        AND (:statuses::text[] IS NULL OR n.status = ANY (:statuses))
        AND (:program::text IS NULL OR n.program = :program) AND (:queue::text IS NULL OR n.queue = :queue)
        AND (:key::text IS NULL OR n.correlation_key = :key)
        AND (:paused::boolean IS NULL OR (n.paused_at IS NOT NULL) = :paused)
        AND (:created_after::timestamptz IS NULL OR n.created_at >= :created_after)
        AND (:created_before::timestamptz IS NULL OR n.created_at < :created_before)
        AND (:ended_before::timestamptz IS NULL OR n.finished_at < :ended_before)
        AND (:waiting_for::text IS NULL OR (n.status = 'waiting' AND n.awaits::jsonb ? :waiting_for))
        AND (NOT :roots::boolean OR n.parent IS NULL)
    LIMIT 1
) AS i
WHERE t.name = :tag_name AND t.value = :tag_value
GROUP BY i.word;

-- name: count_children
-- takes: by; parent; tags as the text of a JSON object, or null; each filter or null
-- index: instances_child
SELECT CASE :by::text WHEN 'status' THEN n.status WHEN 'program' THEN n.program ELSE n.queue END, count(*)
FROM {schema}.instances AS n
WHERE n.parent = :parent::uuid
    AND (:tags::text IS NULL OR n.tags::jsonb @> :tags::jsonb)
    AND (:statuses::text[] IS NULL OR n.status = ANY (:statuses))
    AND (:program::text IS NULL OR n.program = :program) AND (:queue::text IS NULL OR n.queue = :queue)
    AND (:key::text IS NULL OR n.correlation_key = :key)
    AND (:paused::boolean IS NULL OR (n.paused_at IS NOT NULL) = :paused)
    AND (:created_after::timestamptz IS NULL OR n.created_at >= :created_after)
    AND (:created_before::timestamptz IS NULL OR n.created_at < :created_before)
    AND (:ended_before::timestamptz IS NULL OR n.finished_at < :ended_before)
    AND (:waiting_for::text IS NULL OR (n.status = 'waiting' AND n.awaits::jsonb ? :waiting_for))
    AND (NOT :roots::boolean OR n.parent IS NULL)
GROUP BY 1;
