-- What operators do with single instances: pause and resume them, and run them again from a step.
--
-- A paused row is never `ready`: what would make it so makes it `scheduled`, and the timekeeper then `blocked`, on no gate.
-- So it stands in no index that claims or gates read, and costs them nothing. An ended row is not paused.
ALTER TABLE {schema}_instances ADD COLUMN paused_us INTEGER;
ALTER TABLE {schema}_instances ADD COLUMN pause_reason TEXT;

-- Its second condition is always true: without it this index would be taken for others' work.
-- serves: queue_blocked
CREATE INDEX {schema}_instances_paused ON {schema}_instances (queue)
    WHERE paused_us IS NOT NULL AND finished_us IS NULL;

-- Acts of operators on an instance. `id` is made by whoever asks, and one for all that one call touches: a call that is
-- repeated after a lost reply acts once. `detail` is JSON text: what was changed, and what stood there before.
CREATE TABLE {schema}_acts (
    instance TEXT NOT NULL,
    id TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    act TEXT NOT NULL,
    who TEXT,
    reason TEXT,
    detail TEXT,
    PRIMARY KEY (instance, id)
) STRICT, WITHOUT ROWID;
