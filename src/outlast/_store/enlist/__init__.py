"""Inserting on a connection, and in a transaction, that belong to the caller.

`door` knows the kinds of connections, `inserts` knows what to ask of any of them, and each family's module
knows how its driver is asked. No driver is imported here that the caller has not imported before.
"""

from outlast._store.enlist.door import enlist

__all__ = ["enlist"]
