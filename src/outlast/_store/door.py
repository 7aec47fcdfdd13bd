"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path

from outlast._store.contract import Store
from outlast._store.postgres.address import redacted
from outlast._store.postgres.store import PostgresStore
from outlast._store.sqlite.files import database_path
from outlast._store.sqlite.store import SqliteStore
from outlast._store.sqlite.upkeep import sqlite_finding
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


def database_file(config: Config) -> Path | None:
    """The file that holds the database; None: it is in memory, or on a server. Raises: ConfigError."""
    return database_path(config.url) if _is_sqlite(config) else None


def sharing_warning(config: Config) -> str | None:
    """What to say when several processes are to use this database; None: nothing."""
    if not _is_sqlite(config):
        return None
    level, _, sentence = sqlite_finding()
    return None if level == "ok" else f"SQLite {sentence}"


def shown_url(config: Config) -> str:
    """The URL without secrets."""
    return redacted(config.url)


def _is_sqlite(config: Config) -> bool:
    return config.url.lower().startswith("sqlite:")
