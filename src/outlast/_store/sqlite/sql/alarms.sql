-- name: due_alarms
-- takes: node; type; limit; now_us
-- gives: due alarms of objects of this type that `node` owns or nobody does, the earliest first
-- index: alarms_due, objects' own key
-- An alarm whose object was never made is nobody's.
-- why it differs: a statement for each type; SQLite has no lateral joins.
SELECT a.type, a.id, a.name, a.revision, a.due_us, NULL, a.attempt, a.every_s, a.cron, a.zone, a.error, NULL
FROM {schema}_alarms AS a
WHERE a.type = :type AND a.failed_us IS NULL AND a.due_us <= :now_us
    AND NOT EXISTS (
        SELECT 1 FROM {schema}_objects AS o WHERE o.type = a.type AND o.id = a.id AND o.node <> :node
            AND EXISTS (SELECT 1 FROM {schema}_nodes AS n WHERE n.id = o.node))
ORDER BY a.due_us LIMIT :limit;

-- name: next_alarm
-- takes: type; now_us
-- gives: when the next alarm of this type is due that is not due yet, or null
-- index: alarms_due
SELECT min(due_us) FROM {schema}_alarms WHERE type = :type AND failed_us IS NULL AND due_us > :now_us;

-- name: set_alarms
-- takes: alarms, a JSON array of rows, each name once; now_us
-- index: alarms' own key
INSERT INTO {schema}_alarms (type, id, name, revision, due_us, attempt, every_s, cron, zone, error, failed_us)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    COALESCE(json_extract(value, '$[4]'), :now_us + CAST(COALESCE(json_extract(value, '$[5]'), 0) * 1000000 AS INTEGER)),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'), json_extract(value, '$[9]'),
    json_extract(value, '$[10]'), json_extract(value, '$[11]')
FROM json_each(:alarms)
WHERE true
ON CONFLICT (type, id, name) DO UPDATE
SET revision = excluded.revision, due_us = excluded.due_us, attempt = excluded.attempt, every_s = excluded.every_s,
    cron = excluded.cron, zone = excluded.zone, error = excluded.error, failed_us = excluded.failed_us;

-- name: move_alarms
-- takes: moved, a JSON array of [type, id, name, revision, due_us, delay_s, attempt, error, failed]; now_us
-- index: alarms' own key
-- Only what rang: one that was set again meanwhile has another revision.
UPDATE {schema}_alarms
SET due_us = CASE WHEN w.failed THEN due_us
        ELSE COALESCE(w.next_us, :now_us + CAST(w.delay_s * 1000000 AS INTEGER), due_us) END,
    attempt = w.attempt, error = w.error, failed_us = CASE WHEN w.failed THEN :now_us END
FROM (
    SELECT json_extract(value, '$[0]') AS type, json_extract(value, '$[1]') AS id, json_extract(value, '$[2]') AS name,
        json_extract(value, '$[3]') AS revision, json_extract(value, '$[4]') AS next_us,
        json_extract(value, '$[5]') AS delay_s, json_extract(value, '$[6]') AS attempt,
        json_extract(value, '$[7]') AS error, json_extract(value, '$[8]') AS failed
    FROM json_each(:moved)
) AS w
WHERE {schema}_alarms.type = w.type AND {schema}_alarms.id = w.id AND {schema}_alarms.name = w.name
    AND {schema}_alarms.revision = w.revision;

-- name: finish_alarms
-- takes: finished, a JSON array of [type, id, name, revision] of alarms that rang and are done
-- index: alarms' own key
DELETE FROM {schema}_alarms
WHERE (type, id, name, revision) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]')
    FROM json_each(:finished));

-- name: clear_alarms
-- takes: objects, a JSON array of [type, id]
-- index: alarms' own key
DELETE FROM {schema}_alarms
WHERE (type, id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:objects));

-- name: cancel_alarms
-- takes: alarms, a JSON array of [type, id, name]
-- index: alarms' own key
DELETE FROM {schema}_alarms
WHERE (type, id, name) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:alarms));

-- name: object_alarms
-- takes: type; id; limit
-- gives: the earliest first, those that failed for good last
-- index: alarms' own key
SELECT type, id, name, revision, due_us, NULL, attempt, every_s, cron, zone, error, failed_us FROM {schema}_alarms
WHERE type = :type AND id = :id
ORDER BY failed_us IS NOT NULL, due_us, id, name LIMIT :limit;

-- name: type_alarms
-- takes: type; limit
-- gives: the earliest first, those that failed for good last
-- index: alarms_due, alarms_failed
SELECT type, id, name, revision, due_us, NULL, attempt, every_s, cron, zone, error, failed_us
FROM (
    SELECT * FROM (
        SELECT * FROM {schema}_alarms WHERE type = :type AND failed_us IS NULL ORDER BY due_us, id, name LIMIT :limit)
    UNION ALL
    SELECT * FROM (
        SELECT * FROM {schema}_alarms WHERE type = :type AND failed_us IS NOT NULL ORDER BY due_us, id, name LIMIT :limit)
)
ORDER BY failed_us IS NOT NULL, due_us, id, name LIMIT :limit;
