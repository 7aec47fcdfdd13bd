-- Every parameter is text, or null, and says so: drivers and their owners disagree on how all else is sent. Above all,
-- a parameter of type json would pass through whatever JSON codec the caller has given to the connection.

-- name: add
-- takes: rows, a JSON array of objects with the fields of NewInstance; now_us, or null for the server's now; message
--     for the doorbell, or null
-- gives: the count of rows inserted; a row whose id or correlation key is taken is left out. The doorbell rings when
--     the caller commits.
-- index: primary key, instances_key
-- One statement, so that ringing costs no round trip. Inserted in the order of keys, as the store does: two callers
-- with the same keys wait for each other but cannot lock each other out. Not now(), as in the store: the caller's
-- transaction may have begun long ago.
WITH added AS (
    INSERT INTO "{schema}".instances (id, program, version, queue, priority, step, state, correlation_key,
        correlation_scope, timeout_s, status, due_at, created_at, concurrency_key, rate_limit, rate_weight, fair_key,
        fair_weight, trace, tags)
    SELECT r.id, r.program, r.version, r.queue, r.priority, r.step, r.state, r.correlation_key,
        r.correlation_scope, r.timeout_s,
        CASE WHEN r.due_at > r.now_at OR r.concurrency_key IS NOT NULL OR r.rate_limit IS NOT NULL THEN 'scheduled'
            ELSE 'ready' END,
        r.due_at, r.now_at, r.concurrency_key, r.rate_limit, r.rate_weight, r.fair_key, r.fair_weight, r.trace, r.tags
    FROM (
        SELECT given.*, clock.now_at,
            COALESCE(to_timestamp(given.due_us / 1000000.0),
                clock.now_at + COALESCE(given.delay_s, 0) * interval '1 second') AS due_at
        FROM json_to_recordset(CAST(CAST(:rows AS text) AS json)) AS given (id uuid, program text, version integer,
                queue text, priority integer, step text, state text, correlation_key text, correlation_scope text,
                delay_s double precision, due_us bigint, timeout_s double precision, concurrency_key text,
                rate_limit text, rate_weight double precision, fair_key text, fair_weight double precision, trace text,
                tags text)
            CROSS JOIN (
                SELECT COALESCE(to_timestamp(CAST(CAST(:now_us AS text) AS bigint) / 1000000.0), statement_timestamp())
                    AS now_at
            ) AS clock
    ) AS r
    ORDER BY r.correlation_key COLLATE "C", r.id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*), (
    SELECT CAST(pg_notify('{schema}', CAST(:message AS text)) AS text) WHERE CAST(:message AS text) IS NOT NULL
)
FROM added;

-- name: tag
-- takes: rows as for add
-- gives: 1 for each tag of those that were inserted, by which they are found
-- index: the tags' own, then the primary key
INSERT INTO "{schema}".tags (name, value, instance)
SELECT t.key, t.value, i.id
FROM json_to_recordset(CAST(CAST(:rows AS text) AS json)) AS g (id uuid, tags text) CROSS JOIN LATERAL (
    SELECT n.id, n.tags FROM "{schema}".instances AS n WHERE n.id = g.id AND n.tags = g.tags LIMIT 1
) AS i CROSS JOIN LATERAL jsonb_each_text(CAST(i.tags AS jsonb)) AS t (key, value)
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: holders
-- takes: rows as for add
-- gives: those that are not in the table: id, key, id of the key's holder (or null)
-- index: primary key, instances_key
SELECT CAST(r.id AS text), r.correlation_key, CAST(held.id AS text)
FROM json_to_recordset(CAST(CAST(:rows AS text) AS json)) AS r (id uuid, correlation_key text)
LEFT JOIN "{schema}".instances AS held ON held.correlation_key = r.correlation_key
    AND strpos(held.correlation_scope, ',' || held.status || ',') > 0
WHERE NOT EXISTS (SELECT 1 FROM "{schema}".instances AS mine WHERE mine.id = r.id);
