-- name: post
-- takes: calls as parallel arrays, in the order in which they were made; late_s, how long a call is kept after it must not
-- be begun any more; now or null
-- gives: for each its place, whether it is new, and the living node that owns the object or null, in order. One that is
-- there already, or whose key the object knows, is not new
-- index: calls' own key, calls_key
-- Numbered in their order; inserted in that of their keys: two batches with the same keys cannot wait for each other.
WITH made AS (
    INSERT INTO {schema}.calls (number, call, type, id, handler, args, sender, key, chain, keep_s, made_at, deadline_at,
        expires_at)
    SELECT p.number, p.call, p.type, p.id, p.handler, p.args, p.sender, p.key, p.chain, p.keep_s,
        COALESCE(:now::timestamptz, now()), COALESCE(:now, now()) + p.timeout_s * interval '1 second',
        COALESCE(:now, now()) + (p.timeout_s
            + CASE WHEN p.key IS NULL THEN :late_s::double precision ELSE GREATEST(:late_s, p.keep_s) END)
            * interval '1 second'
    FROM (
        SELECT nextval('{schema}.calls_number_seq') AS number, g.*
        FROM unnest(:calls::uuid[], :types::text[], :ids::text[], :handlers::text[], :args::text[], :senders::text[],
                :keys::text[], :chains::text[], :timeouts_s::double precision[], :keeps_s::double precision[])
            AS g (call, type, id, handler, args, sender, key, chain, timeout_s, keep_s)
        OFFSET 0
    ) AS p
    ORDER BY p.type, p.id, p.key, p.number
    ON CONFLICT DO NOTHING
    RETURNING call
)
SELECT g.place, made.call IS NOT NULL, (
        SELECT (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node)
        FROM {schema}.objects AS o WHERE o.type = g.type AND o.id = g.id
    )
FROM unnest(:calls, :types, :ids) WITH ORDINALITY AS g (call, type, id, place)
LEFT JOIN made ON made.call = g.call
ORDER BY g.place;

-- name: find_keyed
-- takes: type, id and key of calls as parallel arrays
-- gives: type, id, key, and the call that has it or null
-- index: calls_key
-- A statement of its own: what another transaction has stored meanwhile is not in the picture of the one that met it.
SELECT g.type, g.id, g.key, (
        SELECT c.call::text FROM {schema}.calls AS c WHERE c.type = g.type AND c.id = g.id AND c.key = g.key
    )
FROM unnest(:types::text[], :ids::text[], :keys::text[]) AS g (type, id, key);

-- name: revive_calls
-- takes: calls as for post, whose keys others have; late_s; now or null
-- index: calls' own key
-- Made again, a call that nobody has answered may be begun as long as the newest one may.
UPDATE {schema}.calls AS c
SET deadline_at = GREATEST(c.deadline_at, COALESCE(:now::timestamptz, now()) + w.timeout_s * interval '1 second'),
    expires_at = GREATEST(c.expires_at, COALESCE(:now, now())
        + (w.timeout_s + GREATEST(:late_s::double precision, w.keep_s)) * interval '1 second'),
    sender = COALESCE(w.sender, c.sender)
FROM unnest(:calls::uuid[], :senders::text[], :timeouts_s::double precision[], :keeps_s::double precision[])
    AS w (call, sender, timeout_s, keep_s)
WHERE c.call = ANY (:calls) AND c.call = w.call AND num_nulls(c.answered_at) = 1 AND c.deadline_at IS NOT NULL
    AND w.timeout_s IS NOT NULL;

-- name: waiting_calls
-- takes: node; types; list_max; now or null
-- gives: calls without an answer to objects that `node` owns or nobody does, in the order in which they were made
-- index: calls_waiting, objects' own key
SELECT c.call::text, c.type, c.id, c.handler, c.args, c.sender, c.key, c.chain,
    extract(epoch FROM c.deadline_at - COALESCE(:now::timestamptz, now()))::double precision, c.holder IS NOT NULL
FROM unnest(:types::text[]) AS t (type) CROSS JOIN LATERAL (
    SELECT f.* FROM (
        SELECT q.*, (
                SELECT (SELECT n.id FROM {schema}.nodes AS n WHERE n.id = o.node)
                FROM {schema}.objects AS o WHERE o.type = q.type AND o.id = q.id
            ) AS holder
        FROM {schema}.calls AS q
        WHERE q.type = t.type AND q.answered_at IS NULL
            AND (q.deadline_at IS NULL OR q.deadline_at > COALESCE(:now, now()))
        ORDER BY q.number OFFSET 0
    ) AS f
    WHERE f.holder IS NULL OR f.holder = :node::text
    LIMIT :list_max::bigint
) AS c
ORDER BY c.number LIMIT :list_max;

-- name: answers
-- takes: calls
-- gives: call, result and error of those that have an answer
-- index: calls' own key
SELECT call::text, result, error FROM {schema}.calls WHERE call = ANY (:calls::uuid[]) AND answered_at IS NOT NULL;

-- name: answer_calls
-- takes: answers as parallel arrays, sorted by call, each with its object; kept_s, how long one without a key is kept; now
-- or null
-- index: calls' own key
-- Of those that nobody waits for and no key remembers nothing is kept. What is null is counted, so that no index of calls
-- without an answer seems to serve.
WITH gone AS (
    DELETE FROM {schema}.calls AS c
    USING unnest(:calls::uuid[], :types::text[], :ids::text[]) AS w (call, type, id)
    WHERE c.call = ANY (:calls) AND c.call = w.call AND c.type = w.type AND c.id = w.id AND num_nulls(c.answered_at) = 1
        AND c.sender IS NULL AND c.key IS NULL
)
UPDATE {schema}.calls AS c
SET answered_at = COALESCE(:now::timestamptz, now()), result = w.result, error = w.error,
    expires_at = COALESCE(:now, now())
        + CASE WHEN c.key IS NULL THEN :kept_s::double precision ELSE c.keep_s END * interval '1 second'
FROM unnest(:calls, :types, :ids, :results::text[], :errors::text[]) AS w (call, type, id, result, error)
WHERE c.call = ANY (:calls) AND c.call = w.call AND c.type = w.type AND c.id = w.id AND num_nulls(c.answered_at) = 1
    AND (c.sender IS NOT NULL OR c.key IS NOT NULL);

-- name: drop_calls
-- takes: calls, sorted
-- index: calls' own key
-- What has a key stays: it may be asked for again.
DELETE FROM {schema}.calls WHERE call = ANY (:calls::uuid[]) AND key IS NULL;

-- name: prune_calls
-- takes: prune_max; now or null
-- gives: the count of calls deleted
-- index: calls_expired, then calls' own key
DELETE FROM {schema}.calls
WHERE call = ANY (ARRAY(
        SELECT c.call FROM {schema}.calls AS c
        WHERE c.expires_at IS NOT NULL AND c.expires_at <= COALESCE(:now::timestamptz, now())
        ORDER BY c.expires_at
        LIMIT :prune_max::bigint
        FOR UPDATE SKIP LOCKED));
