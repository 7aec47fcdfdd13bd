-- name: find_expired
-- gives: one JSON array of ids
-- index: instances_expired, instances_child
-- Spares the children of parents that have not ended: these may ask for their results. Errands go with their workflows.
WITH expired AS MATERIALIZED (
    SELECT i.id, i.step FROM {schema}_instances AS i
    WHERE i.expires_us <= :now_us AND i.expires_us IS NOT NULL
        AND (i.parent IS NULL OR NOT EXISTS (
            SELECT 1 FROM {schema}_instances AS p
            WHERE p.id = i.parent AND (p.finished_us IS NULL OR i.step = '~errand')))
    ORDER BY i.expires_us LIMIT :limit
)
SELECT json_group_array(id)
FROM (
    SELECT id FROM expired
    UNION
    SELECT c.id FROM expired CROSS JOIN {schema}_instances AS c ON c.parent = expired.id AND c.round > 1
    WHERE expired.step = 'workflow' AND c.step = '~errand'
);

-- name: prune
-- takes: ids, as given by find_expired in the same transaction
DELETE FROM {schema}_instances WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_us IS NOT NULL;

-- name: removable
-- takes: ids, a JSON array
-- gives: one JSON array of those that have ended, but no children of parents that have not: these may ask for their results
-- index: primary key
SELECT json_group_array(i.id) FROM {schema}_instances AS i
WHERE i.id IN (SELECT value FROM json_each(:ids)) AND i.finished_us IS NOT NULL
    AND (i.parent IS NULL OR NOT EXISTS (
        SELECT 1 FROM {schema}_instances AS p WHERE p.id = i.parent AND p.finished_us IS NULL));

-- name: standing
-- takes: late_us: what was due before this is overdue
-- gives: counts of quarantined, overdue and ownerless instances, and when the first overdue one was due
-- index: instances_quarantined, instances_due, instances_running
SELECT (SELECT count(*) FROM {schema}_instances WHERE status = 'quarantined'),
    (SELECT count(*) FROM {schema}_instances WHERE status = 'scheduled' AND due_us <= :late_us),
    (SELECT count(*) FROM {schema}_instances AS i
        WHERE i.status = 'running' AND NOT EXISTS (SELECT 1 FROM {schema}_nodes WHERE {schema}_nodes.id = i.node)),
    (SELECT min(due_us) FROM {schema}_instances WHERE status = 'scheduled');

-- name: ready_programs
-- gives: program, version, queue, count of ready instances, and when the oldest was due
-- index: instances_ready, instances_fair
SELECT program, version, queue, count(*), min(due_us) FROM (
    SELECT program, version, queue, due_us FROM {schema}_instances WHERE status = 'ready' AND fair_key IS NULL
    UNION ALL
    SELECT program, version, queue, due_us FROM {schema}_instances WHERE status = 'ready' AND fair_key IS NOT NULL
)
GROUP BY program, version, queue ORDER BY program, version, queue;
