"""What callers of an object are told when there is no answer."""

from __future__ import annotations

import asyncio
import inspect

from outlast._kernel.objects import Body
from outlast._model import ObjectKey
from outlast.errors import CallError, MailboxFull, OwnershipLost


def full(key: ObjectKey, name: str, waiting: int) -> MailboxFull:
    """Too many wait."""
    return MailboxFull(
        f"{waiting:,} calls wait for {key[0]} {key[1]!r}, which is its queue_limit",
        type=key[0],
        id=key[1],
        handler=name,
        happened=False,
    )


def not_read_only(key: ObjectKey, name: str) -> CallError:
    """A handler that only reads has written."""
    return CallError(
        f"handler {name!r} of {key[0]} is read_only, and has changed the state or set an alarm",
        type=key[0],
        id=key[1],
        handler=name,
        happened=False,
    )


def too_much(key: ObjectKey, name: str, error: BaseException) -> CallError:
    """What was raised would end the caller's task, or the whole process."""
    told = CallError(
        f"handler {name!r} of {key[0]} raised {type(error).__name__}",
        type=key[0],
        id=key[1],
        handler=name,
        happened=False,
    )
    told.__cause__ = error
    return told


def taken_over(key: ObjectKey, when: str, *, happened: bool | None = False) -> OwnershipLost:
    """Another process owns the object."""
    return OwnershipLost(
        f"{key[0]} {key[1]!r} was taken over by another process {when}", type=key[0], id=key[1], happened=happened
    )


async def after_load(body: Body, key: ObjectKey) -> None:
    """Runs an object's `after_load`. Raises: what it raises, as an error that ends nothing but the call."""
    try:
        answer = body.after_load()
        if inspect.isawaitable(answer):
            await answer
    except (asyncio.CancelledError, KeyboardInterrupt, SystemExit) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise too_much(key, "after_load", error) from error
