-- name: post
-- takes: calls, a JSON array of rows in the order in which they were made; late_us, how long a call is kept after it must
-- not be begun any more; now_us
-- gives: nothing; one that is there already, or whose key the object knows, is left out
-- index: calls' own key, calls_key
INSERT INTO {schema}_calls (call, type, id, handler, args, sender, key, chain, keep_s, made_us, deadline_us, expires_us)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
    json_extract(value, '$[9]'), :now_us, :now_us + CAST(json_extract(value, '$[8]') * 1000000 AS INTEGER),
    :now_us + CAST(json_extract(value, '$[8]') * 1000000 AS INTEGER)
        + CASE WHEN json_extract(value, '$[6]') IS NULL THEN :late_us
            ELSE max(:late_us, CAST(json_extract(value, '$[9]') * 1000000 AS INTEGER)) END
FROM json_each(:calls)
WHERE true
ORDER BY json_each.key
ON CONFLICT DO NOTHING;

-- name: revive_calls
-- takes: calls, as for post in the same transaction; late_us; now_us
-- index: calls_key
-- Made again, a call that nobody has answered may be begun as long as the newest one may.
UPDATE {schema}_calls
SET deadline_us = max(deadline_us, :now_us + w.timeout_us),
    expires_us = max(expires_us, :now_us + w.timeout_us + max(:late_us, w.keep_us)), sender = COALESCE(w.sender, {schema}_calls.sender)
FROM (
    SELECT json_extract(value, '$[0]') AS call, json_extract(value, '$[1]') AS type, json_extract(value, '$[2]') AS id,
        json_extract(value, '$[5]') AS sender, json_extract(value, '$[6]') AS key,
        CAST(json_extract(value, '$[8]') * 1000000 AS INTEGER) AS timeout_us,
        CAST(json_extract(value, '$[9]') * 1000000 AS INTEGER) AS keep_us
    FROM json_each(:calls)
) AS w
WHERE w.key IS NOT NULL AND w.timeout_us IS NOT NULL AND {schema}_calls.type = w.type AND {schema}_calls.id = w.id
    AND {schema}_calls.key = w.key AND {schema}_calls.call <> w.call AND answered_us IS NULL AND deadline_us IS NOT NULL;

-- name: posted
-- takes: calls, as for post in the same transaction
-- gives: for each the call that has its key, or itself, and the living node that owns the object or null, in order
-- index: calls_key, objects' own key
SELECT COALESCE(
        (SELECT c.call FROM {schema}_calls AS c WHERE c.type = json_extract(w.value, '$[1]')
            AND c.id = json_extract(w.value, '$[2]') AND c.key = json_extract(w.value, '$[6]')),
        json_extract(w.value, '$[0]')),
    (SELECT n.id FROM {schema}_objects AS o CROSS JOIN {schema}_nodes AS n ON n.id = o.node
        WHERE o.type = json_extract(w.value, '$[1]') AND o.id = json_extract(w.value, '$[2]'))
FROM json_each(:calls) AS w
ORDER BY w.key;

-- name: waiting_calls
-- takes: node; type; limit; now_us
-- gives: number, and calls without an answer to objects that `node` owns or nobody does, in the order in which they were
-- made
-- index: calls_waiting, objects' own key
-- why it differs: a statement for each type; SQLite has no lateral joins.
SELECT q.number, q.call, q.type, q.id, q.handler, q.args, q.sender, q.key, q.chain,
    (q.deadline_us - :now_us) / 1000000.0,
    EXISTS (SELECT 1 FROM {schema}_objects AS o CROSS JOIN {schema}_nodes AS n ON n.id = o.node
        WHERE o.type = q.type AND o.id = q.id)
FROM {schema}_calls AS q
WHERE q.type = :type AND q.answered_us IS NULL AND (q.deadline_us IS NULL OR q.deadline_us > :now_us)
    AND NOT EXISTS (
        SELECT 1 FROM {schema}_objects AS o WHERE o.type = q.type AND o.id = q.id AND o.node <> :node
            AND EXISTS (SELECT 1 FROM {schema}_nodes AS n WHERE n.id = o.node))
ORDER BY q.number LIMIT :limit;

-- name: answers
-- takes: calls, a JSON array
-- gives: call, result and error of those that have an answer
-- index: calls' own key
SELECT call, result, error FROM {schema}_calls
WHERE call IN (SELECT value FROM json_each(:calls)) AND answered_us IS NOT NULL;

-- name: drop_answered
-- takes: answers, as for answer_calls
-- index: calls' own key
-- Of those that nobody waits for and no key remembers nothing is kept.
DELETE FROM {schema}_calls
WHERE (call, type, id) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(:answers))
    AND +answered_us IS NULL AND sender IS NULL AND key IS NULL;

-- name: answer_calls
-- takes: answers, a JSON array of [call, type, id, result, error]; kept_s, how long one without a key is kept; now_us
-- index: calls' own key
UPDATE {schema}_calls
SET answered_us = :now_us, result = w.result, error = w.error,
    expires_us = :now_us + CAST(CASE WHEN key IS NULL THEN :kept_s ELSE keep_s END * 1000000 AS INTEGER)
FROM (
    SELECT json_extract(value, '$[0]') AS call, json_extract(value, '$[1]') AS type, json_extract(value, '$[2]') AS id,
        json_extract(value, '$[3]') AS result, json_extract(value, '$[4]') AS error
    FROM json_each(:answers)
) AS w
WHERE {schema}_calls.call = w.call AND {schema}_calls.type = w.type AND {schema}_calls.id = w.id
    AND +answered_us IS NULL;

-- name: drop_calls
-- takes: calls, a JSON array
-- index: calls' own key
-- What has a key stays: it may be asked for again.
DELETE FROM {schema}_calls WHERE call IN (SELECT value FROM json_each(:calls)) AND key IS NULL;

-- name: prune_calls
-- takes: limit; now_us
-- gives: the count of calls deleted
-- index: calls_expired
DELETE FROM {schema}_calls
WHERE number IN (
    SELECT number FROM {schema}_calls WHERE expires_us IS NOT NULL AND expires_us <= :now_us ORDER BY expires_us LIMIT :limit);
