-- A key of two columns is looked up for each object on its own, by `type = ANY (ARRAY[...])` and `id BETWEEN` it and itself:
-- unlike `=`, these cannot become a join by hash or by merge, which would read the whole table. For the same reason owners are
-- compared by IS NOT DISTINCT FROM, which no index serves. What is left is one look into the primary key for each object, in the
-- order in which they were given. That order is (type, id) in all that locks: two batches cannot wait for each other.

-- name: activate
-- takes: wanted objects as parallel arrays, sorted by type and id; node; now or null
-- gives: type, id, the other living node that owns it or null, and when `node` owns it now: version, state, epoch,
-- commits, whether it was made just now. Left out are those whose owner seems to be dead (see take_over)
-- index: objects' own key
-- This never takes anything from anybody: whether an owner is gone must be looked at after its object was locked, and under
-- READ COMMITTED a statement that waits for a lock goes on with the picture of `nodes` from before.
WITH wanted AS MATERIALIZED (
    SELECT w.type, w.id, w.version, w.state, (
            SELECT (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node AND n.id <> :node::text)
            FROM {schema}.objects AS o WHERE o.type = w.type AND o.id = w.id
        ) AS holder
    FROM unnest(:types::text[], :ids::text[], :versions::integer[], :states::text[]) AS w (type, id, version, state)
), taken AS (
    INSERT INTO {schema}.objects AS o (type, id, version, state, node, epoch, born, created_at, updated_at)
    SELECT type, id, version, state, :node, 1, 1, COALESCE(:now::timestamptz, now()), COALESCE(:now, now())
    FROM wanted WHERE holder IS NULL ORDER BY type, id
    ON CONFLICT (type, id) DO UPDATE
    SET node = EXCLUDED.node, epoch = o.epoch + 1,
        version = CASE WHEN o.state IS NULL THEN EXCLUDED.version ELSE o.version END,
        state = COALESCE(o.state, EXCLUDED.state),
        born = CASE WHEN o.state IS NULL THEN o.epoch + 1 ELSE o.born END,
        created_at = CASE WHEN o.state IS NULL THEN EXCLUDED.created_at ELSE o.created_at END,
        updated_at = CASE WHEN o.state IS NULL THEN EXCLUDED.updated_at ELSE o.updated_at END,
        expires_at = CASE WHEN o.expires_s BETWEEN 0 AND 1e10 THEN EXCLUDED.updated_at + o.expires_s * interval '1 second' END
    WHERE o.node IS NULL OR o.node = EXCLUDED.node
    RETURNING o.type, o.id, o.version, o.state, o.epoch, o.commits, o.born = o.epoch AS is_new
)
SELECT type, id, NULL AS holder, version, state, epoch, commits, is_new FROM taken
UNION ALL
SELECT type, id, holder, NULL, NULL, NULL, NULL, NULL FROM wanted WHERE holder IS NOT NULL;

-- name: lock_objects
-- takes: objects as parallel arrays, sorted by type and id
-- gives: nothing of use; they are locked
-- index: objects' own key
SELECT FROM unnest(:types::text[], :ids::text[]) AS w (type, id) CROSS JOIN LATERAL (
    SELECT FROM {schema}.objects AS o WHERE o.type = w.type AND o.id = w.id FOR NO KEY UPDATE
) AS locked;

-- name: take_over
-- takes: wanted objects as for activate, locked by this transaction; node; now or null
-- gives: as activate
-- index: objects' own key
-- A statement of its own after the locks, so that it sees who has registered while we waited for them.
WITH taken AS (
    UPDATE {schema}.objects AS o
    SET node = :node::text, epoch = o.epoch + 1, version = CASE WHEN o.state IS NULL THEN w.version ELSE o.version END,
        state = COALESCE(o.state, w.state), born = CASE WHEN o.state IS NULL THEN o.epoch + 1 ELSE o.born END,
        created_at = CASE WHEN o.state IS NULL THEN COALESCE(:now::timestamptz, now()) ELSE o.created_at END,
        updated_at = CASE WHEN o.state IS NULL THEN COALESCE(:now, now()) ELSE o.updated_at END,
        expires_at = COALESCE(:now, now()) + o.expires_s * interval '1 second'
    FROM unnest(:types::text[], :ids::text[], :versions::integer[], :states::text[]) AS w (type, id, version, state)
    WHERE o.type = ANY (ARRAY[w.type]) AND o.id BETWEEN w.id AND w.id
        AND (o.node IS NULL OR o.node = :node OR (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node) IS NULL)
    RETURNING o.type, o.id, o.version, o.state, o.epoch, o.commits, o.born = o.epoch AS is_new
)
SELECT type, id, NULL AS holder, version, state, epoch, commits, is_new FROM taken;

