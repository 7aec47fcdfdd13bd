"""Which rate limits there are: so that a wrong one is an error where it is written, not work that never runs."""

from __future__ import annotations

from outlast._kernel.limits import limit_name
from outlast._store.contract import Limits
from outlast.config import Config
from outlast.errors import ConfigError, did_you_mean


class Rates:
    """Rate limits by name, from this engine's options and, for those that others declare, from the database."""

    def __init__(self, config: Config, limits: Limits) -> None:
        self._limits = limits
        self._bursts = {name: limit.burst_max for name, limit in config.rate_limits.items()}
        self._own = frozenset(self._bursts)

    async def ensure(self, rate_limit: str, weight: float) -> None:
        """As `check`, after a look at the database where this process does not know the limit."""
        if limit_name(rate_limit) not in self._bursts:
            found = {rate.name: rate.burst for rate in await self._limits.rates()}
            self._bursts |= {name: burst for name, burst in found.items() if name not in self._own}
        self.check(rate_limit, weight)

    def knows(self, rate_limit: str) -> bool:
        """Whether this process has heard of it."""
        return limit_name(rate_limit) in self._bursts

    def check(self, rate_limit: str, weight: float) -> None:
        """Raises: ConfigError: there is no such limit, or the weight could never fit into it."""
        name = limit_name(rate_limit)
        burst = self._bursts.get(name)
        if burst is None:
            raise ConfigError(f"no rate limit is called {name!r}{did_you_mean(name, self._bursts)}")
        if weight > burst:
            raise ConfigError(
                f"weight {weight:g} can never be let through by rate limit {name!r}, whose burst is {burst:g}"
            )
