-- Concurrency keys, rate limits and fair shares.
--
-- A row with a key or a rate limit is never ready before the timekeeper has admitted it: it is `scheduled`, then
-- `blocked` on its gate (`k:` and the key, or `r:` and the rate limit), and `ready` when its turn comes. Ready rows hold
-- no slot: that is given with the claim.

-- At most one running row has a slot of a key: whatever else goes wrong, no key has more than its slots.
-- serves: free_slots, open_keys
CREATE UNIQUE INDEX instances_slot ON {schema}.instances (concurrency_key, slot) WHERE slot IS NOT NULL;
-- serves: open_keys, open_rates, find_gates, queue_blocked
CREATE INDEX instances_blocked ON {schema}.instances (blocked_on, queue, program, version, priority, due_at, id)
    WHERE blocked_on IS NOT NULL;
-- serves: open_keys
CREATE INDEX instances_ready_keyed ON {schema}.instances (concurrency_key, queue, program, version)
    WHERE status = 'ready' AND concurrency_key IS NOT NULL;
-- serves: open_rates
CREATE INDEX instances_ready_rated ON {schema}.instances (rate_limit, queue, program, version)
    WHERE status = 'ready' AND rate_limit IS NOT NULL;

-- Rows with a fair key are picked in turns, apart from the others.
DROP INDEX {schema}.instances_ready;
-- serves: take, queue_ready, ready_programs
CREATE INDEX instances_ready ON {schema}.instances (queue, priority, due_at, id)
    WHERE status = 'ready' AND fair_key IS NULL;
-- serves: take, take_fair, queue_ready, ready_programs
CREATE INDEX instances_fair ON {schema}.instances (queue, fair_key, priority, due_at, id)
    WHERE status = 'ready' AND fair_key IS NOT NULL;
-- Its second condition is always true: without it this index would be taken for others' work, and walked from end to end.
-- serves: queue_waiting
CREATE INDEX instances_waiting ON {schema}.instances (queue)
    WHERE status = 'waiting' AND finished_at IS NULL;

-- What each node says of concurrency limits. The lowest that a live node says of a name holds.
CREATE TABLE {schema}.gates (
    name text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    slots integer NOT NULL CHECK (slots > 0),
    PRIMARY KEY (name, node)
);

-- Rate limits, as the node that registered last says.
CREATE TABLE {schema}.rates (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    allowed double precision NOT NULL CHECK (allowed > 0),
    period_s double precision NOT NULL CHECK (period_s > 0),
    burst double precision NOT NULL CHECK (burst > 0)
);

-- Tokens by rate limit and partition; one that is missing is full. `wake_at` is when those who wait are looked at again.
CREATE TABLE {schema}.buckets (
    rate_limit text COLLATE "C" NOT NULL PRIMARY KEY,
    tokens double precision NOT NULL,
    refilled_at timestamptz NOT NULL,
    wake_at timestamptz
) WITH (fillfactor = 50);

-- serves: promote, lock_due_buckets
CREATE INDEX buckets_wake ON {schema}.buckets (wake_at) WHERE wake_at IS NOT NULL;