-- name: object_holders
-- takes: objects as parallel arrays
-- gives: type, id and node of those that a living node owns
-- index: objects' own key
SELECT h.type, h.id, h.node
FROM (
    SELECT w.type, w.id, (
            SELECT (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node)
            FROM {schema}.objects AS o WHERE o.type = w.type AND o.id = w.id
        ) AS node
    FROM unnest(:types::text[], :ids::text[]) AS w (type, id)
    OFFSET 0
) AS h
WHERE h.node IS NOT NULL;

-- name: save_objects
-- takes: node; commits as parallel arrays, sorted by type and id: the number of each, and a null state for one that is
-- deleted; now or null
-- gives: type and id of those written. Fewer than the batch means that some are no longer owned, or were written by an
-- earlier try (see saved_objects)
-- index: objects' own key
-- One that is deleted stays without a state and an owner, until it expires.
UPDATE {schema}.objects AS o
SET version = w.version, state = w.state, commits = w.commit, commit_epoch = w.epoch,
    node = CASE WHEN w.state IS NULL THEN NULL ELSE o.node END,
    updated_at = COALESCE(:now::timestamptz, now()), expires_s = w.expires_s,
    expires_at = COALESCE(:now, now()) + w.expires_s * interval '1 second'
FROM unnest(:types::text[], :ids::text[], :epochs::bigint[], :commits::bigint[], :versions::integer[], :states::text[],
        :expires_s::double precision[])
    AS w (type, id, epoch, commit, version, state, expires_s)
WHERE o.type = ANY (ARRAY[w.type]) AND o.id BETWEEN w.id AND w.id AND o.node IS NOT DISTINCT FROM :node
    AND o.epoch = ANY (ARRAY[w.epoch]) AND o.commits < w.commit
RETURNING o.type, o.id;

-- name: save_object
-- takes: node; of one commit type, id, epoch, its number, version, state, expires_s; now or null
-- gives: the count of those written; none: see save_objects
-- index: objects' own key
-- What one call leaves that comes alone, in half of the time that save_objects takes for it.
UPDATE {schema}.objects AS o
SET version = :version::integer, state = :state::text, commits = :commit::bigint, commit_epoch = :epoch::bigint,
    updated_at = COALESCE(:now::timestamptz, now()), expires_s = :expires_s::double precision,
    expires_at = COALESCE(:now, now()) + :expires_s * interval '1 second'
WHERE o.type = :type AND o.id = :id AND o.node IS NOT DISTINCT FROM :node AND o.epoch = :epoch AND o.commits < :commit;

-- name: saved_objects
-- takes: type, id, epoch and number of commits as parallel arrays
-- gives: type and id of those whose last write is this very commit's: written now, or by an earlier try
-- index: objects' own key
SELECT w.type, w.id FROM unnest(:types::text[], :ids::text[], :epochs::bigint[], :commits::bigint[])
    AS w (type, id, epoch, commit)
WHERE (SELECT o.commit_epoch = w.epoch AND o.commits = w.commit
    FROM {schema}.objects AS o WHERE o.type = w.type AND o.id = w.id);

-- name: owned_objects
-- takes: node; type, id and epoch as parallel arrays
-- gives: type and id of those that the node owns under that epoch
-- index: objects' own key
SELECT w.type, w.id FROM unnest(:types::text[], :ids::text[], :epochs::bigint[]) AS w (type, id, epoch)
WHERE (SELECT o.node = :node AND o.epoch = w.epoch FROM {schema}.objects AS o WHERE o.type = w.type AND o.id = w.id);

-- name: release_objects
-- takes: node; type, id and epoch as parallel arrays, sorted by type and id; now or null
-- index: objects' own key
-- What expires does so this long after it was used last, if only to be read.
UPDATE {schema}.objects AS o
SET node = NULL,
    expires_at = CASE WHEN o.expires_s BETWEEN 0 AND 1e10
        THEN COALESCE(:now::timestamptz, now()) + o.expires_s * interval '1 second' END
