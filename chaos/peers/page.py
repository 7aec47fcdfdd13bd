"""The page about the peers, and the data that it is made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chaos.peers import duty, stage
from chaos.peers.adapters import CONCURRENCY, NAMES, SHORT_S

_COLUMNS: Final = (
    "System",
    "Never finished",
    "Open in its database",
    "Finished more than once",
    "Run again, per kill",
    "Run again though nobody had died",
    "Recovery, median and slowest, s",
    "Jobs per second under kills",
    "All done after, s",
)
_HEAD: Final = f"""# Peers under the same kills

What happens to jobs when workers are killed, for Outlast and for others that keep jobs in Postgres: one workload, one
nemesis, one checker, the same machine. This page is made by `python -m chaos.peers --page`, from the data beside it. It
claims nothing beyond these runs: one run each, on one machine, of one kind of work. All of these systems promise at
least one execution, so a job that runs again after a kill is no fault; one that never finishes is.

## What is done

* {stage.WORKERS} worker processes on a Postgres of their own, each with up to {CONCURRENCY} jobs at a time. A job is
  asynchronous code that writes `begin`, sleeps {duty.NAP_S[0] * 1000:g} to {duty.NAP_S[1] * 1000:g} ms, and writes
  `end`, into a file outside the database.
* {stage.CHUNK} jobs are handed in. As soon as a worker is in the middle of a job, or up to 20 ms later, a random one
  of those that are is killed with SIGKILL, and another takes its place at once. {stage.GAP_S * 1000:g} ms later come
  the next {stage.CHUNK}. Where the replacement is what recovers (DBOS), a supervisor that takes longer would make
  recoveries longer.
* After the last kill the live workers go on until the database calls every job done, or until patience ends.
* Workers are forked from a process that has imported everything: slow imports cost nobody anything.

Rows called `short` are the same with recovery set to about {SHORT_S} s, a hundred times the longest job, where there is
a setting for it. What is not named under *Settings* is at its default.

"""
_WORDS: Final = """
* *Never finished*: the work never ran to its end within the wait. *Open in its database*: jobs that the system itself
  does not call done by then.
* *Finished more than once*: the work ran to its end, and later again: its process died before the end was recorded, or
  somebody else took the job while it still ran.
* *Run again, per kill*: runs beyond each job's first. A kill interrupts up to ten jobs.
* *Run again though nobody had died*: a run began while every process that had run the job before was still alive.
* *Recovery*: from a kill until a job that it interrupted began again. Jobs that never began again are not in it.
* *Jobs per second under kills*: jobs finished until the last kill. New ones come with the kills, and a kill waits for
  work to hit: this says how soon fresh workers get to work, not what a system can do undisturbed.

## Who waits for what

* Outlast: a process is dead when another has watched its lease stay unchanged for the whole of it, by the watcher's own
  clock. Here the watchers are killed, too, so the first to die wait until somebody lives for long enough: the kills'
  seconds come on top of the lease. Workers that never live for a lease recover nothing.
* DBOS: whoever starts under the name of a dead executor recovers its workflows at once. Under another name, or when
  nobody starts, somebody has to ask for it, which is what Conductor does; it was not part of this.
* Procrastinate: a periodic task, which its documentation has every ten minutes, looks for workers without a heartbeat.
  By these settings that is anything from half a minute to ten and a half, as the kills fall before or after its moment.
* Oban: the leader looks for jobs of a certain age, whether their worker lives or not. A leader that is killed is
  replaced at the others' next election, by default one every 30 s.
* Absurd: a claim that is not extended ends after a certain time, whether its worker lives or not, and the next look for
  work finds it.
"""
_FREEZE_COLUMNS: Final = (
    "System",
    "Workers frozen",
    "Jobs they were in",
    "Begun elsewhere meanwhile",
    "The slowest of those, s",
    "Finished more than once",
    "Never finished",
    "Open in its database",
)
_FREEZES: Final = f"""## Freezes

The same workers and jobs, but up to {stage.FROZEN} workers in the middle of jobs get SIGSTOP at once, and SIGCONT
{stage.FREEZE_S:g} s later: to everybody else they were dead, and then they are back. Who begins their jobs elsewhere
may finish them twice; who does not lets them wait for as long as the process stands still. What the late worker may
still write into the database is not looked at here. Work that had ended, but was not recorded when the freeze came,
counts as finished more than once, too, if others ran it again.
"""
_AGAIN: Final = f"""
## Again

