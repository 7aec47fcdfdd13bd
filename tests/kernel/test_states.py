"""Statuses and moves."""

from outlast._kernel import states


def test_every_status_is_live_or_final() -> None:
    assert not set(states.LIVE) & set(states.FINAL)
    assert set(states.ALL) == set(states.LIVE) | set(states.FINAL)
    assert len(states.ALL) == len(set(states.ALL)) == 11


def test_a_quarantined_instance_lives() -> None:
    """It waits for an operator, and keeps its correlation key from others until then."""
    assert states.QUARANTINED in states.LIVE


def test_moves_lead_from_status_to_status() -> None:
    for moves in states.MOVES.values():
        assert set(moves) <= set(states.ALL)
        assert set(moves.values()) <= set(states.ALL)


def test_what_has_ended_moves_only_by_an_operators_retry() -> None:
    events = {event for event, moves in states.MOVES.items() if set(moves) & set(states.FINAL)}

    assert events == {"retry", "retry_limited"}


def test_what_is_done_stays_done() -> None:
    assert not [event for event, moves in states.MOVES.items() if states.DONE in moves]


def test_only_a_claim_starts_a_run() -> None:
    begun = [event for event, moves in states.MOVES.items() if states.RUNNING in moves.values()]
    assert begun == ["claim", "next_inline"]  # the second keeps what the first has begun.


def test_everything_that_lives_can_be_cancelled() -> None:
    assert states.allowed_from("cancel") == states.LIVE
