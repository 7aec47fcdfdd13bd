-- What machines need: signals, children, limits.
--
-- `awaits` is a JSON list of signal names; `wake_at` is when a waiting instance wakes in any case. `parent`, `round` and
-- `child` say which spawn of whom an instance came from. `spawns` counts its own, and is apart from `round` because a
-- child may be a parent, too; `pending` is how many of its children must still end before it wakes. `mail` says that it was sent a signal once. `slot` is the place that a
-- running instance holds of its concurrency key; `blocked_on` what a blocked one waits for. `trace` is the trace context
-- of whoever started it.
ALTER TABLE {schema}.instances
    ADD COLUMN awaits text,
    ADD COLUMN wake_at timestamptz,
    ADD COLUMN mail boolean NOT NULL DEFAULT false,
    ADD COLUMN parent uuid,
    ADD COLUMN round integer NOT NULL DEFAULT 0,
    ADD COLUMN child integer NOT NULL DEFAULT 0,
    ADD COLUMN spawns integer NOT NULL DEFAULT 0,
    ADD COLUMN pending integer,
    ADD COLUMN concurrency_key text COLLATE "C",
    ADD COLUMN slot integer,
    ADD COLUMN rate_limit text COLLATE "C",
    ADD COLUMN rate_weight double precision NOT NULL DEFAULT 1,
    ADD COLUMN blocked_on text COLLATE "C",
    ADD COLUMN fair_key text COLLATE "C",
    ADD COLUMN fair_weight double precision NOT NULL DEFAULT 1,
    ADD COLUMN trace text,
    ADD CHECK (slot IS NULL OR status = 'running'),
    ADD CHECK (wake_at IS NULL OR status = 'waiting'),
    ADD CHECK (pending IS NULL OR status = 'waiting');

-- serves: children, tree. A child is inserted once, however often its parent's outcome is written.
CREATE UNIQUE INDEX instances_child ON {schema}.instances (parent, round, child) WHERE parent IS NOT NULL;
-- serves: promote
CREATE INDEX instances_wake ON {schema}.instances (wake_at) WHERE wake_at IS NOT NULL;

-- Signals, until their instance is deleted; a used one without a dedup key goes a while after it was used.
CREATE TABLE {schema}.signals (
    id uuid NOT NULL PRIMARY KEY,
    instance uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    payload text NOT NULL,
    dedup_key text COLLATE "C",
    sent_at timestamptz NOT NULL,
    consumed_at timestamptz
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000
);

-- serves: inbox, signals, recheck, consume, forget
CREATE INDEX signals_instance ON {schema}.signals (instance, id);
-- serves: deliver. Of signals with one dedup key the first counts.
CREATE UNIQUE INDEX signals_dedup ON {schema}.signals (instance, dedup_key) WHERE dedup_key IS NOT NULL;
