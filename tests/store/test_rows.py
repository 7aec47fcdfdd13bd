"""What both stores share on a row's way in or out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from outlast._kernel import states
from outlast._kernel.identity import checked_key, scope_text
from outlast._model import QueueCounts
from outlast._store.rows import assemble_counts
from outlast.errors import ConfigError


def test_scopes_are_words_or_statuses() -> None:
    assert scope_text("none") is None
    assert scope_text(()) is None
    assert scope_text("live") == scope_text(states.LIVE) == f",{','.join(states.LIVE)},"
    assert scope_text("always") == scope_text(iter(states.ALL))
    assert scope_text([*states.LIVE, "done"]) == f",{','.join(states.LIVE)},done,"


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("life", "'life' is not known; did you mean 'live'"),
        ("", "'' is not known"),
        ([*states.LIVE, "doen"], "no status is called 'doen'; did you mean 'done'"),
        (["done"], "must hold every live status or none; it lacks scheduled, ready"),
        ([5], "no status is called 5"),
        ([["ready"]], "no status is called"),
        (5, "must be a word or a list of statuses, not 5"),
        (None, "must be a word or a list of statuses"),
    ],
)
def test_a_scope_that_could_take_a_key_away_is_refused(scope: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scope_text(scope)


def test_a_key_is_a_name() -> None:
    assert checked_key("order:42") == "order:42"
    with pytest.raises(ConfigError, match="correlation_key"):
        checked_key("")


def test_counts_are_put_together_by_queue() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)

    found = assemble_counts(
        {"b": moment, "c": moment},
        [("b", "ready", 2, 1.5), ("a", "running", 3, None), ("b", "scheduled", 1, 9.0), ("a", "ready", 1, -0.5)],
    )

    assert found == [
        QueueCounts("a", None, ready=1, running=3, oldest_ready_s=0.0),
        QueueCounts("b", moment, ready=2, scheduled=1, oldest_ready_s=1.5),
        QueueCounts("c", moment),
    ]
