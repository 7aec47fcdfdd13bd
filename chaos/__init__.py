"""Crash runs: real processes are killed, frozen and starved, and a history kept outside the database is checked."""
