"""What a measurement says: one object, the same keys for every workload."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Compared = Literal["per_s", "p50_ms"]
KEYS: Final = (
    "workload",
    "store",
    "n",
    "per_s",
    "p50_ms",
    "p99_ms",
    "floor",
    "ratio",
    "commits_per_unit",
    "statements_per_unit",
    "worker_cpu_s",
    "database_cpu_s",
    "rss_mb",
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One workload, or one variant of it.

    Attributes:
        workload, store, variant: What was measured, and where. A workload without variants has no variant.
        n: Units of work.
        per_s: Units per second.
        p50_ms, p99_ms: Times of single units.
        compared: Which of these figures the floor is to be compared with.
        floor: The same figure of the bare database.
        commits, statements: Of all units together.
        worker_cpu_s, database_cpu_s: CPU seconds, user and system, that all units took.
        rss_mb: The largest resident size of the worker process.
        more: What this workload alone tells.
    """

    workload: str
    store: str
    n: int
    per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    compared: Compared = "per_s"
    floor: float | None = None
    commits: int | None = None
    statements: int | None = None
    worker_cpu_s: float | None = None
    database_cpu_s: float | None = None
    rss_mb: float | None = None
    variant: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times more time the engine takes than its floor; 1 is no time at all."""
        mine = self.per_s if self.compared == "per_s" else self.p50_ms
        if not mine or not self.floor:
            return None
        return self.floor / mine if self.compared == "per_s" else mine / self.floor

    def facts(self) -> dict[str, Any]:
        """All keys, in order, as JSON takes them."""
        found: dict[str, Any] = {}
        for key in KEYS:
            count = {"commits_per_unit": self.commits, "statements_per_unit": self.statements}.get(key)
            found[key] = _each(count, self.n) if key.endswith("_per_unit") else _short(getattr(self, key))
        found["compared"] = self.compared
        return found | self.more | ({} if self.variant is None else {"variant": self.variant})


def whole(variants: Sequence[Figures], about: str) -> dict[str, Any]:
    """The one object of a workload: its first variant's figures, and all variants when there are several."""
    first = variants[0].facts()
    first.pop("variant", None)
    if variants[0].variant is not None:
        first["variants"] = [variant.facts() for variant in variants]
    return first | {"about": about}


def table(found: dict[str, Any]) -> str:
    """The same for people."""
    variants = found.get("variants", [found])
    columns = [key for key in (*KEYS, "variant") if any(variant.get(key) is not None for variant in variants)]
    rows = [columns, *([_plain(variant.get(key)) for key in columns] for variant in variants)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([found["about"], *lines])


def as_json(found: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(found)


def quantile_ms(seconds: Sequence[float], share: float) -> float | None:
    """The time in milliseconds that `share` of all stay within; None: there are none."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000 if ordered else None


def _each(count: int | None, n: int) -> float | None:
    return None if count is None else _short(count / n)


def _short(value: Any) -> Any:
    """Four digits say all that a measurement knows."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)
