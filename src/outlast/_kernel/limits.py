"""Who may run: concurrency keys with their slots, rate limits with their tokens. Pure rules; the store keeps the rows.

A key, or a rate limit, is text: `name`, or `name[partition]`. What an instance that must wait is blocked on is a gate:
`k:` and its key, or `r:` and its rate limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from outlast._model import Claim, Denied, RateRow

KEY: Final = "k:"
RATE: Final = "r:"
SLOTS_DEFAULT: Final = 1
"""Steps of one key that run at once where no node declares a limit for its name."""
WAIT_S_MIN: Final = 0.01
WAIT_S_MAX: Final = 60.0
"""Those who wait for tokens are looked at again after so many seconds, at least and at most."""
_HAIR: Final = 1e-9
"""Tokens that rounding may cost."""


def limit_name(text: str) -> str:
    """The name that a key or a rate limit is configured under: what stands before its partition."""
    return text[: text.index("[")] if text.endswith("]") and "[" in text else text


@dataclass(frozen=True, slots=True)
class LimitsInEffect:
    """The limits in the whole cluster.

    Attributes:
        concurrency: How many steps of one concurrency key run at once, by the key's name: the lowest number that a live
            process says.
        rates: Rate limits by name, each with `allowed` tokens in `period_s` seconds and the `burst` that piles up.
    """

    concurrency: Mapping[str, int]
    rates: Mapping[str, RateRow]


class Verdict(NamedTuple):
    """What becomes of limited claims.

    Attributes:
        slots: By id, the slot of each claim that may run; None where it has no key.
        denied: By id, the gate that each of the others waits at.
        spent: By rate limit, the tokens that those who may run take.
        wanted: By rate limit, the weight of the first claim that it denied.
    """

    slots: dict[str, int | None]
    denied: dict[str, str]
    spent: dict[str, float]
    wanted: dict[str, float]


def decide(claims: Sequence[Claim], free: Mapping[str, Sequence[int]], tokens: Mapping[str, float]) -> Verdict:
    """Who of `claims`, most urgent first, may run.

    A claim needs a free slot of its key and the tokens of its rate limit, and takes both or neither. Once a rate limit
    has denied one, it denies all behind it: whoever is heavy must not wait for ever behind those who are light.

    Args:
        claims: Those that have a key or a rate limit.
        free: Free slot numbers by key.
        tokens: Tokens there are by rate limit; one that is missing has none.
    """
    left = {key: list(slots) for key, slots in free.items()}
    verdict = Verdict({}, {}, {}, {})
    for claim in claims:
        key, rate = claim.concurrency_key, claim.rate_limit
        if key is not None and not left.get(key):
            verdict.denied[claim.id] = KEY + key
        elif rate is not None and not _affords(claim, verdict, tokens.get(rate, 0.0)):
            verdict.denied[claim.id] = RATE + rate
            verdict.wanted.setdefault(rate, claim.rate_weight)
        else:
            verdict.slots[claim.id] = left[key].pop(0) if key is not None else None
            if rate is not None:
                verdict.spent[rate] = verdict.spent.get(rate, 0.0) + claim.rate_weight
    return verdict


def _affords(claim: Claim, verdict: Verdict, tokens: float) -> bool:
    rate = claim.rate_limit or ""
    return rate not in verdict.wanted and verdict.spent.get(rate, 0.0) + claim.rate_weight <= tokens + _HAIR


def free_slots(used: Iterable[int], slots: int) -> list[int]:
    """Numbers of the slots that are free, lowest first, when these are used.

    After a limit was lowered, used slots beyond it count, too: nothing is admitted until enough have come free.
    """
    taken = set(used)
    return [slot for slot in range(slots) if slot not in taken][: max(0, slots - len(taken))]


def denials(verdict: Verdict) -> list[Denied]:
    """The denied claims counted by gate."""
    counts: dict[str, int] = {}
    for gate in verdict.denied.values():
        counts[gate] = counts.get(gate, 0) + 1
    return [Denied(gate, count) for gate, count in counts.items()]


def prefix_within(weights: Sequence[float], tokens: float) -> int:
    """How many of these, from the first on, fit into so many tokens together."""
    total = 0.0
    for count, weight in enumerate(weights):
        total += weight
        if total > tokens + _HAIR:
            return count
    return len(weights)


class Bucket(NamedTuple):
    """A token bucket at a moment.

    Attributes:
        per_s: Tokens that come in a second.
        tokens: Tokens there are.
        counted_us: The moment, in microseconds since 1970.
    """

    per_s: float
    tokens: float
    counted_us: int

    @classmethod
    def now(
        cls,
        allowed: float,
        period_s: float,
        burst: float,
        tokens: float | None,
        refilled_us: int | None,
        *,
        now_us: int,
    ) -> Bucket:
        """The bucket as it has filled up since; full where it is new. A clock that goes back adds nothing."""
        per_s = allowed / period_s
        if tokens is None or refilled_us is None:
            return cls(per_s, burst, now_us)
        return cls(per_s, min(burst, tokens + per_s * max(0, now_us - refilled_us) / 1_000_000), now_us)

    def wait_us(self, weight: float) -> int:
        """Microseconds until tokens for this weight exist: 10 ms at least, and a minute at most."""
        return int(max(WAIT_S_MIN, min(WAIT_S_MAX, (weight - self.tokens) / self.per_s)) * 1_000_000)
