"""From an outcome to its one write."""

import pytest

from outlast._kernel.outcomes import Again, Cancelled, Failed, Finished, Outcome, Unreadable
from outlast._kernel.settle import settle
from outlast._model import Claim, Settlement

CLAIM = Claim("id", "greet", 1, "run", "{}", 7, 3, 1, 0, "key", commits=2)


@pytest.mark.parametrize(
    ("outcome", "written"),
    [
        (Finished("42"), Settlement("id", 7, "done", 3, "42", None, None, 60.0, commits=2)),
        (Failed('{"e":1}'), Settlement("id", 7, "failed", 4, None, '{"e":1}', None, 60.0, commits=2)),
        (Cancelled('{"e":1}'), Settlement("id", 7, "cancelled", 3, None, '{"e":1}', None, 60.0, commits=2)),
        (Again(2.5, '{"e":1}'), Settlement("id", 7, "scheduled", 4, None, '{"e":1}', 2.5, None, commits=2)),
        (Again(0.0, None), Settlement("id", 7, "ready", 4, None, None, 0.0, None, commits=2)),
        (Unreadable('{"e":1}'), Settlement("id", 7, "quarantined", 3, None, '{"e":1}', None, None, commits=2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_outcome_has_one_write(outcome: Outcome, written: Settlement) -> None:
    assert settle(CLAIM, outcome, retention_s=60.0) == written


def test_only_what_ended_has_a_retention() -> None:
    kept = [settle(CLAIM, outcome, retention_s=60.0).retention_s for outcome in (Again(1.0, None), Unreadable("{}"))]

    assert kept == [None, None]
    assert settle(CLAIM, Finished("1"), retention_s=None).retention_s is None


def test_only_failures_count_as_attempts() -> None:
    counts = {
        type(outcome).__name__: settle(CLAIM, outcome, retention_s=None).attempt - CLAIM.attempt
        for outcome in (Finished("1"), Failed("{}"), Cancelled("{}"), Again(0.0, None), Unreadable("{}"))
    }

    assert counts == {"Finished": 0, "Failed": 1, "Cancelled": 0, "Again": 1, "Unreadable": 0}


def test_what_is_no_outcome_is_refused() -> None:
    with pytest.raises(AssertionError):
        settle(CLAIM, "done", retention_s=None)  # type: ignore[arg-type]
