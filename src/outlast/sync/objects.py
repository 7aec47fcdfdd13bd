"""Objects for code without an event loop: the same operations, whose answers are there when they return."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from outlast import engine as asynchronous
from outlast._kernel.cron import Cron
from outlast.engine import ALARMS_MAX, ObjectCounts, ObjectInfo, kind_of
from outlast.objects import CallOptions, HandlerOf, PendingAlarm, Ref

T = TypeVar("T")


class Objects:
    """The operations on objects."""

    def _call(self, work: Callable[[asynchronous.Engine], Coroutine[Any, Any, T]]) -> T:
        raise NotImplementedError

    def object(self, cls: type[T], id: str) -> Any:
        """See `outlast.Engine.object`. Its handlers return their answers; nothing is awaited."""
        return Ref(kind_of(cls), id, self)

    def call_object(
        self, ref: Ref, handler: HandlerOf, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Any:
        """See `RemoteHandler.__call__`."""

        async def call(engine: asynchronous.Engine) -> Any:
            return await engine.call_object(ref, handler, args, kwargs, options)

        return self._call(call)

    def send_object(
        self, ref: Ref, handler: HandlerOf, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> None:
        """See `RemoteHandler.send`."""

        async def send(engine: asynchronous.Engine) -> None:
            await engine.send_object(ref, handler, args, kwargs, options)

        self._call(send)

    def ensure_started(self, object: Any) -> str:
        """See `outlast.Engine.ensure_started`."""
        return self._call(lambda engine: engine.ensure_started(object))

    def whereis(self, object: Any) -> str | None:
        """See `outlast.Engine.whereis`."""
        return self._call(lambda engine: engine.whereis(object))

    def stop_object(self, object: Any) -> None:
        """See `outlast.Engine.stop_object`."""
        self._call(lambda engine: engine.stop_object(object))

    def delete_object(self, object: Any) -> bool:
        """See `outlast.Engine.delete_object`."""
        return self._call(lambda engine: engine.delete_object(object))

    def get_state(self, object: Any) -> dict[str, Any]:
        """See `outlast.Engine.get_state`."""
        return self._call(lambda engine: engine.get_state(object))

    def get_object(self, cls: type | str, id: str) -> ObjectInfo:
        """See `outlast.Engine.get_object`."""
        return self._call(lambda engine: engine.get_object(cls, id))

    def list_objects(
        self, cls: type | str, *, after: str = "", limit: int = 50, owned: bool | None = None
    ) -> Sequence[ObjectInfo]:
        """See `outlast.Engine.list_objects`."""
        return self._call(lambda engine: engine.list_objects(cls, after=after, limit=limit, owned=owned))

    def count_objects(self) -> Sequence[ObjectCounts]:
        """See `outlast.Engine.count_objects`."""
        return self._call(lambda engine: engine.count_objects())

    def schedule_alarm(
        self,
        object: Any,
        name: str,
        delay: float | timedelta | None = None,
        *,
        at: datetime | None = None,
        every: float | timedelta | None = None,
        cron: str | Cron | None = None,
        zone: str = "UTC",
    ) -> None:
        """See `outlast.Engine.schedule_alarm`."""
        self._call(lambda engine: engine.schedule_alarm(object, name, delay, at=at, every=every, cron=cron, zone=zone))

    def cancel_alarm(self, object: Any, name: str) -> bool:
        """See `outlast.Engine.cancel_alarm`."""
        return self._call(lambda engine: engine.cancel_alarm(object, name))

    def cancel_all_alarms(self, object: Any) -> int:
        """See `outlast.Engine.cancel_all_alarms`."""
        return self._call(lambda engine: engine.cancel_all_alarms(object))

    def list_alarms(self, object: Any, *, limit: int = ALARMS_MAX) -> Sequence[PendingAlarm]:
        """See `outlast.Engine.list_alarms`."""
        return self._call(lambda engine: engine.list_alarms(object, limit=limit))
