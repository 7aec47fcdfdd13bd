"""Plans for the programs: short, and each kind of move often enough to meet the others."""

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from("ab")
KEYS = st.sampled_from([None, None, "k1", "k2"])
GATES = st.sampled_from([None, None, None, "g1", "g2"])
QUEUES = st.sampled_from(["default", "default", "side"])
TAGS = st.sampled_from([{}, {}, {"t": "1"}, {"t": "2", "u": "1"}])
ANSWERS = st.sampled_from(["approved", "rejected"])
TIMEOUTS = st.sampled_from([None, 60, 600])

_words = st.sampled_from(["ok", "boom", "again", "later", "cancel"])
job_plans = st.lists(_words, min_size=1, max_size=3)


def _move(*parts: Any) -> Any:
    return st.tuples(*[part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]).map(list)


_simple = st.one_of(
    _move("next"),
    _move("await", st.sampled_from([["a"], ["b"], ["a", "b"]]), TIMEOUTS),
    _move("gather", NAMES, st.integers(1, 3)),
    _move("stash", NAMES),
    _move("flaky"),
    _move("again", st.sampled_from([0, 60])),
    _move("gate", st.sampled_from([None, "g1"])),
)
_ends = st.one_of(_move("stop"), _move("cancel"), _move("boom"))


def _plan(moves: Any, size: int) -> Any:
    return st.lists(st.one_of(moves, moves, moves, moves, _ends), min_size=min(size, 3), max_size=size)


_children = st.one_of(_move("job", job_plans), _move("robot", _plan(_simple, 2)))


def _spawn(children: Any) -> Any:
    return st.lists(children, min_size=1, max_size=3).flatmap(
        lambda found: _move("spawn", st.just(found), st.sampled_from([None, 1]), TIMEOUTS)
    )


robot_plans = _plan(st.one_of(_simple, _spawn(_children)), 4)
flow_plans = st.lists(
    st.one_of(
        _move("act", st.sampled_from(["ok", "ok", "flaky", "bad"])),
        _move("charge"),
        _move("sleep", st.sampled_from([60, 600])),
        _move("wait", NAMES, TIMEOUTS),
        _move("ask", "boss", TIMEOUTS),
        _move("child", "job", job_plans),
        _move("child", "robot", _plan(_simple, 2)),
    ),
    min_size=2,
    max_size=5,
)
WHATS = st.one_of(
    st.tuples(st.just("robot"), robot_plans),
    st.tuples(st.just("flow"), flow_plans),
    st.tuples(st.just("job"), job_plans),
)
