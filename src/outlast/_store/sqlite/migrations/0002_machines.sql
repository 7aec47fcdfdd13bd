-- What machines need: signals, children, limits.
--
-- `awaits` is a JSON list of signal names; `wake_us` is when a waiting instance wakes in any case. `parent`, `round` and
-- `child` say which spawn of whom an instance came from. `spawns` counts its own, and is apart from `round` because a
-- child may be a parent, too; `pending` is how many of its children must still end before it wakes. `mail` says that it was sent a signal once. `slot` is the place that a
-- running instance holds of its concurrency key; `blocked_on` what a blocked one waits for. `trace` is the trace context
-- of whoever started it.
ALTER TABLE {schema}_instances ADD COLUMN awaits TEXT;
ALTER TABLE {schema}_instances ADD COLUMN wake_us INTEGER CHECK (wake_us IS NULL OR status = 'waiting');
ALTER TABLE {schema}_instances ADD COLUMN mail INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {schema}_instances ADD COLUMN parent TEXT;
ALTER TABLE {schema}_instances ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {schema}_instances ADD COLUMN child INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {schema}_instances ADD COLUMN spawns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {schema}_instances ADD COLUMN pending INTEGER CHECK (pending IS NULL OR status = 'waiting');
ALTER TABLE {schema}_instances ADD COLUMN concurrency_key TEXT;
ALTER TABLE {schema}_instances ADD COLUMN slot INTEGER CHECK (slot IS NULL OR status = 'running');
ALTER TABLE {schema}_instances ADD COLUMN rate_limit TEXT;
ALTER TABLE {schema}_instances ADD COLUMN rate_weight REAL NOT NULL DEFAULT 1;
ALTER TABLE {schema}_instances ADD COLUMN blocked_on TEXT;
ALTER TABLE {schema}_instances ADD COLUMN fair_key TEXT;
ALTER TABLE {schema}_instances ADD COLUMN fair_weight REAL NOT NULL DEFAULT 1;
ALTER TABLE {schema}_instances ADD COLUMN trace TEXT;

-- serves: children, tree. A child is inserted once, however often its parent's outcome is written.
CREATE UNIQUE INDEX {schema}_instances_child ON {schema}_instances (parent, round, child) WHERE parent IS NOT NULL;
-- serves: find_late, next_due
CREATE INDEX {schema}_instances_wake ON {schema}_instances (wake_us) WHERE wake_us IS NOT NULL;

-- Signals, until their instance is deleted; a used one without a dedup key goes a while after it was used.
CREATE TABLE {schema}_signals (
    id TEXT NOT NULL PRIMARY KEY,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    dedup_key TEXT,
    sent_us INTEGER NOT NULL,
    consumed_us INTEGER
) STRICT;

-- serves: inbox, signals, recheck, drop_used, forget
CREATE INDEX {schema}_signals_instance ON {schema}_signals (instance, id);
-- serves: deliver. Of signals with one dedup key the first counts.
CREATE UNIQUE INDEX {schema}_signals_dedup ON {schema}_signals (instance, dedup_key) WHERE dedup_key IS NOT NULL;