In a checkout, with Python 3.12 or newer, into an environment of its own:

```
python3.13 -m venv peers-venv
peers-venv/bin/pip install '.[postgres]' 'psycopg[binary,pool]' dbos procrastinate oban absurd-sdk absurdctl
peers-venv/bin/python -m chaos.peers {" ".join(NAMES)} --kills 40 --seed 7 --page docs/internals/peers.md
```

`--freezes 2` makes the other table. One name alone replaces its row.
`procrastinate` and `oban` at their defaults need `--patience 720` to come to an end.
"""


def keep(page: Path, found: Mapping[str, Any]) -> None:
    """Adds a run to the page's data; it replaces an earlier one of its kind and name."""
    data = _read(page)
    data["freezes" if "freezes" in found else "kills"][found["name"]] = dict(found)
    ordered = {kind: {name: runs[name] for name in NAMES if name in runs} for kind, runs in data.items()}
    page.with_suffix(".json").write_text(json.dumps(ordered, indent=2) + "\n")


def write(page: Path) -> None:
    """Makes the page from its data."""
    data = _read(page)
    kills, freezes = list(data["kills"].values()), list(data["freezes"].values())
    frozen = [_FREEZES, *_table(_FREEZE_COLUMNS, map(_freeze_row, freezes))] if freezes else []
    killed = [_HEAD, *_table(_COLUMNS, map(_kill_row, kills)), _WORDS]
    page.write_text("\n".join([*killed, *frozen, "", *_circumstances([*kills, *freezes]), _AGAIN]))


def as_text(found: Mapping[str, Any]) -> str:
    """One run, for a terminal."""
    return "\n".join(f"{word:20} {value}" for word, value in found.items()) + "\n"


def _read(page: Path) -> dict[str, dict[str, Any]]:
    try:
        data: dict[str, dict[str, Any]] = json.loads(page.with_suffix(".json").read_text())
    except FileNotFoundError:
        return {"kills": {}, "freezes": {}}
    return data


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], others: str = "|--:") -> Iterator[str]:
    yield _row(columns)
    yield "|---" + others * (len(columns) - 1) + "|"
    yield from map(_row, rows)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _kill_row(run: Mapping[str, Any]) -> Sequence[object]:
    return (
        run["name"],
        run["never_finished"],
        run["open_in_database"],
        run["finished_twice"],
        f"{run['rerun_per_kill']:.1f}",
        run["rerun_alive"],
        f"{_seconds(run['recovery_median_s'])} · {_seconds(run['recovery_s'])}",
        run["jobs_per_s"],
        f"{run['all_done_s']:.0f}" if run["all_done_s"] is not None else f"not within {run['waited_s']:.0f}",
    )


def _freeze_row(run: Mapping[str, Any]) -> Sequence[object]:
    return (
        run["name"],
        run["freezes"],
        run["frozen_jobs"],
        run["taken_over"],
        _seconds(run["takeover_s"]),
        run["finished_twice"],
        run["never_finished"],
        run["open_in_database"],
    )


def _circumstances(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Settings"
    yield ""
    rows = ((run["name"], _versions(run), run["settings"], _about(run)) for run in runs)
    yield from _table(("System", "Versions", "Settings", "Run"), rows, "|---")
    for place in sorted({f"Python {run['python']}, {run['postgres']}, {run['cpus']} CPUs" for run in runs}):
        yield f"\n{place}."
    if any(max(run["load"]) > run["cpus"] for run in runs):
        yield "\nOther work ran on this machine, as the load says, waiting runs among it. Times are longer for all."


def _versions(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{package} {version}" for package, version in run["packages"].items())


def _about(run: Mapping[str, Any]) -> str:
    said = [f"{run['date']} UTC", f"{run['jobs']} jobs"]
    if "kills" in run:
        said += [
            f"{run['kills']} kills, {run['kills_in_work']} in the middle of work, {run['interrupted']} runs cut off"
        ]
        said += [f"waited {run['waited_s']:.0f} of at most {run['patience_s']:.0f} s"]
    else:
        said += [f"{run['freezes']} freezes"]
    if run["left_by_themselves"]:
        said += [f"{run['left_by_themselves']} workers ended by themselves"]
    load = " to ".join(f"{value:g}" for value in run["load"])
    return "; ".join([*said, f"seed {run['seed']}", f"load {load}"])


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
