-- name: ring
-- SQLite needs none: there, the commit itself is what others notice.
SELECT pg_notify(:channel, :payload);
