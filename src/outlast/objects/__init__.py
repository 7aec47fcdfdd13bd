"""Objects: state with handlers, one for each id, wherever it is called from.

class Counter(Object):
    count: int = 0

    @handler
    async def increment(self, amount: int = 1) -> int:
        self.count += amount
        return self.count

await engine.object(Counter, "user-123").increment(5)
"""

from outlast.objects.handlers import alarm, handler
from outlast.objects.kind import HandlerOf, ObjectKind
from outlast.objects.object import Object, PendingAlarm, alarm_row, make_kind
from outlast.objects.refs import ORDERED, Caller, CallOptions, Ref, RemoteHandler
from outlast.objects.ringing import AlarmContext

__all__ = [
    "ORDERED",
    "AlarmContext",
    "CallOptions",
    "Caller",
    "HandlerOf",
    "Object",
    "ObjectKind",
    "PendingAlarm",
    "Ref",
    "RemoteHandler",
    "alarm",
    "alarm_row",
    "handler",
    "make_kind",
]
