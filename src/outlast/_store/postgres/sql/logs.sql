-- name: write_logs
-- takes: lines as parallel arrays
-- index: logs' own key, primary key
-- Not fenced: what a failed or lost attempt has said was said. Lines of instances that are gone are left out; the question
-- is one that no planner turns into a join, which would read the whole table.
INSERT INTO {schema}.logs (instance, number, at, level, message, source, step, attempt, fields)
SELECT l.instance, l.number, l.at, l.level, l.message, l.source, l.step, l.attempt, l.fields
FROM unnest(:instances::uuid[], :numbers::bigint[], :ats::timestamptz[], :levels::integer[], :messages::text[],
        :sources::text[], :steps::text[], :attempts::integer[], :fields::text[])
    AS l (instance, number, at, level, message, source, step, attempt, fields)
WHERE (SELECT true FROM {schema}.instances AS i WHERE i.id = l.instance)
ON CONFLICT (instance, number) DO NOTHING;

-- name: trim_logs
-- takes: ids; lines_max, how many of each one's lines stay: the newest
-- index: logs' own key
-- OFFSET 0 keeps the planner from a join, which would read the whole table. Lines are never changed: a ctid stays theirs.
WITH cut AS MATERIALIZED (
    SELECT i.instance, (
        SELECT k.number FROM {schema}.logs AS k WHERE k.instance = i.instance
        ORDER BY k.number DESC LIMIT 1 OFFSET :lines_max::bigint
    ) AS number
    FROM unnest(:ids::uuid[]) AS i (instance)
)
DELETE FROM {schema}.logs WHERE ctid = ANY (ARRAY(
    SELECT old.ctid FROM cut CROSS JOIN LATERAL (
        SELECT l.ctid FROM {schema}.logs AS l WHERE l.instance = cut.instance AND l.number <= cut.number OFFSET 0
    ) AS old
));

-- name: read_logs
-- takes: instance; after, a number; level, the lowest; step, a key, what keys begin with before # or /, or null; list_max
-- gives: lines in their order
-- index: logs' own key
SELECT instance::text, number, (extract(epoch FROM at) * 1000000)::bigint, level, message, source, step, attempt, fields
FROM {schema}.logs
WHERE instance = :instance::uuid AND number > :after::bigint AND level >= :level::integer
    AND (:step::text IS NULL OR step = :step OR starts_with(step, :step || '#') OR starts_with(step, :step || '/'))
ORDER BY number LIMIT :list_max::bigint;

-- name: forget_logs
-- takes: ids of instances that are deleted in the same transaction
-- index: logs' own key
DELETE FROM {schema}.logs WHERE instance = ANY (:ids::uuid[]);
