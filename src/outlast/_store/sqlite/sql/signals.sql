-- name: find_targets
-- takes: batch, a JSON array of [id, name, payload, instance, key, dedup_key]: each has an instance or a correlation key
-- gives: one JSON array of [place in the batch, id, status, queue, awaits] of the targets that exist
-- index: primary key, instances_key
SELECT json_group_array(json_array(b.key, i.id, i.status, i.queue, i.awaits))
FROM json_each(:batch) AS b
JOIN {schema}_instances AS i ON i.id = COALESCE(json_extract(b.value, '$[3]'),
    (SELECT k.id FROM {schema}_instances AS k WHERE k.correlation_key = json_extract(b.value, '$[4]')
        AND instr(k.correlation_scope, ',' || k.status || ',') > 0));

-- name: known_keys
-- takes: keys, a JSON array
-- gives: one JSON array of those of which an instance has ended
-- index: instances_key_all
SELECT json_group_array(value) FROM json_each(:keys)
WHERE EXISTS (SELECT 1 FROM {schema}_instances AS i WHERE i.correlation_key = value AND i.finished_us IS NOT NULL);

-- name: find_stored
-- takes: letters as for deliver
-- gives: one JSON array of the ids of those that are in the table
-- index: signals, by id
SELECT json_group_array(s.id) FROM json_each(:letters) AS l
JOIN {schema}_signals AS s ON s.id = json_extract(l.value, '$[0]');

-- name: deliver
-- takes: letters, a JSON array of [id, instance, name, payload, dedup_key]; now_us
-- gives: the count of those stored; one that was stored before, or one with its dedup key, is left out
-- index: primary key, signals_dedup
INSERT INTO {schema}_signals (id, instance, name, payload, dedup_key, sent_us)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), :now_us
FROM json_each(:letters)
WHERE true
ON CONFLICT DO NOTHING;

-- name: note_mail
-- takes: ids, a JSON array of instances that were sent something
-- index: primary key
UPDATE {schema}_instances SET mail = 1 WHERE id IN (SELECT value FROM json_each(:ids)) AND mail = 0;

-- name: wake
-- takes: woken, a JSON array of instances that wait for what they were sent; now_us
-- index: primary key
UPDATE {schema}_instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_us = :now_us, wake_us = NULL
WHERE id IN (SELECT value FROM json_each(:woken)) AND status = 'waiting';

-- name: inbox
-- takes: ids, a JSON array of instances
-- gives: their unread signals, oldest first
-- index: signals_instance
SELECT id, instance, name, payload, dedup_key, sent_us, consumed_us FROM {schema}_signals
WHERE instance IN (SELECT value FROM json_each(:ids)) AND consumed_us IS NULL ORDER BY sent_us, id;

-- name: signals
-- gives: all that is kept of an instance's signals, oldest first
-- index: signals_instance
SELECT id, instance, name, payload, dedup_key, sent_us, consumed_us FROM {schema}_signals
WHERE instance = :id ORDER BY sent_us, id;

-- name: recheck
-- takes: parks, a JSON array of [id, awaits, shown] that this transaction has written
-- gives: one JSON array of [id, queue]: instances to wake again at once, since what they wait for is there
-- index: signals_instance, then the primary key
SELECT json_group_array(json_array(i.id, i.queue))
FROM json_each(:parks) AS p
JOIN {schema}_instances AS i ON i.id = json_extract(p.value, '$[0]')
WHERE i.status = 'waiting' AND EXISTS (
    SELECT 1 FROM {schema}_signals AS s
    WHERE s.instance = i.id AND s.consumed_us IS NULL
        AND s.name IN (SELECT value FROM json_each(json_extract(p.value, '$[1]')))
        AND s.id NOT IN (SELECT value FROM json_each(json_extract(p.value, '$[2]'))));

-- name: keep_used
-- takes: used, a JSON array of [instance, signal]; now_us
-- A used signal is kept, so that a repetition is known for one.
-- index: signals, by id
UPDATE {schema}_signals SET consumed_us = :now_us
FROM (SELECT json_extract(value, '$[0]') AS instance, json_extract(value, '$[1]') AS id FROM json_each(:used)) AS u
WHERE {schema}_signals.id = u.id AND {schema}_signals.instance = u.instance AND consumed_us IS NULL;

-- name: drop_used
-- takes: used, a JSON array of [instance, signal]; old_us
-- Drops what these instances used before that moment, unless it has a dedup key.
-- index: signals_instance
DELETE FROM {schema}_signals
WHERE instance IN (SELECT json_extract(value, '$[0]') FROM json_each(:used)) AND dedup_key IS NULL
    AND consumed_us < :old_us;

-- name: forget
-- takes: ids, a JSON array of instances that are deleted in the same transaction
-- index: signals_instance
DELETE FROM {schema}_signals WHERE instance IN (SELECT value FROM json_each(:ids));

-- name: put_back
-- takes: instance; letters, a JSON array of [id, name, payload] in their order; now_us
-- index: signals_instance
-- Signals whose use was forgotten are there again, before all that are unread: they were used because they came first.
INSERT INTO {schema}_signals (id, instance, name, payload, sent_us)
SELECT json_extract(value, '$[0]'), :instance, json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    COALESCE((SELECT min(s.sent_us) FROM {schema}_signals AS s WHERE s.instance = :instance AND s.consumed_us IS NULL),
        :now_us) - 1
FROM json_each(:letters) WHERE true
ON CONFLICT DO NOTHING;
