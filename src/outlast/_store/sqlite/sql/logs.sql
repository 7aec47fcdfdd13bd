-- name: write_logs
-- takes: lines, a JSON array of [instance, number, at_us, level, message, source, step, attempt, fields]
-- index: logs' own key, primary key
-- Not fenced: what a failed or lost attempt has said was said. Lines of instances that are gone are left out.
INSERT INTO {schema}_logs (instance, number, at_us, level, message, source, step, attempt, fields)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
    json_extract(value, '$[8]')
FROM json_each(:lines)
WHERE EXISTS (SELECT 1 FROM {schema}_instances WHERE id = json_extract(json_each.value, '$[0]'))
ON CONFLICT (instance, number) DO NOTHING;

-- name: trim_logs
-- takes: ids, a JSON array; lines_max, how many of each one's lines stay: the newest
-- index: logs' own key
WITH cut AS MATERIALIZED (
    SELECT value AS instance,
        (SELECT number FROM {schema}_logs WHERE instance = value ORDER BY number DESC LIMIT 1 OFFSET :lines_max) AS number
    FROM json_each(:ids)
)
DELETE FROM {schema}_logs WHERE (instance, number) IN (
    SELECT l.instance, l.number
    FROM cut CROSS JOIN {schema}_logs AS l ON l.instance = cut.instance AND l.number <= cut.number
);

-- name: read_logs
-- takes: instance; after, a number; level, the lowest; step, a key, what keys begin with before # or /, or null; limit
-- gives: lines in their order
-- index: logs' own key
SELECT instance, number, at_us, level, message, source, step, attempt, fields FROM {schema}_logs
WHERE instance = :instance AND number > :after AND level >= :level
    AND (:step IS NULL OR step = :step OR substr(step, 1, length(:step) + 1) IN (:step || '#', :step || '/'))
ORDER BY number LIMIT :limit;

-- name: forget_logs
-- takes: ids, a JSON array of instances that are deleted in the same transaction
-- index: logs' own key
DELETE FROM {schema}_logs WHERE instance IN (SELECT value FROM json_each(:ids));
