-- name: activate
-- takes: wanted, a JSON array of [type, id, version, state]; node; now_us
-- gives: type, id, version, state, epoch, commits and whether it was made just now, of those that `node` owns now; another
-- living node owns the others (see object_holders)
-- index: objects' own key
-- why it differs: nobody else writes meanwhile, so one statement looks whether owners live, and takes over.
INSERT INTO {schema}_objects AS o (type, id, version, state, node, epoch, born, created_us, updated_us)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    :node, 1, 1, :now_us, :now_us
FROM json_each(:wanted)
WHERE true
ON CONFLICT (type, id) DO UPDATE
SET node = excluded.node, epoch = o.epoch + 1,
    version = CASE WHEN o.state IS NULL THEN excluded.version ELSE o.version END,
    state = COALESCE(o.state, excluded.state),
    born = CASE WHEN o.state IS NULL THEN o.epoch + 1 ELSE o.born END,
    created_us = CASE WHEN o.state IS NULL THEN excluded.created_us ELSE o.created_us END,
    updated_us = CASE WHEN o.state IS NULL THEN excluded.updated_us ELSE o.updated_us END,
    expires_us = CASE WHEN o.expires_s BETWEEN 0 AND 1e10 THEN excluded.updated_us + CAST(o.expires_s * 1000000 AS INTEGER) END
WHERE o.node IS NULL OR o.node = excluded.node OR NOT EXISTS (SELECT 1 FROM {schema}_nodes AS n WHERE n.id = o.node)
RETURNING type, id, version, state, epoch, commits, born = epoch;

-- name: object_holders
-- takes: objects, a JSON array of [type, id]
-- gives: type, id and node of those that a living node owns
-- index: objects' own key
SELECT o.type, o.id, n.id
FROM json_each(:objects) AS w
CROSS JOIN {schema}_objects AS o ON o.type = json_extract(w.value, '$[0]') AND o.id = json_extract(w.value, '$[1]')
CROSS JOIN {schema}_nodes AS n ON n.id = o.node;

-- name: save_objects
-- takes: node; saved, a JSON array of [type, id, epoch, commit, version, state, expires_s]: a null state for one that is
-- deleted; now_us
-- gives: the count of those written. Fewer than the batch means that some are no longer owned, or were written by an
-- earlier try (see saved_objects)
-- index: objects' own key
-- One that is deleted stays without a state and an owner, until it expires. The plus keeps SQLite from walking through all
-- that the node owns.
UPDATE {schema}_objects
SET version = w.version, state = w.state, commits = w.number, commit_epoch = w.epoch,
    node = CASE WHEN w.state IS NULL THEN NULL ELSE node END, updated_us = :now_us, expires_s = w.expires_s,
    expires_us = :now_us + CAST(w.expires_s * 1000000 AS INTEGER)
FROM (
    SELECT json_extract(value, '$[0]') AS type, json_extract(value, '$[1]') AS id, json_extract(value, '$[2]') AS epoch,
        json_extract(value, '$[3]') AS number, json_extract(value, '$[4]') AS version,
        json_extract(value, '$[5]') AS state, json_extract(value, '$[6]') AS expires_s
    FROM json_each(:saved)
) AS w
WHERE {schema}_objects.type = w.type AND {schema}_objects.id = w.id AND +{schema}_objects.node = :node
    AND {schema}_objects.epoch = w.epoch AND {schema}_objects.commits < w.number;

-- name: save_object
-- takes: node; of one commit type, id, epoch, its number, version, state, expires_s; now_us
-- gives: the count of those written; none: see save_objects
-- index: objects' own key
-- What one call leaves that comes alone.
UPDATE {schema}_objects
SET version = :version, state = :state, commits = :commit, commit_epoch = :epoch, updated_us = :now_us,
    expires_s = :expires_s, expires_us = :now_us + CAST(:expires_s * 1000000 AS INTEGER)
WHERE type = :type AND id = :id AND +node = :node AND epoch = :epoch AND commits < :commit;

-- name: find_unsaved
-- takes: node; numbers, a JSON array of [type, id, epoch, commit]
-- gives: type and id of those that save_objects will write in the same transaction
-- index: objects' own key
SELECT o.type, o.id
FROM json_each(:numbers) AS w
CROSS JOIN {schema}_objects AS o ON o.type = json_extract(w.value, '$[0]') AND o.id = json_extract(w.value, '$[1]')
WHERE o.node = :node AND o.epoch = json_extract(w.value, '$[2]') AND o.commits < json_extract(w.value, '$[3]');

