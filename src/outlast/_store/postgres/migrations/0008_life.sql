-- What operators do with single instances: pause and resume them, and run them again from a step.
--
-- A paused row is never `ready`: what would make it so makes it `scheduled`, and the timekeeper then `blocked`, on no gate.
-- So it stands in no index that claims or gates read, and costs them nothing. An ended row is not paused.
ALTER TABLE {schema}.instances
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN pause_reason text;

-- Its second condition is always true: without it this index would be taken for others' work.
-- serves: queue_blocked
CREATE INDEX instances_paused ON {schema}.instances (queue)
    WHERE paused_at IS NOT NULL AND finished_at IS NULL;

-- Acts of operators on an instance. `id` is made by whoever asks, and one for all that one call touches: a call that is
-- repeated after a lost reply acts once. `detail` is JSON text: what was changed, and what stood there before.
CREATE TABLE {schema}.acts (
    instance uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    act text COLLATE "C" NOT NULL,
    who text,
    reason text,
    detail text,
    PRIMARY KEY (instance, id)
);
