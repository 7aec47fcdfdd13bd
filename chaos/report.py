"""What a run says of itself: one object, the same keys for every scenario."""

from __future__ import annotations

import dataclasses
import json
import platform
from dataclasses import dataclass, field

import outlast

EFFECTIVE_SHARE_MIN = 0.8
SHOWN_MAX = 20
"""Violations that are listed; all are counted."""


@dataclass(kw_only=True)
class Report:
    """One scenario, run once.

    Attributes:
        scenario, store, scale, seed: What was run.
        versions: Of what ran.
        duration_s: From the first process to the verdict.
        operations: Acknowledged starts, all of which must have ended well.
        executions: Times that the code of a step began.
        commits: Outcomes in the database.
        faults_injected, faults_effective: What was done, and what hit work; an idle process killed proves nothing.
        violations: How many promises were broken.
        said: The first of them.
        complaints: All of them, a line each; not printed.
        re_executions_per_commit: Executions that came to nothing, per outcome.
        slowest_recovery_s: The longest that interrupted work waited until it was run again.
        lease_losses: Times that a process lost its lease, or doubted it.
        stale_refused: Late outcomes that the database refused.
        more: What this scenario alone tells.
        skipped: Why it was not run; None: it was.
        kept: Where database and histories are, after a violation.
    """

    scenario: str
    store: str
    scale: str
    seed: int
    versions: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    operations: int = 0
    executions: int = 0
    commits: int = 0
    faults_injected: int = 0
    faults_effective: int = 0
    violations: int = 0
    said: list[str] = field(default_factory=list)
    complaints: str = field(default="", repr=False)
    re_executions_per_commit: float = 0.0
    slowest_recovery_s: float = 0.0
    lease_losses: int = 0
    stale_refused: int = 0
    more: dict[str, object] = field(default_factory=dict)
    skipped: str | None = None
    kept: str | None = None

    @property
    def is_proof(self) -> bool:
        """Whether enough of the faults hit work."""
        return self.faults_effective >= EFFECTIVE_SHARE_MIN * self.faults_injected

    @property
    def passed(self) -> bool:
        """Whether nothing was broken, by faults that count."""
        return self.skipped is not None or (not self.violations and self.is_proof)

    def as_json(self) -> str:
        """One line."""
        told = {**dataclasses.asdict(self), "passed": self.passed}
        del told["complaints"]
        return json.dumps(told)

    def as_text(self) -> str:
        """For people."""
        head = f"{self.scenario} on {self.store}, {self.scale} scale, seed {self.seed}"
        if self.skipped is not None:
            return f"{head}: skipped: {self.skipped}"
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        more = "".join(f"; {name.replace('_', ' ')}: {value}" for name, value in self.more.items())
        lines = [
            f"{head}: {'passed' if self.passed else 'FAILED'}",
            f"  {versions}; {self.duration_s:.1f} s",
            f"  {self.operations:,} starts, {self.executions:,} executions, {self.commits:,} commits, "
            f"{self.re_executions_per_commit:.3f} re-executions per commit",
            f"  {self.faults_injected} faults, {self.faults_effective} effective; "
            f"slowest recovery {self.slowest_recovery_s:.2f} s; {self.lease_losses} leases lost or in doubt; "
            f"{self.stale_refused} stale outcomes refused{more}",
            f"  {self.violations} violations" + ("" if self.is_proof else "; too few faults hit work to be a proof"),
            *(f"    {sentence}" for sentence in self.said),
        ]
        if len(self.said) < self.violations:
            lines.append(f"    ... and {self.violations - len(self.said)} more")
        if self.kept is not None:
            lines.append(f"  kept: {self.kept}")
        return "\n".join(lines)


def versions(store: str | None = None, version: str = "") -> dict[str, str]:
    """Of what runs here."""
    found = {"outlast": outlast.__version__, "Python": platform.python_version(), platform.system(): platform.release()}
    if store is not None:
        found[{"sqlite": "SQLite", "postgres": "PostgreSQL"}[store]] = version
    return found