-- name: saved_objects
-- takes: numbers, a JSON array of [type, id, epoch, commit]
-- gives: type and id of those whose last write is this very commit's: written now, or by an earlier try
-- index: objects' own key
SELECT o.type, o.id
FROM json_each(:numbers) AS w
CROSS JOIN {schema}_objects AS o ON o.type = json_extract(w.value, '$[0]') AND o.id = json_extract(w.value, '$[1]')
WHERE o.commit_epoch = json_extract(w.value, '$[2]') AND o.commits = json_extract(w.value, '$[3]');

-- name: owned_objects
-- takes: node; held, a JSON array of [type, id, epoch]
-- gives: type and id of those that the node owns under that epoch
-- index: objects' own key
SELECT o.type, o.id
FROM json_each(:held) AS w
CROSS JOIN {schema}_objects AS o ON o.type = json_extract(w.value, '$[0]') AND o.id = json_extract(w.value, '$[1]')
WHERE o.node = :node AND o.epoch = json_extract(w.value, '$[2]');

-- name: release_objects
-- takes: node; held, a JSON array of [type, id, epoch]; now_us
-- index: objects' own key
-- What expires does so this long after it was used last, if only to be read.
UPDATE {schema}_objects
SET node = NULL, expires_us = CASE WHEN expires_s BETWEEN 0 AND 1e10 THEN :now_us + CAST(expires_s * 1000000 AS INTEGER) END
FROM (
    SELECT json_extract(value, '$[0]') AS type, json_extract(value, '$[1]') AS id, json_extract(value, '$[2]') AS epoch
    FROM json_each(:held)
) AS w
WHERE {schema}_objects.type = w.type AND {schema}_objects.id = w.id AND +{schema}_objects.node = :node
    AND {schema}_objects.epoch = w.epoch;

-- name: release_all
-- takes: node; now_us
-- index: objects_node
UPDATE {schema}_objects SET node = NULL, expires_us = CASE WHEN expires_s BETWEEN 0 AND 1e10 THEN :now_us + CAST(expires_s * 1000000 AS INTEGER) END WHERE node = :node;

-- name: get_object
-- index: objects' own key
SELECT type, id, version, state, (SELECT n.id FROM {schema}_nodes AS n WHERE n.id = node), epoch, commits, created_us,
    updated_us
FROM {schema}_objects
WHERE type = :type AND id = :id AND state IS NOT NULL;

-- name: list_objects
-- takes: type; the id to go on behind; owned: only those that a living node owns, or only the others, or null; limit
-- index: objects' own key
SELECT type, id, version, state, (SELECT n.id FROM {schema}_nodes AS n WHERE n.id = node), epoch, commits, created_us,
    updated_us
FROM {schema}_objects
WHERE type = :type AND id > :after AND state IS NOT NULL
    AND (:owned IS NULL OR :owned = EXISTS (SELECT 1 FROM {schema}_nodes AS n WHERE n.id = node))
ORDER BY id LIMIT :limit;

-- name: count_objects
-- gives: type, how many there are, how many of them living nodes own
-- index: none; reads the whole table
SELECT type, count(*), count((SELECT n.id FROM {schema}_nodes AS n WHERE n.id = node)) FROM {schema}_objects
WHERE state IS NOT NULL
GROUP BY type ORDER BY type;

-- name: find_expired_objects
-- takes: limit; now_us
-- gives: type and id of objects to delete
-- index: objects_expired, calls_object, alarms' own key
SELECT o.type, o.id FROM {schema}_objects AS o
WHERE o.expires_us IS NOT NULL AND o.expires_us <= :now_us
    AND (o.state IS NULL OR (
        NOT EXISTS (SELECT 1 FROM {schema}_nodes AS n WHERE n.id = o.node)
        AND NOT EXISTS (SELECT 1 FROM {schema}_calls AS c WHERE c.type = o.type AND c.id = o.id AND c.answered_us IS NULL
            AND (c.deadline_us IS NULL OR c.deadline_us > :now_us))
        AND NOT EXISTS (SELECT 1 FROM {schema}_alarms AS a WHERE a.type = o.type AND a.id = o.id AND a.failed_us IS NULL)))
ORDER BY o.expires_us LIMIT :limit;

-- name: drop_expired_objects
-- takes: objects, a JSON array of [type, id], as given by find_expired_objects in the same transaction
-- index: objects' own key
DELETE FROM {schema}_objects
WHERE (type, id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:objects));
