"""How long to wait before the next attempt.

A backoff is a callable `(attempt, dice) -> seconds`, where `attempt` counts failures so far, from 1.
Yours may be any function of `attempt` alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from outlast.config import duration_s, shown
from outlast.errors import DefinitionError

_DELAY_S_MAX = 10 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """A wait that grows with the number of failures.

    Attributes:
        kind: `exponential`, `linear` or `constant`.
        base_s: Wait after the first failure, in seconds.
        cap_s: No wait is longer, in seconds (before jitter).
        factor: Growth per failure, for `exponential`.
        jitter: Share of the wait that is random, in [0, 1]: the wait lies in [w * (1 - jitter), w * (1 + jitter)].
    """

    kind: str
    base_s: float
    cap_s: float
    factor: float = 2.0
    jitter: float = 0.0

    def __call__(self, attempt: int, dice: Random) -> float:
        """Seconds to wait after failure number `attempt`, from 1."""
        if self.kind == "constant":
            wait_s = self.base_s
        elif self.kind == "linear":
            wait_s = self.base_s * attempt
        elif self.factor > 1 and (attempt - 1) * math.log(self.factor) > 60:
            wait_s = self.cap_s if self.base_s else 0.0  # the power would overflow; the cap is long reached.
        else:
            wait_s = self.base_s * self.factor ** (attempt - 1)
        wait_s = min(self.cap_s, wait_s)
        return wait_s * (1 + self.jitter * (2 * dice.random() - 1)) if self.jitter else wait_s


def exponential(
    *, base: float | timedelta = 1, cap: float | timedelta = 300, factor: float = 2.0, jitter: float = 0.0
) -> Backoff:
    """`base`, then `factor` times longer after each failure, at most `cap` (seconds or timedelta).

    The default of every job: 1 s, 2 s, 4 s, ... 300 s.

    Args:
        base: Wait after the first failure.
        cap: Longest wait.
        factor: Growth, at least 1.
        jitter: Random share in [0, 1]; 0.25 spreads a wait of 8 s over 6 to 10 s.

    Raises: ConfigError, DefinitionError.
    """
    if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not 1 <= factor <= 1_000:
        raise DefinitionError(f"backoff factor must be between 1 and 1000, not {shown(factor)}")
    return Backoff("exponential", _s("base", base), _s("cap", cap), float(factor), _share(jitter))


def linear(*, base: float | timedelta = 1, cap: float | timedelta = 300, jitter: float = 0.0) -> Backoff:
    """`base` after the first failure, twice that after the second, and so on, at most `cap`."""
    return Backoff("linear", _s("base", base), _s("cap", cap), 1.0, _share(jitter))


def constant(delay: float | timedelta = 1, *, jitter: float = 0.0) -> Backoff:
    """The same `delay` after every failure."""
    delay_s = _s("delay", delay)
    return Backoff("constant", delay_s, delay_s, 1.0, _share(jitter))


def checked_delay_s(policy: Callable[..., object], attempt: int, dice: Random) -> float:
    """What a backoff answers, as seconds in [0, ten years].

    Raises: ConfigError: it answered something that is not a duration.
    """
    if isinstance(policy, Backoff):
        return min(_DELAY_S_MAX, policy(attempt, dice))
    answer = policy(attempt)
    if isinstance(answer, float) and 0 <= answer <= _DELAY_S_MAX:
        return answer
    return duration_s(answer, name="the backoff's answer", most_s=_DELAY_S_MAX)


def check_policy(policy: object) -> None:
    """Refuses what cannot be a backoff. Raises: DefinitionError."""
    if isinstance(policy, Backoff):
        return
    if not callable(policy):
        raise DefinitionError(
            f"backoff must be backoff.exponential(...) or a function of the attempt, not {shown(policy)}"
        )
    if inspect.iscoroutinefunction(policy):
        raise DefinitionError("a backoff function must be a plain def: it answers at once, with seconds")
    try:
        inspect.signature(policy).bind(1)
    except (TypeError, ValueError):
        raise DefinitionError("a backoff function takes one argument: the number of failures so far, from 1") from None


def _s(name: str, value: float | timedelta) -> float:
    return duration_s(value, name=f"backoff {name}", most_s=_DELAY_S_MAX)


def _share(value: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise DefinitionError(f"backoff jitter must be between 0 and 1, not {shown(value)}")
    return float(value)
