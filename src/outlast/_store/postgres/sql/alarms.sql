-- Keys are looked up one by one, as in objects.sql. Nothing here but the lists and the look for due ones may be served by a partial
-- index: planned on an empty table it would seem as good as the primary key.

-- name: due_alarms
-- takes: node; types; list_max; now or null
-- gives: the clock (microseconds since 1970), seconds until the next alarm of these types that is not due yet (or null), and
-- in each row a due alarm of an object that `node` owns or nobody does, the earliest first; one row of nulls when none is
-- index: alarms_due, objects' own key
-- An alarm whose object was never made is nobody's.
WITH clock AS MATERIALIZED (SELECT COALESCE(:now::timestamptz, now()) AS now), due AS (
    SELECT d.* FROM unnest(:types::text[]) AS t (type) CROSS JOIN LATERAL (
        SELECT f.* FROM (
            SELECT a.*, (
                    SELECT (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node)
                    FROM {schema}.objects AS o WHERE o.type = a.type AND o.id = a.id
                ) AS holder
            FROM {schema}.alarms AS a
            WHERE a.type = t.type AND a.failed_at IS NULL AND a.due_at <= (SELECT clock.now FROM clock)
            ORDER BY a.due_at OFFSET 0
        ) AS f
        WHERE f.holder IS NULL OR f.holder = :node::text
        LIMIT :list_max::bigint
    ) AS d
    ORDER BY d.due_at, d.type, d.id, d.name LIMIT :list_max
)
SELECT (extract(epoch FROM clock.now) * 1000000)::bigint,
    (SELECT extract(epoch FROM min(l.due_at) - clock.now)::double precision
        FROM unnest(:types) AS t (type) CROSS JOIN LATERAL (
            SELECT a.due_at FROM {schema}.alarms AS a
            WHERE a.type = t.type AND a.failed_at IS NULL AND a.due_at > (SELECT clock.now FROM clock)
            ORDER BY a.due_at LIMIT 1
        ) AS l),
    due.type, due.id, due.name, due.revision, (extract(epoch FROM due.due_at) * 1000000)::bigint, NULL::double precision,
    due.attempt, due.every_s, due.cron, due.zone, due.error, NULL::bigint
FROM clock LEFT JOIN due ON true
ORDER BY due.due_at, due.type, due.id, due.name;

-- name: set_alarms
-- takes: alarms as parallel arrays, sorted by type, id and name, each once; now or null
-- index: alarms' own key
INSERT INTO {schema}.alarms (type, id, name, revision, due_at, attempt, every_s, cron, zone, error, failed_at)
SELECT w.type, w.id, w.name, w.revision,
    COALESCE(w.due_at, COALESCE(:now::timestamptz, now()) + COALESCE(w.delay_s, 0) * interval '1 second'), w.attempt,
    w.every_s, w.cron, w.zone, w.error, w.failed_at
FROM unnest(:types::text[], :ids::text[], :names::text[], :revisions::text[], :dues_at::timestamptz[],
        :delays_s::double precision[], :attempts::integer[], :every_s::double precision[], :crons::text[],
        :zones::text[], :errors::text[], :failed_at::timestamptz[])
    AS w (type, id, name, revision, due_at, delay_s, attempt, every_s, cron, zone, error, failed_at)
ORDER BY w.type, w.id, w.name
ON CONFLICT (type, id, name) DO UPDATE
SET revision = EXCLUDED.revision, due_at = EXCLUDED.due_at, attempt = EXCLUDED.attempt, every_s = EXCLUDED.every_s,
    cron = EXCLUDED.cron, zone = EXCLUDED.zone, error = EXCLUDED.error, failed_at = EXCLUDED.failed_at;

-- name: move_alarms
-- takes: alarms that rang, as parallel arrays, sorted by type, id and name; now or null
-- index: alarms' own key
-- Only what rang: one that was set again meanwhile has another revision.
UPDATE {schema}.alarms AS a
SET due_at = CASE WHEN w.failed THEN a.due_at
        ELSE COALESCE(w.due_at, COALESCE(:now::timestamptz, now()) + w.delay_s * interval '1 second', a.due_at) END,
    attempt = w.attempt, error = w.error, failed_at = CASE WHEN w.failed THEN COALESCE(:now, now()) END
FROM unnest(:types::text[], :ids::text[], :names::text[], :revisions::text[], :dues_at::timestamptz[],
        :delays_s::double precision[], :attempts::integer[], :errors::text[], :failed::boolean[])
    AS w (type, id, name, revision, due_at, delay_s, attempt, error, failed)
WHERE a.type = ANY (ARRAY[w.type]) AND a.id BETWEEN w.id AND w.id AND a.name BETWEEN w.name AND w.name
    AND a.revision = ANY (ARRAY[w.revision]);

-- name: finish_alarms
-- takes: alarms that rang and are done, as parallel arrays, sorted by type, id and name
-- index: alarms' own key
DELETE FROM {schema}.alarms AS a
USING unnest(:types::text[], :ids::text[], :names::text[], :revisions::text[]) AS w (type, id, name, revision)
WHERE a.type = ANY (ARRAY[w.type]) AND a.id BETWEEN w.id AND w.id AND a.name BETWEEN w.name AND w.name
    AND a.revision = ANY (ARRAY[w.revision]);

-- name: clear_alarms
-- takes: objects as parallel arrays, sorted by type and id
-- index: alarms' own key
DELETE FROM {schema}.alarms AS a
USING unnest(:types::text[], :ids::text[]) AS w (type, id)
WHERE a.type = ANY (ARRAY[w.type]) AND a.id BETWEEN w.id AND w.id;

-- name: cancel_alarms
-- takes: alarms as parallel arrays, sorted by type, id and name
-- index: alarms' own key
DELETE FROM {schema}.alarms AS a
USING unnest(:types::text[], :ids::text[], :names::text[]) AS w (type, id, name)
WHERE a.type = ANY (ARRAY[w.type]) AND a.id BETWEEN w.id AND w.id AND a.name BETWEEN w.name AND w.name;

-- name: object_alarms
-- takes: type; id; list_max
-- gives: the earliest first, those that failed for good last
-- index: alarms' own key
SELECT type, id, name, revision, (extract(epoch FROM due_at) * 1000000)::bigint, NULL::double precision, attempt, every_s,
    cron, zone, error, (extract(epoch FROM failed_at) * 1000000)::bigint
FROM {schema}.alarms
WHERE type = :type AND id = :id
ORDER BY failed_at IS NOT NULL, due_at, id, name LIMIT :list_max::bigint;

-- name: type_alarms
-- takes: type; list_max
-- gives: the earliest first, those that failed for good last
-- index: alarms_due, alarms_failed
SELECT type, id, name, revision, (extract(epoch FROM due_at) * 1000000)::bigint, NULL::double precision, attempt, every_s,
    cron, zone, error, (extract(epoch FROM failed_at) * 1000000)::bigint
FROM (
    (SELECT * FROM {schema}.alarms WHERE type = :type AND failed_at IS NULL
        ORDER BY due_at, id, name LIMIT :list_max::bigint)
    UNION ALL
    (SELECT * FROM {schema}.alarms WHERE type = :type AND failed_at IS NOT NULL
        ORDER BY due_at, id, name LIMIT :list_max)
) AS a
ORDER BY failed_at IS NOT NULL, due_at, id, name LIMIT :list_max;
