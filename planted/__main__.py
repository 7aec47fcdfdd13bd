"""The command: `python -m planted [NAME ...]` plants bugs and says who found each. 0: none lives."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from planted.bug import KINDS, Bug, Kind
from planted.bugs import BUGS
from planted.hunt import Catch, Unfit, catch_of, check_copies_are_used, hunt, red
from planted.table import append_to_record, as_page, as_text
from planted.workshop import OutOfDate


def main() -> int:
    """Plants what the command line asks for."""
    parser = argparse.ArgumentParser(prog="planted", description="Plant bugs, and see who finds them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs (default: all)")
    parser.add_argument("--seeds", type=int, default=50, help="seeds of the simulation for each (default: 50)")
    parser.add_argument("--jobs", type=int, default=2, help="bugs at once (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON, each as it comes")
    parser.add_argument("--resume", action="store_true", help="leave out bugs whose results the JSON file holds")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page of the handbook, too")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add a line for the crash record to this file")
    parser.add_argument("--only", choices=KINDS, help="ask only hunters of this kind (default: as the bugs say)")
    parser.add_argument("--list", action="store_true", help="only name the bugs")
    chosen = parser.parse_args()
    by_name = {bug.name: bug for bug in BUGS}
    if unknown := set(chosen.names) - by_name.keys():
        parser.error(f"no bug is called {', '.join(sorted(unknown))}; try --list")
    if chosen.jobs < 1 or chosen.seeds < 1:
        parser.error("--jobs and --seeds are at least 1")
    bugs = [by_name[name] for name in chosen.names] or list(BUGS)
    if chosen.list:
        print("\n".join(f"{bug.name:<34} {bug.entry:<4} {bug.breaks}" for bug in bugs))
        return 0
    check_copies_are_used()
    kinds = KINDS if chosen.only is None else (chosen.only,)
    book = Results(chosen.json, by_name, resume=chosen.resume)
    with ThreadPoolExecutor(chosen.jobs) as workers:
        list(workers.map(lambda bug: _plant(bug, chosen.seeds, kinds, book), bugs))
    catches = [book.catches[bug.name] for bug in bugs if bug.name in book.catches]
    print(f"\n{as_text(catches)}")
    if chosen.page is not None:
        chosen.page.write_text(as_page(catches))
    wrong = red(catches)
    print("\n".join(wrong))
    missing = [bug.name for bug in bugs if bug.name not in book.catches]
    if chosen.record is not None:
        append_to_record(chosen.record, catches, red=wrong, missing=missing)
    return 0 if not (wrong or missing) and all(each.hunter for each in catches) else 1


class Results:
    """What came of bugs, kept in a file as it comes.

    Attributes:
        catches: By the bug's name.
    """

    def __init__(self, file: Path | None, bugs: Mapping[str, Bug], *, resume: bool) -> None:
        self.catches: dict[str, Catch] = {}
        self._file = file
        self._lock = Lock()
        if resume and file is not None and file.exists():
            found = [catch_of(bugs, told) for told in json.loads(file.read_text())]
            self.catches = {each.bug.name: each for each in found if each is not None}

    def add(self, catch: Catch) -> None:
        """One more."""
        with self._lock:
            self.catches[catch.bug.name] = catch
            if self._file is not None:
                self._file.write_text(json.dumps([each.as_dict() for each in self.catches.values()], indent=1))


def _plant(bug: Bug, seeds: int, kinds: Collection[Kind], book: Results) -> None:
    if bug.name in book.catches:
        return
    try:
        catch = hunt(bug, seeds, kinds)
    except (OutOfDate, Unfit) as error:
        print(f"{bug.name}: {error}", flush=True)
        return
    book.add(catch)
    if catch.hunter is None:
        print(f"{bug.name}: LIVES, after {catch.seconds:.0f} s", flush=True)
    else:
        after = "" if catch.seeds is None else f" after {catch.seeds} seeds"
        print(f"{bug.name}: {catch.hunter.kind}{after}, {catch.seconds:.0f} s: {catch.clue[:160]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
