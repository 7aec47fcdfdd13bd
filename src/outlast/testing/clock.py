"""A clock that jumps."""

from __future__ import annotations

from datetime import datetime, timedelta
from weakref import WeakSet

from outlast._world import SystemWorld, World, instant, instant_us
from outlast.config import duration_s
from outlast.engine import Engine
from outlast.errors import ConfigError


class Clock:
    """The time that an engine's database takes for now: the real one, and as far ahead of it as you have jumped.

    Schedules, backoff, deadlines of waits, rate limits and retention follow it. What a process waits for by itself
    (a step's timeout, a lease, a poll) does not.
    """

    def __init__(self) -> None:
        self._ahead_us = 0
        self._engines: WeakSet[Engine] = WeakSet()
        self._world = _Shifted(self)

    @property
    def ahead(self) -> timedelta:
        """How far it is ahead of the real time."""
        return timedelta(microseconds=self._ahead_us)

    def now(self) -> datetime:
        """The instant that it shows, aware, in UTC."""
        return instant(self._world.wall_us())

    def jump(self, duration: float | timedelta) -> datetime:
        """Goes ahead by seconds, or a timedelta. Returns the instant that it shows then. It never goes back.

        Running engines look at what is due at once; one that is run by hand does so in the next `drain`.
        """
        self._ahead_us += round(duration_s(duration, name="duration") * 1_000_000)
        for engine in self._engines:
            engine._look_at_the_clock()
        return self.now()

    def jump_to(self, moment: datetime) -> datetime:
        """Goes ahead to an aware instant that is not past."""
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ConfigError(f"jump_to takes an aware datetime, not {moment!r}")
        seconds = (instant_us(moment) - self._world.wall_us()) / 1_000_000
        if seconds < 0:
            raise ConfigError(f"the clock stands at {self.now()} and never goes back to {moment}")
        return self.jump(seconds)

    def rule(self, engine: Engine) -> Engine:
        """Makes a closed engine live by this clock, from its next opening on. Returns the engine.

        Raises: EngineStateError: it is open.
        """
        engine._inhabit(engine.config, self._world)
        self._engines.add(engine)
        return engine

    @property
    def world(self) -> World:
        """The world in which it shows the time."""
        return self._world


class _Shifted(SystemWorld):
    """The real world, ahead of its time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wall_us(self) -> int:
        return super().wall_us() + self._clock._ahead_us

    def pinned_us(self) -> int | None:
        return self.wall_us()
