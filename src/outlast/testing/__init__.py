"""For your own tests: run durable work by hand on a real database, jump in time, crash where it hurts, and assert.

    async with by_hand() as engine:                      # SQLite in memory; or by_hand(app.engine, url=...)
        order = await engine.start(Checkout(order=42))
        await drain(engine)
        await assert_awaiting(engine, order, "payment_confirmed")

With pytest the fixtures `outlast_engine`, `outlast_clock` and `outlast_worker` are there without an import.
"""

from outlast.testing.assertions import assert_awaiting, assert_done, assert_failed, assert_status, describe, instance
from outlast.testing.clock import Clock
from outlast.testing.crashes import crash_after_commit, crash_before_commit, run_step_twice
from outlast.testing.faults import Fault
from outlast.testing.hand import by_hand, clock_of, drain, fire_schedules, fire_timeouts, prune
from outlast.testing.objects import (
    Performed,
    assert_alarm_scheduled,
    assert_eventually,
    assert_persisted,
    drain_alarms,
    fire_alarm,
    perform_alarm,
    perform_handler,
    refute_alarm_scheduled,
    scheduled_alarms,
)
from outlast.testing.tally import Tally, TooManySteps

__all__ = [
    "Clock",
    "Fault",
    "Performed",
    "Tally",
    "TooManySteps",
    "assert_alarm_scheduled",
    "assert_awaiting",
    "assert_done",
    "assert_eventually",
    "assert_failed",
    "assert_persisted",
    "assert_status",
    "by_hand",
    "clock_of",
    "crash_after_commit",
    "crash_before_commit",
    "describe",
    "drain",
    "drain_alarms",
    "fire_alarm",
    "fire_schedules",
    "fire_timeouts",
    "instance",
    "perform_alarm",
    "perform_handler",
    "prune",
    "refute_alarm_scheduled",
    "run_step_twice",
    "scheduled_alarms",
]
