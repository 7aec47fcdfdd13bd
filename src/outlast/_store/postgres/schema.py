"""The tables, and how they come to be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from outlast._store.postgres.faults import is_in_the_way, translated
from outlast._store.postgres.links import Links, disconnect
from outlast._store.schema_files import migrations, refuse_newer
from outlast._store.statements import Statement
from outlast._world import World
from outlast.errors import ConfigError, SchemaError, StoreReadOnly

FLOOR: Final = 150_000
_FOR_EVER_S: Final = 86_400.0
_TRIES_MAX: Final = 60
"""Times two seconds, that a migration waits for its turn and for its locks."""


class Schema:
    """See `contract.Schema`. Each migration is one transaction, recorded in the same.

    Args:
        name: The Postgres schema that holds the tables.
    """

    def __init__(self, links: Links, sql: Mapping[str, Statement], name: str, world: World) -> None:
        self._links = links
        self._sql = sql
        self._name = name
        self._world = world
        self._migrations = migrations("outlast._store.postgres.migrations", quoted(name))

    @property
    def latest(self) -> int:
        return max(self._migrations)

    async def version(self) -> int:
        lane = self._links.client
        if not await lane.read(self._sql["find_migrations"].numbered, [self._name]):
            return 0
        return int((await lane.read(self._sql["version"].numbered, []))[0][0])

    async def check(self) -> None:
        """Refuses a server or tables that do not fit this release. Raises: StoreError, ConfigError."""
        standby, number = (await self._links.client.read(self._sql["fit"].numbered, []))[0]
        if number < FLOOR:
            raise ConfigError(f"Postgres {number // 10_000} is too old; 15 or later is needed")
        if standby:
            raise StoreReadOnly(
                "this Postgres server is a standby and refuses writes; connect to the primary, or name all servers "
                "in the URL and add target_session_attrs=read-write"
            )
        version = await self.version()
        refuse_newer(version, self.latest)
        if version < self.latest:
            what = "are missing" if version == 0 else f"are at version {version}, this release needs {self.latest}"
            raise SchemaError(
                f"the tables in schema {self._name!r} {what}: run `outlast migrate` (or `await engine.migrate()`)"
            )

    async def migrate(self) -> list[int]:
        if await self.version() == self.latest:
            return []
        connection = await self._links.connect("migrate")
        applied: list[int] = []
        try:
            while (number := await self._next(connection)) is not None:
                applied.append(number)
        finally:
            await disconnect(connection)
        return applied

    async def _next(self, connection: Any) -> int | None:
        """Applies the first migration that is missing; None: there is none.

        A lock that is not had within two seconds is let go and asked for again: while we wait for one, everybody else
        queues behind us.
        """
        for tries in range(1, _TRIES_MAX + 1):
            try:
                async with connection.transaction():
                    return await self._apply_one(connection)
            except Exception as error:
                if is_in_the_way(error) and tries < _TRIES_MAX:
                    await asyncio.sleep(0.1 * self._world.dice.random())
                    continue
                made = translated(error)
                if made is error:
                    raise
                raise made from error
        raise AssertionError("unreachable")

    async def _apply_one(self, connection: Any) -> int | None:
        sql = self._sql
        await connection.execute(sql["wait_briefly"].numbered)
        await connection.execute(sql["lock_schema"].numbered, self._name)
        if not await connection.fetch(sql["find_schema"].numbered, self._name):
            await connection.execute(sql["create_schema"].numbered)
        await connection.execute(sql["create_migrations"].numbered)
        version = await connection.fetchval(sql["version"].numbered)
        refuse_newer(version, self.latest)
        todo = [number for number in sorted(self._migrations) if number > version]
        if not todo:
            return None
        await connection.execute(sql["work_long"].numbered)
        await connection.execute(self._migrations[todo[0]], timeout=_FOR_EVER_S)
        await connection.execute(sql["record_migration"].numbered, todo[0])
        return todo[0]

    async def drop(self) -> None:
        connection = await self._links.connect("migrate")
        try:
            async with connection.transaction():
                if await connection.fetch(self._sql["find_schema"].numbered, self._name):
                    await connection.execute(self._sql["drop_tables"].numbered)
                    await connection.execute(self._sql["drop_schema"].numbered)
        except Exception as error:
            made = translated(error)
            if made is error:
                raise
            raise made from error
        finally:
            await disconnect(connection)

    def script(self, since: int = 0) -> str:
        sql = self._sql
        parts = ["BEGIN;"]
        if since == 0:
            parts += [f"CREATE SCHEMA IF NOT EXISTS {quoted(self._name)};", f"{sql['create_migrations'].text};"]
        for number, text in sorted(self._migrations.items()):
            if number > since:
                parts += [text.rstrip(), f"{sql['record_migration'].text.replace(':version', str(number))};"]
        return "\n\n".join([*parts, "COMMIT;"]) + "\n"


def quoted(name: str) -> str:
    """A schema's name for use in SQL. It is checked already; quotes let it be a word of SQL, such as `user`."""
    return f'"{name}"'
