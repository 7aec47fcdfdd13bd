-- name: add_tags
-- takes: ids and their tags (texts of JSON objects) as parallel arrays
-- index: the tags' own, then the primary key
-- Only those that an instance has: one that was not inserted has none, and one that was there before keeps its own.
INSERT INTO {schema}.tags (name, value, instance)
SELECT t.key, t.value, i.id
FROM unnest(:ids::uuid[], :tags::text[]) AS g (id, tags) CROSS JOIN LATERAL (
    SELECT n.id, n.tags FROM {schema}.instances AS n WHERE n.id = g.id AND n.tags = g.tags LIMIT 1
) AS i CROSS JOIN LATERAL jsonb_each_text(i.tags::jsonb) AS t (key, value)
ON CONFLICT DO NOTHING;

-- name: forget_tags
-- takes: ids of instances that are deleted, or get other tags, in the same transaction
-- index: the tags' own, then the primary key
DELETE FROM {schema}.tags WHERE ctid = ANY (ARRAY(
    SELECT k.ctid FROM {schema}.instances AS i
    CROSS JOIN LATERAL jsonb_each_text(i.tags::jsonb) AS g (key, value)
    CROSS JOIN LATERAL (
        SELECT t.ctid FROM {schema}.tags AS t
        WHERE t.name = g.key AND t.value = g.value AND t.instance = i.id LIMIT 1
    ) AS k
    WHERE i.id = ANY (:ids::uuid[])
));

-- name: read_tags
-- takes: ids
-- gives: id and tags of those that exist, locked
-- index: primary key
SELECT id::text, tags FROM {schema}.instances WHERE id = ANY (:ids::uuid[]) ORDER BY instances.id FOR NO KEY UPDATE;

-- name: write_tags
-- takes: ids and their tags (texts of JSON objects, or null) as parallel arrays
-- index: primary key
UPDATE {schema}.instances AS i SET tags = g.tags
FROM unnest(:ids::uuid[], :tags::text[]) AS g (id, tags)
WHERE i.id = ANY (:ids) AND i.id = g.id;
