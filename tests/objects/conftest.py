"""Objects on each database."""

from tests.engine.conftest import engine, engines, table, url

__all__ = ["engine", "engines", "table", "url"]
