"""What came of one seed, and of many."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Verdict:
    """What came of one seed.

    Attributes:
        workloads: What the cluster worked on.
        are_named: Whether somebody chose these, and not the seed.
        storm: Whether all that befell it were deaths, many of them.
        digest: Of the history: the same seed gives the same.
        violations: What must not be.
        tail: The last events that matter to the first violation.
        faults: How often each kind was done.
        crashes, hits: Processes that were killed; those of them that held work, or waited for an answer.
        transactions, writes, lost: All, those that wrote; requests and answers that were lost.
        commits, claims: Outcomes and objects' changes written; claims.
        virtual_s, cpu_s: How long it took, there and of a core here.
    """

    seed: int
    workloads: tuple[str, ...] = ()
    are_named: bool = False
    storm: bool = False
    digest: str = ""
    violations: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    hits: int = 0
    transactions: int = 0
    writes: int = 0
    lost: int = 0
    commits: int = 0
    claims: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0

    def as_text(self) -> str:
        """For people: what is wrong, what led to it, and how to see it again."""
        again = f"python -m simulation --seed {self.seed} --seeds 1"
        again += f" --workloads {','.join(self.workloads)}" if self.are_named else ""  # drawing them takes dice.
        again += " --storm" if self.storm else ""
        return "\n".join([f"seed {self.seed}: VIOLATION", *self.violations[:5], *self.tail, f"again: {again}"])


@dataclass
class Total:
    """What came of many. Fields as in `Verdict`."""

    seeds: int = 0
    violations: int = 0
    crashes: int = 0
    hits: int = 0
    transactions: int = 0
    writes: int = 0
    lost: int = 0
    commits: int = 0
    claims: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    real_s: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """One more."""
        self.seeds += 1
        self.violations += bool(verdict.violations)
        for name in ("crashes", "hits", "transactions", "writes", "lost", "commits", "claims", "virtual_s"):
            setattr(self, name, getattr(self, name) + getattr(verdict, name))
        self.faults += verdict.faults
        self.cpu_s += verdict.cpu_s

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "faults": dict(self.faults)}

    def as_text(self) -> str:
        """For people."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.faults.items()) if kind != "calm")
        cpu_s = max(self.cpu_s, 1e-9)
        return "\n".join(
            [
                f"{self.seeds:,} seeds, {self.violations:,} with violations, in {self.real_s:.0f} s",
                f"{self.crashes:,} crashes ({self.hits:,} in the middle of work), {self.commits:,} commits, "
                f"{self.claims:,} claims, {self.lost:,} lost messages, "
                f"{self.transactions:,} transactions ({self.writes:,} wrote), "
                f"{self.virtual_s / 3600:.1f} hours of virtual time",
                f"faults: {kinds}",
                f"a second of one core: {self.crashes / cpu_s:,.0f} crashes, "
                f"{self.transactions / cpu_s:,.0f} transactions, {self.virtual_s / cpu_s:,.0f} s of virtual time",
            ]
        )
