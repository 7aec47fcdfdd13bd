-- name: prune
-- takes: prune_max; now or null
-- gives: the count of rows deleted, their signals, lines, tags, acts and what workflows have recorded with them
-- index: instances_expired, then the primary key; instances_child; signals_instance
-- Spares the children of parents that have not ended: these may ask for their results. Errands go with their workflows.
-- why it differs: several nodes may prune at once; each skips what another deletes. A workflow with an errand that somebody
-- holds stays for the next time: others lock errands before their workflow, and both would wait for each other.
WITH expired AS (
    SELECT i.id, i.mail, i.step, i.tags FROM {schema}.instances AS i
    WHERE i.expires_at IS NOT NULL AND i.expires_at <= COALESCE(:now::timestamptz, now())
        AND (i.parent IS NULL OR NOT EXISTS (
            SELECT 1 FROM {schema}.instances AS p
            WHERE p.id = i.parent AND (p.finished_at IS NULL OR i.step = '~errand')))
    ORDER BY i.expires_at
    LIMIT :prune_max::bigint
    FOR UPDATE OF i SKIP LOCKED
), sent AS (
    SELECT c.id, c.parent FROM expired CROSS JOIN LATERAL (
        SELECT e.id, e.parent FROM {schema}.instances AS e
        WHERE e.parent = expired.id AND e.round > 1 AND e.step = '~errand'
        FOR UPDATE SKIP LOCKED
    ) AS c WHERE expired.step = 'workflow'
), gone AS (
    SELECT x.id, x.mail, x.step, x.tags FROM expired AS x
    LEFT JOIN (SELECT sent.parent, count(*) AS locked FROM sent GROUP BY sent.parent) AS s ON s.parent = x.id
    WHERE x.step <> 'workflow' OR COALESCE(s.locked, 0) = (
        SELECT count(*) FROM {schema}.instances AS e WHERE e.parent = x.id AND e.round > 1 AND e.step = '~errand')
), leaving AS (
    SELECT gone.id FROM gone UNION ALL SELECT sent.id FROM sent JOIN gone ON gone.id = sent.parent
), forgotten AS (
    DELETE FROM {schema}.signals WHERE instance = ANY (ARRAY(SELECT gone.id FROM gone WHERE gone.mail))
), unrecorded AS (
    DELETE FROM {schema}.journal WHERE instance = ANY (ARRAY(SELECT gone.id FROM gone WHERE gone.step = 'workflow'))
), unsaid AS (
    DELETE FROM {schema}.logs WHERE instance = ANY (ARRAY(SELECT leaving.id FROM leaving))
), untagged AS (
    DELETE FROM {schema}.tags WHERE ctid = ANY (ARRAY(
        SELECT k.ctid FROM gone
        CROSS JOIN LATERAL jsonb_each_text(gone.tags::jsonb) AS g (key, value)
        CROSS JOIN LATERAL (
            SELECT t.ctid FROM {schema}.tags AS t
            WHERE t.name = g.key AND t.value = g.value AND t.instance = gone.id LIMIT 1
        ) AS k
    ))
), undone AS (
    DELETE FROM {schema}.acts WHERE instance = ANY (ARRAY(SELECT leaving.id FROM leaving))
)
DELETE FROM {schema}.instances
WHERE id = ANY (ARRAY(SELECT leaving.id FROM leaving)) AND finished_at IS NOT NULL;

-- name: removable
-- takes: ids
-- gives: those that have ended, but no children of parents that have not: these may ask for their results
-- index: primary key
SELECT i.id::text FROM {schema}.instances AS i
WHERE i.id = ANY (:ids::uuid[]) AND i.finished_at IS NOT NULL
    AND (i.parent IS NULL OR NOT EXISTS (
        SELECT 1 FROM {schema}.instances AS p WHERE p.id = i.parent AND p.finished_at IS NULL));

-- name: lock_removable
-- As removable, locked; those that others hold are left out.
-- index: primary key
SELECT i.id::text FROM {schema}.instances AS i
WHERE i.id = ANY (:ids::uuid[]) AND i.finished_at IS NOT NULL
    AND (i.parent IS NULL OR NOT EXISTS (
        SELECT 1 FROM {schema}.instances AS p WHERE p.id = i.parent AND p.finished_at IS NULL))
FOR UPDATE OF i SKIP LOCKED;

-- name: remove
-- takes: ids, as given by lock_removable in the same transaction
-- index: primary key
DELETE FROM {schema}.instances WHERE id = ANY (:ids::uuid[]) AND finished_at IS NOT NULL;

-- name: server
-- gives: version, whether it is a standby, its clock in microseconds, age of the oldest transaction id of this database
SELECT current_setting('server_version'), pg_is_in_recovery(),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database());

-- name: settings
-- gives: name and value of the settings that decide whether a commit is safe, as new sessions get them
SELECT name, reset_val FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'data_sync_retry', 'autovacuum');

-- name: old_transactions
-- takes: age_s
-- gives: process, application, user, state and age in seconds of transactions that others hold open, oldest first
SELECT pid, application_name, usename::text, state, extract(epoch FROM now() - xact_start)::double precision
FROM pg_stat_activity
WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()
    AND xact_start < now() - :age_s::double precision * interval '1 second'
ORDER BY xact_start LIMIT 3;

-- name: old_prepared
-- takes: age_s
-- gives: name, owner and age in seconds of transactions prepared for a two-phase commit and left
SELECT gid, owner::text, extract(epoch FROM now() - prepared)::double precision FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < now() - :age_s::double precision * interval '1 second'
ORDER BY prepared LIMIT 3;

-- name: standing
-- takes: late_s: what was due so many seconds ago is overdue; now or null
-- gives: the instant; counts of quarantined, overdue and ownerless instances, and seconds since the first was due
-- index: instances_quarantined, instances_due, instances_running
WITH clock AS (SELECT COALESCE(:now::timestamptz, now()) AS now)
SELECT clock.now, (SELECT count(*) FROM {schema}.instances WHERE status = 'quarantined'),
    (SELECT count(*) FROM {schema}.instances
        WHERE status = 'scheduled' AND due_at <= clock.now - :late_s::double precision * interval '1 second'),
    (SELECT count(*) FROM {schema}.instances AS i
        WHERE i.node IS NOT NULL AND i.status = 'running'
            AND NOT EXISTS (SELECT 1 FROM {schema}.nodes AS n WHERE n.id = i.node)),
    (SELECT extract(epoch FROM clock.now - min(due_at))::double precision FROM {schema}.instances
        WHERE status = 'scheduled')
FROM clock;

-- name: ready_programs
-- takes: now or null
-- gives: program, version, queue, count of ready instances, and seconds since the oldest was due
-- index: instances_ready, instances_fair
SELECT r.program, r.version, r.queue, count(*),
    extract(epoch FROM COALESCE(:now::timestamptz, now()) - min(r.due_at))::double precision
FROM (
    SELECT program, version, queue, due_at FROM {schema}.instances WHERE status = 'ready' AND fair_key IS NULL
    UNION ALL
    SELECT program, version, queue, due_at FROM {schema}.instances WHERE status = 'ready' AND fair_key IS NOT NULL
) AS r
GROUP BY r.program, r.version, r.queue ORDER BY r.program, r.version, r.queue;
