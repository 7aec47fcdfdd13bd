"""From a URL to a store."""

from __future__ import annotations

from outlast._store.contract import Store
from outlast._store.postgres.store import PostgresStore
from outlast._store.sqlite.store import SqliteStore
from outlast._world import World
from outlast.config import Config
from outlast.errors import ConfigError, did_you_mean


def open_store(config: Config, world: World) -> Store:
    """The store that the URL names; nothing is opened yet. Raises: ConfigError."""
    scheme = config.url.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        return SqliteStore(config, world)
    if scheme in ("postgresql", "postgres"):
        return PostgresStore(config, world)
    known = ("sqlite", "postgresql", "postgres")
    raise ConfigError(f"URL scheme {scheme[:40]!r} is not known{did_you_mean(scheme, known)}")
