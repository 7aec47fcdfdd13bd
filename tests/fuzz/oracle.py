"""What may come of malformed input: a sentence, soon. Anything else is a finding."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from outlast.errors import OutlastError

SLOW_S = 1.0
"""Of processor time, which does not depend on what else the machine does,"""
HANG_S = 20.0
"""and of any time."""
MESSAGE_CHARS_MAX = 2_000


class Finding(AssertionError):
    """The program under test did what it must not do with this input. `sort` is what it has in common with others."""

    def __init__(self, message: str, sort: str = "") -> None:
        super().__init__(message)
        self.sort = sort


@contextmanager
def politely(*refusals: type[BaseException], told: Any = None) -> Iterator[None]:
    """Lets errors of ours pass, and `refusals`; any other is a finding, and so is a message that nobody can read.

    Args:
        told: The input, for the finding.
    """
    try:
        yield
    except Finding:
        raise
    except (OutlastError, *refusals) as error:
        sentence = str(error)
        if not sentence.strip():
            raise Finding(f"{type(error).__name__} without a message for {brief(told)}") from error
        if len(sentence) > MESSAGE_CHARS_MAX:
            raise Finding(
                f"{type(error).__name__} with a message of {len(sentence):,} characters for {brief(told)}"
            ) from error
    except Exception as error:
        raise Finding(f"{type(error).__name__} for {brief(told)}") from error


def brief(value: Any) -> str:
    """An input in a finding."""
    try:
        shown = repr(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= 300 else f"{shown[:200]}... ({len(shown):,} characters) ...{shown[-60:]}"


@dataclass
class Report:
    """What came of the cases of one kind.

    Attributes:
        cases: How many there were.
        seconds: How long they took.
        slowest_s: The longest one.
        findings: The first of each sort, by sort, with the number of its case.
    """

    kind: str
    cases: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        pace = self.cases / self.seconds if self.seconds else 0.0
        lines = [f"{self.kind:<10} {self.cases:>9,} cases {pace:>10,.0f}/s  slowest {self.slowest_s:.3f} s"]
        return "\n".join([*lines, *(f"    {what}\n{told}" for what, told in self.findings.items())])


def watch(report: Report, number: int, case: Callable[[], None]) -> None:
    """Runs one case and notes what it finds."""
    gc.disable()  # a whole suite's leavings take a second to look through, and that is no fault of the case.
    began, worked = time.perf_counter(), time.process_time()
    try:
        case()
    except Exception as error:
        cause = error.__cause__ or error
        frames = traceback.extract_tb(cause.__traceback__)
        ours = [f"{each.filename}:{each.lineno}" for each in frames if "outlast" in each.filename]
        place = ours[-1] if ours else ""
        report.findings.setdefault(
            f"{type(cause).__name__} {getattr(cause, 'sort', '')} at {place}",
            f"    case {number}: {error}\n    because of {brief(cause)}",
        )
    finally:
        took, worked = time.perf_counter() - began, time.process_time() - worked
        gc.enable()
    report.cases += 1
    report.seconds += took
    report.slowest_s = max(report.slowest_s, worked)
    if worked > SLOW_S or took > HANG_S:
        report.findings.setdefault("slow", f"    case {number} took {took:.1f} s")
