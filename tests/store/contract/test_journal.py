"""What is left of the waits that workflows have recorded."""

import pytest

from outlast._model import Entry
from tests.store.given import Given, settlement

UNKNOWN = "0190a2b3-0000-7000-8000-000000000000"


async def test_the_seconds_left_of_waits_are_told_by_instance_and_key(given: Given) -> None:
    given.world.pin()
    one, two = await given.claimed(2)
    entries = [
        Entry("sleep#1", "sleep", "waiting", 1, wake_s=60.0),
        Entry("sleep#2", "sleep", "waiting", 2, wake_s=5.0),
        Entry("signal:a#1", "signal", "waiting", 3),
    ]
    for claim in (one, two):
        parked = settlement(claim, "waiting", awaits=["a"], wake_s=5.0)
        parked.entries = entries
        await given.store.claims.commit([parked])
    given.world.advance(10)

    asked = [(one.id, "sleep#1"), (two.id, "sleep#2"), (two.id, "signal:a#1"), (two.id, "none#1"), (UNKNOWN, "sleep#1")]
    found = await given.store.journal.left(asked)

    assert sorted(found) == sorted([(one.id, "sleep#1", pytest.approx(50.0)), (two.id, "sleep#2", pytest.approx(-5.0))])
    assert await given.store.journal.left([]) == []
    assert await given.store.journal.left([("no id", "sleep#1")]) == []
