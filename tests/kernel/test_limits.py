"""Who may run: slots, tokens, and both at once."""

from hypothesis import given
from hypothesis import strategies as st

from outlast._kernel.limits import Bucket, decide, denials, free_slots, limit_name, prefix_within
from outlast._model import Claim, Denied


def claim(id: str, key: str | None = None, rate: str | None = None, weight: float = 1.0) -> Claim:
    return Claim(id, "p", 1, "run", "{}", 1, 0, 0, 0, None, concurrency_key=key, rate_limit=rate, rate_weight=weight)


def test_a_name_is_what_stands_before_the_partition() -> None:
    names = {"gpu": "gpu", "gpu[eu]": "gpu", "user:42": "user:42", "a[b": "a[b", "a[b][c]": "a"}

    assert {text: limit_name(text) for text in names} == names


def test_slots_are_given_in_the_order_of_urgency() -> None:
    verdict = decide([claim("1", "a"), claim("2", "a"), claim("3", "b"), claim("4", "a")], {"a": [0, 2], "b": [0]}, {})

    assert verdict.slots == {"1": 0, "2": 2, "3": 0}
    assert verdict.denied == {"4": "k:a"}
    assert denials(verdict) == [Denied("k:a", 1)]


def test_once_a_rate_has_denied_one_it_denies_all_behind() -> None:
    claims = [claim("1", rate="r", weight=2), claim("2", rate="r", weight=5), claim("3", rate="r", weight=1)]

    verdict = decide(claims, {}, {"r": 4.0})

    assert (verdict.slots, verdict.denied) == ({"1": None}, {"2": "r:r", "3": "r:r"})
    assert (verdict.spent, verdict.wanted) == ({"r": 2.0}, {"r": 5})


def test_who_lacks_one_of_two_takes_neither() -> None:
    claims = [claim("1", "a", "r"), claim("2", "a", "r"), claim("3", "b", "r"), claim("4", "c", "r")]

    verdict = decide(claims, {"a": [0], "b": [0], "c": [0]}, {"r": 2.0})

    assert verdict.slots == {"1": 0, "3": 0}
    assert verdict.denied == {"2": "k:a", "4": "r:r"}
    assert verdict.spent == {"r": 2.0}


def test_what_nobody_knows_of_lets_nobody_through() -> None:
    verdict = decide([claim("1", rate="gone"), claim("2", "gone")], {}, {})

    assert verdict.denied == {"1": "r:gone", "2": "k:gone"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["r", "s", None]), st.floats(0.1, 5.0)),
        max_size=40,
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 5)),
    st.dictionaries(st.sampled_from(["r", "s"]), st.floats(0, 20)),
)
def test_no_limit_is_ever_passed(
    given: list[tuple[str | None, str | None, float]], slots: dict[str, int], tokens: dict[str, float]
) -> None:
    claims = [claim(str(n), key, rate, weight) for n, (key, rate, weight) in enumerate(given)]

    verdict = decide(claims, {key: list(range(count)) for key, count in slots.items()}, tokens)

    through = [c for c in claims if c.id in verdict.slots]
    assert verdict.slots.keys() | verdict.denied.keys() == {c.id for c in claims}
    assert not verdict.slots.keys() & verdict.denied.keys()
    for key in ("a", "b"):
        given_out = [verdict.slots[c.id] for c in through if c.concurrency_key == key]
        assert len(set(given_out)) == len(given_out) <= slots.get(key, 0)
    for rate in ("r", "s"):
        spent = sum(c.rate_weight for c in through if c.rate_limit == rate)
        assert abs(spent - verdict.spent.get(rate, 0.0)) < 1e-6
        assert spent <= tokens.get(rate, 0.0) + 1e-6


def test_a_lowered_limit_drains_before_it_admits() -> None:
    assert free_slots([], 3) == [0, 1, 2]
    assert free_slots([0, 2], 3) == [1]
    assert free_slots([3, 4], 3) == [0]
    assert free_slots([2, 3, 4], 3) == []
    assert free_slots([0, 1, 2, 3, 4], 1) == []


@given(st.sets(st.integers(0, 20), max_size=20), st.integers(1, 20))
def test_free_slots_never_make_more_than_the_limit(used: set[int], slots: int) -> None:
    free = free_slots(used, slots)

    assert not used & set(free)
    assert all(0 <= slot < slots for slot in free)
    assert not free or len(used) + len(free) <= slots


def test_a_prefix_fits() -> None:
    assert [prefix_within([1, 2, 3], tokens) for tokens in (0.5, 1, 3, 5.9, 6, 99)] == [0, 1, 2, 2, 3, 3]


def test_a_bucket_fills_up_to_its_burst_and_never_empties_by_a_clock() -> None:
    now_us = 10_000_000

    def tokens(tokens: float | None, refilled_us: int | None) -> float:
        return Bucket.now(10.0, 1.0, 20.0, tokens, refilled_us, now_us=now_us).tokens

    assert tokens(None, None) == 20.0
    assert tokens(5.0, now_us) == 5.0
    assert tokens(5.0, now_us - 500_000) == 10.0
    assert tokens(5.0, 0) == 20.0
    assert tokens(5.0, now_us + 3_600_000_000) == 5.0, "a clock that went back adds nothing and takes nothing"


def test_who_waits_is_looked_at_when_the_tokens_exist() -> None:
    bucket = Bucket(10.0, 1.0, 0)

    assert bucket.wait_us(3.0) == 200_000
    assert bucket.wait_us(1.0) == 10_000, "not more often than every ten milliseconds"
    assert Bucket(0.001, 0.0, 0).wait_us(1.0) == 60_000_000, "and once a minute at least"
