"""The knife of the network runs: where it cuts, and when it rests."""

from random import Random
from typing import Any

from chaos.wires import Knife, process_of

NOBODY: Any = type("Link", (), {"name": "outlast worker-3 engine"})()


def test_every_byte_of_an_answer_has_its_turn_and_then_the_first_again() -> None:
    knife = Knife(Random(1), share=1.0)
    knife.left = 6

    cuts = [knife.decide("outcome", NOBODY, 3, True) for _ in range(6)]

    assert [cut.kept for cut in cuts if cut is not None] == [0, 1, 2, 3, 0, 1]
    assert knife.is_done
    assert knife.decide("outcome", NOBODY, 3, True) is None
    assert [name for name, _ in knife.cuts] == ["worker-3"] * 6


def test_questions_and_answers_are_swept_apart() -> None:
    knife = Knife(Random(1), share=1.0)
    knife.left = 2

    asked, answered = knife.decide("claim", NOBODY, 9, False), knife.decide("claim", NOBODY, 9, True)

    assert asked is not None
    assert answered is not None
    assert [(cut.kept, cut.answer, cut.silent) for cut in (asked, answered)] == [(0, False, False), (0, True, False)]
    assert knife.counts == {"claim asked": 1, "claim answered": 1}


def test_only_the_answer_to_an_outcome_falls_silent() -> None:
    knife = Knife(Random(1), share=1.0)
    knife.silences = 1

    assert knife.decide("claim", NOBODY, 9, True) is None
    assert knife.decide("outcome", NOBODY, 9, False) is None
    cut = knife.decide("outcome", NOBODY, 9, True)

    assert cut is not None
    assert cut.silent
    assert knife.silences == 0


def test_a_connection_belongs_to_the_process_that_it_names() -> None:
    assert process_of("outlast feeder-0 client") == "feeder-0"
    assert process_of("psql") == "psql"
