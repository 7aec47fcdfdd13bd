"""A cluster of engines in one process, on virtual time, from one seed."""
