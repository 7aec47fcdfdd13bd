"""Rows in, rows out: the only SQL of the package. One contract, two databases."""
