-- name: add_tags
-- takes: tags, a JSON array of [instance, its tags as the text of a JSON object]
-- index: the tags' own, then the primary key
-- Only those that an instance has: one that was not inserted has none, and one that was there before keeps its own.
INSERT INTO {schema}_tags (name, value, instance)
SELECT t.key, t.value, i.id
FROM json_each(:tags) AS g CROSS JOIN {schema}_instances AS i ON i.id = json_extract(g.value, '$[0]')
CROSS JOIN json_each(i.tags) AS t
WHERE i.tags = json_extract(g.value, '$[1]')
ON CONFLICT DO NOTHING;

-- name: forget_tags
-- takes: ids, a JSON array of instances that are deleted, or get other tags, in the same transaction
-- index: the tags' own, primary key
DELETE FROM {schema}_tags WHERE (name, value, instance) IN (
    SELECT t.key, t.value, i.id
    FROM {schema}_instances AS i CROSS JOIN json_each(i.tags) AS t
    WHERE i.id IN (SELECT g.value FROM json_each(:ids) AS g) AND i.tags IS NOT NULL
);

-- name: read_tags
-- takes: ids, a JSON array
-- gives: one JSON array of [id, tags] of those that exist
-- index: primary key
SELECT json_group_array(json_array(id, tags)) FROM {schema}_instances WHERE id IN (SELECT value FROM json_each(:ids));

-- name: write_tags
-- takes: tags, a JSON array of [instance, its tags as the text of a JSON object, or null]
-- index: primary key
UPDATE {schema}_instances SET tags = g.tags
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS tags FROM json_each(:tags)) AS g
WHERE {schema}_instances.id = g.id;
