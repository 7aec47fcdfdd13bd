-- Concurrency keys, rate limits and fair shares.
--
-- A row with a key or a rate limit is never ready before the timekeeper has admitted it: it is `scheduled`, then
-- `blocked` on its gate (`k:` and the key, or `r:` and the rate limit), and `ready` when its turn comes. Ready rows hold
-- no slot: that is given with the claim.

-- At most one running row has a slot of a key: whatever else goes wrong, no key has more than its slots.
-- serves: used_slots
CREATE UNIQUE INDEX {schema}_instances_slot ON {schema}_instances (concurrency_key, slot) WHERE slot IS NOT NULL;
-- serves: next_line, pick, first_waiting, next_gate, queue_blocked
CREATE INDEX {schema}_instances_blocked ON {schema}_instances (blocked_on, queue, program, version, priority, due_us, id)
    WHERE blocked_on IS NOT NULL;
-- serves: ready_keyed
CREATE INDEX {schema}_instances_ready_keyed ON {schema}_instances (concurrency_key, queue, program, version)
    WHERE status = 'ready' AND concurrency_key IS NOT NULL;
-- serves: ready_rated
CREATE INDEX {schema}_instances_ready_rated ON {schema}_instances (rate_limit, queue, program, version)
    WHERE status = 'ready' AND rate_limit IS NOT NULL;

-- Rows with a fair key are picked in turns, apart from the others.
DROP INDEX {schema}_instances_ready;
-- serves: probe_ready, take, queue_ready, ready_programs
CREATE INDEX {schema}_instances_ready ON {schema}_instances (queue, priority, due_us, id)
    WHERE status = 'ready' AND fair_key IS NULL;
-- serves: probe_ready, next_fair, pick_fair, queue_ready, ready_programs
CREATE INDEX {schema}_instances_fair ON {schema}_instances (queue, fair_key, priority, due_us, id)
    WHERE status = 'ready' AND fair_key IS NOT NULL;
-- Its second condition is always true: without it this index would be taken for others' work, and walked from end to end.
-- serves: queue_waiting
CREATE INDEX {schema}_instances_waiting ON {schema}_instances (queue)
    WHERE status = 'waiting' AND finished_us IS NULL;

-- What each node says of concurrency limits. The lowest that a live node says of a name holds.
CREATE TABLE {schema}_gates (
    name TEXT NOT NULL,
    node TEXT NOT NULL,
    slots INTEGER NOT NULL CHECK (slots > 0),
    PRIMARY KEY (name, node)
) STRICT;

-- Rate limits, as the node that registered last says.
CREATE TABLE {schema}_rates (
    name TEXT NOT NULL PRIMARY KEY,
    allowed REAL NOT NULL CHECK (allowed > 0),
    period_s REAL NOT NULL CHECK (period_s > 0),
    burst REAL NOT NULL CHECK (burst > 0)
) STRICT;

-- Tokens by rate limit and partition; one that is missing is full. `wake_us` is when those who wait are looked at again.
CREATE TABLE {schema}_buckets (
    rate_limit TEXT NOT NULL PRIMARY KEY,
    tokens REAL NOT NULL,
    refilled_us INTEGER NOT NULL,
    wake_us INTEGER
) STRICT;

-- serves: next_due, due_buckets
CREATE INDEX {schema}_buckets_wake ON {schema}_buckets (wake_us) WHERE wake_us IS NOT NULL;
