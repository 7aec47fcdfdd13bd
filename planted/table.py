"""What came of all bugs: a table for people, and the page of the handbook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from chaos.record import lines
from planted.hunt import Catch

_PAGE = """# Planted bugs

A check that never fails proves nothing. So we plant bugs on purpose, one at a time, in a copy of our own code and SQL,
and see who notices: the simulation, the interleavings of Postgres transactions, or the suite. All that
finds a bug is asked the same without it as well, and must be content there.

`make planted` plants them all and fails if one lives; `make planted ARGS="NAME --seeds 10"` plants one. The bugs are in
`planted/bugs/`, this page is written by `python -m planted --page docs/internals/planted-bugs.md`, and the letters name
kinds of failure:

| | |
|---|---|
| A | claims, leases, fences |
| B | writing outcomes |
| C | parking, waking, signals |
| D | children, joins, cancelling |
| E | concurrency keys, rate limits |
| F | timers and schedules |
| G, H | Postgres, SQLite |
| J | data, code versions, limits |
| O | objects |
| P | the Python process |
| W | workflows and their journal |

"""


def as_text(catches: Sequence[Catch]) -> str:
    """For people at a terminal."""
    lines = [f"{each.bug.name:<34} {each.bug.entry:<4} {_by(each):<40} {_seeds(each):>5}" for each in catches]
    return "\n".join([*lines, "", _summary(catches)])


def as_page(catches: Sequence[Catch]) -> str:
    """The page of the handbook."""
    rows = [
        f"| `{each.bug.name}` | {each.bug.entry} | {each.bug.breaks} | {_by(each)} | {_seeds(each)} |"
        for each in sorted(catches, key=lambda each: (each.bug.entry[0], int(each.bug.entry[1:]), each.bug.name))
    ]
    head = ["| bug | kind | what it breaks | caught by | after seeds |", "|---|---|---|---|---|"]
    return "\n".join([_PAGE + _summary(catches), "", *head, *rows, ""])


def _by(catch: Catch) -> str:
    if catch.hunter is None:
        return "nobody"
    if catch.hunter.kind == "simulation":
        return f"simulation: {', '.join(catch.hunter.what)}"
    return f"{catch.hunter.kind}: {catch.clue.rpartition('::')[2].partition('[')[0]}"


def _seeds(catch: Catch) -> str:
    return "" if catch.seeds is None else str(catch.seeds)


def append_to_record(file: Path, catches: Sequence[Catch], *, red: Sequence[str], missing: Sequence[str]) -> None:
    """Adds the line of the crash record.

    Args:
        file: Where lines are kept, for `python -m chaos record --add`.
        catches: What came of the bugs.
        red: What hunters find in our own code as it is.
        missing: Bugs that nothing came of: they could not be planted.
    """
    living = [f"{each.bug.name} lives" for each in catches if each.hunter is None]
    lines.append(
        file,
        "R14",
        f"`{lines.words()}`",
        operations=len(catches),
        violations=len(living) + len(red),
        said=[*living, *red],
        unproved=[f"{name} could not be planted" for name in missing],
        duration_s=round(sum(each.seconds for each in catches), 1),
        more={"bugs": _summary(catches).rstrip("."), "table": "`docs/internals/planted-bugs.md`"},
    )


def _summary(catches: Sequence[Catch]) -> str:
    by = Counter(each.hunter.kind for each in catches if each.hunter is not None)
    seeds = [each.seeds for each in catches if each.seeds is not None]
    caught = ", ".join(f"{count} by the {kind}" for kind, count in sorted(by.items(), key=lambda item: -item[1]))
    text = f"{len(catches)} bugs were planted, {sum(by.values())} caught: {caught or 'none'}."
    if seeds:
        text += (
            f" Where the simulation caught one it needed {median(seeds):g} seeds in the median, {max(seeds)} at most."
        )
    return text
