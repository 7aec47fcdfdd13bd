"""What instances there are: lists, counts, tags, and deleting what nobody needs any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypedDict, Unpack

from outlast._kernel.requests import moment_us
from outlast._kernel.states import FINAL
from outlast._kernel.tags import checked_changes, checked_tags, refuse_many
from outlast._model import Filter, Instance
from outlast._world import instant_us
from outlast.config import checked_name, duration_s
from outlast.engine.checks import checked_flag, checked_id, checked_limit, checked_statuses, checked_words, one_of
from outlast.engine.life import Life
from outlast.engine.reading import read_instance
from outlast.errors import ArgumentError, ConfigError, NotFound, did_you_mean

By = Literal["status", "program", "queue"]
_BATCH: Final = 500
"""Instances that are deleted in one transaction."""


class Filters(TypedDict, total=False):
    """Which instances are meant; all that is given must fit. Each is described in `Engine.list`."""

    status: str | Iterable[str] | None
    program: str | None
    queue: str | None
    correlation_key: str | None
    tags: Mapping[str, str] | None
    waiting_for: str | None
    roots: bool
    paused: bool | None
    created_after: datetime | None
    created_before: datetime | None


class Searches(Life):
    """Lists, counts and tags."""

    async def list(
        self, *, before: str | None = None, limit: int = 50, **filters: Unpack[Filters]
    ) -> Sequence[Instance]:
        """Instances, newest first. All filters that are given must fit.

        Args:
            before: The last id of the page before, to get the next one.
            limit: At most this many, up to 1,000.
            status: One status or several.
            program, queue, correlation_key: Only with this very value.
            tags: Only with these tags, all of them. Found by an index, however many instances there are.
            waiting_for: Only those that are parked and wait for a signal of this name. Reads all that wait.
            roots: Only those that nobody has spawned.
            paused: Only those that are paused (True), or that are not.
            created_after, created_before: Aware instants; from (inclusive), until (exclusive).

        Raises: ConfigError. ArgumentError: there is no such filter.
        """
        self._running()
        wanted = _wanted(filters)
        wanted = replace(wanted, before=None if before is None else checked_id(before), limit=checked_limit(limit))
        return [read_instance(row) for row in await self._store.instances.list(wanted)]

    async def list_all(self, *, page: int = 200, **filters: Any) -> AsyncIterator[Instance]:
        """Every instance that the filters of `list` let pass, newest first, read page by page."""
        before: str | None = filters.pop("before", None)
        while True:
            found = await self.list(limit=page, before=before, **filters)
            for instance in found:
                yield instance
            if len(found) < page:
                return
            before = found[-1].id

    async def totals(self, *, by: By = "status", parent: Any = None, **filters: Unpack[Filters]) -> dict[str, int]:
        """How many instances there are, by status, program or queue.

        Reads the whole table, unless `tags` or `parent` narrow it.

        Args:
            by: What is counted apart.
            parent: Only children of this instance: its id, its handle, or what `get` returned.
            filters: Those of `list`.

        Raises: ConfigError. ArgumentError: there is no such filter.
        """
        self._running()
        one_of("by", by, ("status", "program", "queue"))
        id = None if parent is None else checked_id(getattr(parent, "id", parent))
        wanted = replace(_wanted(filters), parent=id)
        if by == "status" and wanted == Filter():
            return await self._store.instances.totals()  # the quickest way to read it all.
        return await self._store.instances.count(wanted, by)

    async def set_tags(self, id: str, tags: Mapping[str, str | None]) -> dict[str, str]:
        """Gives an instance other tags, whatever its status: those named change, None takes one away, others stay.

        In a workflow's own code call `outlast.set_tags` instead, which is recorded with its steps.

        Returns: All tags that it has now. Raises: NotFound. ConfigError: one is wrong, or it would have more than 20.
        """
        crew, changes, id = self._running(), checked_changes(tags), checked_id(id)
        row = await self._store.instances.get(id)
        if row is not None:
            known: Mapping[str, str | None] = read_instance(row).tags
            refuse_many(len([value for value in {**known, **changes}.values() if value is not None]))
        made = await crew.patiently(lambda: self._store.instances.retag(id, changes))
        if made is None:
            raise NotFound(f"no instance has the id {id}")
        return made

    async def delete_many(
        self,
        *,
        older_than: float | timedelta | None = None,
        dry_run: bool = False,
        **filters: Unpack[Filters],
    ) -> int:
        """Deletes ended instances for good, with all that belongs to them, 500 to a transaction.

        Only what has ended, whatever the filters say; not children whose parent has not ended: it may ask for their
        results. When it fails half-way, what was deleted before stays deleted.

        Args:
            older_than: Only those that ended so long ago: seconds, or a timedelta.
            dry_run: Whether only to count.
            filters: Those of `list`. At least one, or `older_than`, must be given.

        Returns: How many were deleted, or would be.

        Raises: ConfigError: a filter is wrong, none is given, or a status is none in which instances end.
        """
        crew = self._running()
        age_s = None if older_than is None else duration_s(older_than, name="older_than")
        checked_flag("dry_run", dry_run)
        if age_s is None and not any(value not in (None, False) for value in filters.values()):
            raise ConfigError("delete_many needs a filter; older_than=0 means all that has ended")
        wanted = _wanted(filters)
        if live := [status for status in wanted.status or () if status not in FINAL]:
            raise ConfigError(f"delete_many deletes what has ended ({', '.join(FINAL)}), not what is {live[0]!r}")
        wanted = replace(wanted, status=wanted.status or tuple(FINAL), limit=_BATCH)
        if age_s is not None:
            now = (await self._store.schedules.glance()).now
            wanted = replace(wanted, ended_before_us=instant_us(now) - int(age_s * 1_000_000))
        deleted = 0
        while True:
            page = [row.id for row in await self._store.instances.list(wanted)]
            if page and dry_run:
                deleted += len(await self._store.instances.removable(page))
            elif page:
                deleted += await crew.patiently(lambda ids=page: self._store.instances.remove(ids))  # type: ignore[misc]
            if len(page) < _BATCH:
                return deleted
            wanted = replace(wanted, before=page[-1])


def _wanted(filters: Filters) -> Filter:
    """The filters, checked. Raises: ConfigError. ArgumentError."""
    if unknown := filters.keys() - Filters.__annotations__.keys():
        name = sorted(unknown)[0]
        raise ArgumentError(f"there is no filter {name!r}{did_you_mean(name, Filters.__annotations__)}")
    waiting_for, paused = filters.get("waiting_for"), filters.get("paused")
    return Filter(
        status=checked_statuses(filters.get("status")),
        program=checked_words("program", filters.get("program")),
        queue=checked_words("queue", filters.get("queue")),
        correlation_key=checked_words("correlation_key", filters.get("correlation_key")),
        created_after_us=moment_us("created_after", filters.get("created_after")),
        created_before_us=moment_us("created_before", filters.get("created_before")),
        tags=checked_tags(filters.get("tags")),
        waiting_for=None if waiting_for is None else checked_name(waiting_for, what="a signal's name"),
        roots=checked_flag("roots", filters.get("roots", False)),
        paused=None if paused is None else checked_flag("paused", paused),
    )
