"""The Postgres store: checks server and tables, and hands out the nouns."""

from __future__ import annotations

from typing import Any

from outlast._store.contract import Enlisted
from outlast._store.enlist import enlist
from outlast._store.postgres.acts import Acts
from outlast._store.postgres.address import parse
from outlast._store.postgres.alarms import Alarms
from outlast._store.postgres.bell import Bell
from outlast._store.postgres.calls import Calls
from outlast._store.postgres.claims import Claims
from outlast._store.postgres.desk import Desk
from outlast._store.postgres.instances import Instances
from outlast._store.postgres.journal import Journal
from outlast._store.postgres.leases import Leases
from outlast._store.postgres.limits import Limits
from outlast._store.postgres.links import Links
from outlast._store.postgres.logs import Logs
from outlast._store.postgres.objects import Objects
from outlast._store.postgres.schedules import Schedules
from outlast._store.postgres.schema import Schema, quoted
from outlast._store.postgres.signals import Signals
from outlast._store.postgres.upkeep import Queues, Timers, Upkeep
from outlast._store.statements import load
from outlast._world import World
from outlast.config import Config


class PostgresStore:
    """See `contract.Store`."""

    dialect = "postgres"

    def __init__(self, config: Config, world: World) -> None:
        self._address = parse(config.url)
        self._config = config
        self._world = world
        self._links = Links(config, self._address, world)
        sql = load("outlast._store.postgres.sql", schema=quoted(config.schema))
        engine = Desk(self._links.engine, sql, world)
        client = Desk(self._links.client, sql, world)
        self.instances = Instances(client)
        self.acts = Acts(client)
        self.signals = Signals(client)
        self.journal = Journal(client)
        self.logs = Logs(client)
        self.claims = Claims(engine)
        self.limits = Limits(engine)
        self.leases = Leases(engine, self._links, patience_s=max(1.0, config.lease / 3))
        self.timers = Timers(engine, self.limits)
        self.queues = Queues(client)
        self.schedules = Schedules(engine)
        self.objects = Objects(engine)
        self.calls = Calls(client)
        self.alarms = Alarms(engine)
        self.upkeep = Upkeep(engine)
        self.schema = Schema(self._links, sql, config.schema, world)
        self._remote = config.doorbell == "auto" and config.pooler == "none"
        self.bell = Bell(self._links, sql["ring"], config.schema, world, remote=self._remote)

    async def open(self) -> None:
        try:
            await self.schema.check()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.bell.close()
        await self._links.close()

    def describe(self) -> str:
        return f"Postgres at {self._address.shown}, schema {self._config.schema}"

    def enlist(self, connection: Any) -> Enlisted:
        return enlist(
            connection,
            dialect=self.dialect,
            schema=self._config.schema,
            notify=self._remote,
            now_us=self._world.pinned_us,
        )
