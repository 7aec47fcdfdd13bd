"""What a run's state looks like in words: colour alone would not be enough."""

from __future__ import annotations

from typing import Final

from outlast.graphs.graph import RunState, Status

SYMBOLS: Final[dict[Status, str]] = {"done": "✓", "running": "▶", "waiting": "…", "failed": "✗", "skipped": "–"}


def status_text(run: RunState) -> str:
    """A state on one line: `✓ done · 1.2 s · 3×`."""
    parts = [f"{SYMBOLS[run.status]} {run.status}"]
    if run.duration_s is not None:
        parts.append(duration_text(run.duration_s))
    if run.count > 1:
        parts.append(f"{run.count}×")
    return " · ".join(parts)


def duration_text(duration_s: float) -> str:
    """A duration for people: `12 ms`, `1.2 s`, `3 min 5 s`, `2 h 4 min`, `3 d 1 h`."""
    if duration_s < 0.9995:
        return f"{duration_s * 1000:.0f} ms"
    if duration_s < 9.95:
        return f"{duration_s:.1f} s"
    seconds = round(duration_s)
    if seconds < 60:
        return f"{seconds} s"
    for unit, inner, length, part in (("min", "s", 60, 1), ("h", "min", 3600, 60), ("d", "h", 86400, 3600)):
        if seconds < length * {"min": 60, "h": 24, "d": 10**9}[unit]:
            rest = seconds % length // part
            return f"{seconds // length} {unit}" + (f" {rest} {inner}" if rest else "")
    return f"{seconds} s"
