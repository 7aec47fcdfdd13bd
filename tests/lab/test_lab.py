"""Operations of the Postgres store, interleaved statement by statement: whatever the order, the rows are right."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.lab.check import violations
from tests.lab.lab import Lab, holds, open_lab
from tests.lab.mutants import MUTANTS
from tests.lab.orders import Exhaustive, alternating
from tests.lab.races import KINDS, race
from tests.lab.scenes import SCENES
from tests.lab.stepping import Actor
from tests.lab.trials import Plan, Tally, Trial

RACES = 60
RACES_MAX = 5_000
"""In which a planted bug must show."""

WHOLE = [
    ("running", ("park", "go")),
    ("running", ("done", "go")),
    ("waiting", ("go", "promote")),
    ("cousins", ("first_of_both", "second_of_both")),
    ("called", ("park", "child_done")),
    ("ended", ("prune", "delete_flow")),
    ("slots", ("take", "done")),
    ("owned", ("answer", "take_over")),
]
"""Pairs of which every order is tried in every run."""


@pytest.fixture
async def lab(postgres_url: str) -> AsyncIterator[Lab]:
    """A lab in a database of its own."""
    async with open_lab(postgres_url) as lab:
        yield lab


def report(tally: Tally) -> str:
    """What is to be read when a test fails."""
    return "\n".join(tally.findings)


@pytest.mark.parametrize("scene", SCENES)
async def test_any_two_operations_may_meet(lab: Lab, scene: str) -> None:
    """Both serial orders, the most mixed one, and one in which both wait within their statements."""
    tally = await Trial(lab, Plan(cap=3, holds=1, rare=False)).run(scene)

    assert not tally.broken, report(tally)
    assert tally.deadlocks == 0, tally.deadlocked
    assert tally.blocked, "nobody has met anybody"


async def test_any_three_operations_may_meet(lab: Lab, pytestconfig: pytest.Config) -> None:
    trial, total = Trial(lab, Plan(cap=9, triples=pytestconfig.getoption("--lab-triples"))), Tally()

    for scene in SCENES:
        total.add(await trial.run(scene))

    assert not total.broken, report(total)
    assert total.blocked, "nobody has met anybody"


async def test_every_order_of_two_is_right(lab: Lab) -> None:
    total = Tally()
    for scene, pair in WHOLE:
        tally = await Trial(lab, Plan()).run(scene, [pair])
        assert tally.blocked, f"{pair} have not met"
        total.add(tally)

    assert not total.broken, report(total)
    assert total.deadlocks == 0, total.deadlocked
    assert total.strayed == total.cut == 0


async def test_a_signal_whose_id_is_older_may_be_committed_later(lab: Lab) -> None:
    """Two signals and a park: whichever commits first, nobody waits for what is there."""
    tally = await Trial(lab, Plan()).run("running", [("go", "go", "park")])

    assert not tally.broken, report(tally)
    assert tally.cut == 0
    assert tally.blocked


async def test_a_deadlock_costs_nothing_but_time(lab: Lab) -> None:
    """Locks taken in another order, as by a bug or by somebody else's transaction."""
    total = Tally()
    for name in ("targets-unordered", "tree-unordered", "parents-unordered"):
        mutant = MUTANTS[name]
        tally = await Trial(lab, Plan(cap=4)).run(mutant.scene, [mutant.names], mutant=mutant.planted)
        assert tally.deadlocks, f"{name}: no deadlock was met"
        total.add(tally)

    assert not total.broken, report(total)


async def test_every_planted_bug_is_noticed(lab: Lab) -> None:
    unnoticed = []
    for mutant in MUTANTS.values():
        trial = Trial(lab, Plan(cap=60, stop_at_first=True))
        tally = await trial.run(mutant.scene, [mutant.names], mutant=mutant.planted)
        if not tally.noticed:
            unnoticed.append(mutant.about)

    assert not unnoticed


async def test_what_was_planted_is_taken_out_again(lab: Lab) -> None:
    before = [dict(actor.sql) for actor in lab.actors]

    for mutant in MUTANTS.values():
        async with mutant.planted(lab):
            assert [dict(actor.sql) for actor in lab.actors] != before
        assert [dict(actor.sql) for actor in lab.actors] == before

    tally = await Trial(lab, Plan(cap=4)).run("single", [("take_two", "take_two")])
    assert not tally.broken, report(tally)


async def test_the_orders_of_two_operations_are_all_there(lab: Lab) -> None:
    """Three statements of one and three of another that do not meet: twenty orders, each once."""

    async def look_twice(who: Actor) -> None:
        await who.store._links.engine.transact(_look_twice)

    orders, seen, more = Exhaustive(), [], True
    while more:
        play = await lab.driver.play(lab.actors[:2], [look_twice, look_twice], orders.begin())
        seen.append("".join(str(move.actor) for move in play.moves))
        more = orders.ended(play)

    assert sorted(seen) == sorted({"".join(order) for order in itertools.permutations("000111")})
    assert len(seen) == 20


async def _look_twice(connection: Any) -> None:
    for _ in range(2):
        await connection.fetch("SELECT 1")


async def test_who_waits_for_a_lock_is_blocked_until_it_is_let_go(lab: Lab) -> None:
    await Trial(lab, Plan()).set_up("waiting")
    (hold,) = [hold for hold in holds(await lab.rows()) if "instances" in hold.statement]
    one, other = lab.holding(hold), lab.holding(hold)

    play = await lab.driver.play(lab.actors[:2], [one, other], alternating(0))

    assert [(move.actor, move.blocked) for move in play.moves] == [(0, False), (1, True), (0, False), (1, False)]


@pytest.mark.parametrize("kind", KINDS)
async def test_races_with_a_signal_lose_nothing(lab: Lab, postgres_url: str, kind: str) -> None:
    score = await race(lab, postgres_url, kind, RACES)

    assert score.lost == 0, score.findings
    assert score.first, "one side always won: that is no race"
    assert score.second, "one side always won: that is no race"


async def test_a_signal_that_locks_nobody_loses_races(lab: Lab, postgres_url: str) -> None:
    mutant = MUTANTS["no-target-lock"]

    score = await race(lab, postgres_url, "park", RACES_MAX, mutant=mutant, stop_at_first=True)

    assert score.lost, "no race was lost without the lock"


async def test_the_check_sees_what_is_wrong_in_rows(lab: Lab) -> None:
    """Rows that no statement of ours would write."""
    await Trial(lab, Plan()).set_up("waiting")
    (row,) = (await lab.rows())["instances"]
    assert violations(await lab.rows()) == []

    lab.given.database.poke(row["id"], awaits='["old"]')
    assert any(found.startswith("lost wake-up") for found in violations(await lab.rows()))

    lab.given.database.poke(row["id"], awaits=None, wake_at=None)
    assert any("waits for nobody" in found for found in violations(await lab.rows()))