FROM unnest(:types::text[], :ids::text[], :epochs::bigint[]) AS w (type, id, epoch)
WHERE o.type = ANY (ARRAY[w.type]) AND o.id BETWEEN w.id AND w.id AND o.node IS NOT DISTINCT FROM :node
    AND o.epoch = ANY (ARRAY[w.epoch]);

-- name: release_all
-- takes: node; now or null
-- index: objects_node, which has them in the order in which all lock them
UPDATE {schema}.objects
SET node = NULL,
    expires_at = CASE WHEN expires_s BETWEEN 0 AND 1e10
        THEN COALESCE(:now::timestamptz, now()) + expires_s * interval '1 second' END
WHERE node = :node;

-- name: get_object
-- index: objects' own key
SELECT o.type, o.id, o.version, o.state, (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node), o.epoch, o.commits,
    o.created_at, o.updated_at
FROM {schema}.objects AS o
WHERE o.type = :type AND o.id = :id AND o.state IS NOT NULL;

-- name: list_objects
-- takes: type; the id to go on behind; owned: only those that a living node owns, or only the others, or null; list_max
-- index: objects' own key
SELECT f.type, f.id, f.version, f.state, f.node, f.epoch, f.commits, f.created_at, f.updated_at
FROM (
    SELECT o.type, o.id, o.version, o.state, (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node) AS node, o.epoch,
        o.commits, o.created_at, o.updated_at
    FROM {schema}.objects AS o
    WHERE o.type = :type AND o.id > :after AND o.state IS NOT NULL
    ORDER BY o.type, o.id OFFSET 0
) AS f
WHERE :owned::boolean IS NULL OR (f.node IS NOT NULL) = :owned
LIMIT :list_max::bigint;

-- name: count_objects
-- gives: type, how many there are, how many of them living nodes own
-- index: none; reads the whole table
SELECT o.type, count(*), count((SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node)) FROM {schema}.objects AS o
WHERE o.state IS NOT NULL
GROUP BY o.type ORDER BY o.type;

-- name: lock_expired_objects
-- takes: prune_max; now or null
-- gives: type and id of objects to delete, locked
-- index: objects_expired, calls_object, alarms' own key
-- What somebody is writing is skipped: it is in use.
SELECT o.type, o.id FROM {schema}.objects AS o
WHERE o.expires_at IS NOT NULL AND o.expires_at <= COALESCE(:now::timestamptz, now())
    AND (o.state IS NULL OR (
        (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node) IS NULL
        AND (SELECT true FROM {schema}.calls AS c WHERE c.type = o.type AND c.id = o.id AND c.answered_at IS NULL
            AND (c.deadline_at IS NULL OR c.deadline_at > COALESCE(:now, now())) LIMIT 1) IS NULL
        AND (SELECT true FROM {schema}.alarms AS a WHERE a.type = o.type AND a.id = o.id AND num_nulls(a.failed_at) = 1
            LIMIT 1) IS NULL))
ORDER BY o.expires_at
LIMIT :prune_max::bigint
FOR UPDATE OF o SKIP LOCKED;

-- name: drop_expired_objects
-- takes: types and ids, as given by lock_expired_objects in the same transaction; now or null
-- gives: type and id of those deleted
-- index: objects' own key, calls_object, alarms' own key
-- Looks again, with a fresh picture: an owner, a call or an alarm may have come before the locks did.
DELETE FROM {schema}.objects AS o
USING unnest(:types::text[], :ids::text[]) AS w (type, id)
WHERE o.type = ANY (ARRAY[w.type]) AND o.id BETWEEN w.id AND w.id
    AND COALESCE(o.expires_at, 'infinity') <= COALESCE(:now::timestamptz, now())
    AND (o.state IS NULL OR (
        (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node) IS NULL
        AND (SELECT true FROM {schema}.calls AS c WHERE c.type = o.type AND c.id = o.id AND c.answered_at IS NULL
            AND (c.deadline_at IS NULL OR c.deadline_at > COALESCE(:now, now())) LIMIT 1) IS NULL
        AND (SELECT true FROM {schema}.alarms AS a WHERE a.type = o.type AND a.id = o.id AND num_nulls(a.failed_at) = 1
            LIMIT 1) IS NULL))
RETURNING o.type, o.id;
