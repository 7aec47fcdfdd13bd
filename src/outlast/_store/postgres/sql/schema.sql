-- name: wait_briefly
-- For locks, within this transaction: while a migration waits for a table, everybody else queues behind it.
SET LOCAL lock_timeout = '2s';

-- name: work_long
-- Within this transaction: a large table takes its time.
SET LOCAL statement_timeout = 0;

-- name: lock_schema
-- takes: name of the schema. One process migrates at a time; the lock falls with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('outlast migrate ' || :name, 0));

-- name: find_schema
-- Asked first, since CREATE SCHEMA wants a right on the database even when there is nothing to create.
SELECT 1 FROM pg_namespace WHERE nspname = :name;

-- name: create_schema
CREATE SCHEMA {schema};

-- name: create_migrations
CREATE TABLE IF NOT EXISTS {schema}.migrations (
    version integer NOT NULL PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: find_migrations
SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = :name AND c.relname = 'migrations';

-- name: version
SELECT COALESCE(max(version), 0) FROM {schema}.migrations;

-- name: record_migration
INSERT INTO {schema}.migrations (version) VALUES (:version);

-- name: drop_tables
DROP TABLE IF EXISTS {schema}.instances, {schema}.signals, {schema}.journal, {schema}.logs, {schema}.tags, {schema}.acts,
    {schema}.gates, {schema}.rates, {schema}.buckets, {schema}.nodes, {schema}.queues, {schema}.schedules,
    {schema}.objects, {schema}.alarms, {schema}.calls,
    {schema}.migrations;

-- name: drop_schema
-- Refused while anything that is not ours stands in it.
DROP SCHEMA IF EXISTS {schema};

-- name: fit
-- gives: whether this server is a standby, and its version as a number
SELECT pg_is_in_recovery(), current_setting('server_version_num')::integer;
