"""The command: `python -m planted [NAME ...]` plants bugs and says who found each. 0: none lives."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from planted.bug import KINDS, Bug, Kind
from planted.bugs import BUGS
from planted.hunt import Catch, Unfit, check_copies_are_used, hunt
from planted.table import as_page, as_text
from planted.workshop import OutOfDate


def main() -> int:
    """Plants what the command line asks for."""
    parser = argparse.ArgumentParser(prog="planted", description="Plant bugs, and see who finds them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs (default: all)")
    parser.add_argument("--seeds", type=int, default=50, help="seeds of the simulation for each (default: 50)")
    parser.add_argument("--jobs", type=int, default=2, help="bugs at once (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON, too")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page of the handbook, too")
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
    with ThreadPoolExecutor(chosen.jobs) as workers:
        results = list(workers.map(lambda bug: _told(bug, chosen.seeds, kinds), bugs))
    catches = [result for result in results if result is not None]
    print(f"\n{as_text(catches)}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([each.as_dict() for each in catches], indent=1))
    if chosen.page is not None:
        chosen.page.write_text(as_page(catches))
    return 0 if len(catches) == len(bugs) and all(each.hunter for each in catches) else 1


def _told(bug: Bug, seeds: int, kinds: Collection[Kind]) -> Catch | None:
    try:
        catch = hunt(bug, seeds, kinds)
    except (OutOfDate, Unfit) as error:
        print(f"{bug.name}: {error}", flush=True)
        return None
    if catch.hunter is None:
        print(f"{bug.name}: LIVES, after {catch.seconds:.0f} s", flush=True)
    else:
        after = "" if catch.seeds is None else f" after {catch.seeds} seeds"
        print(f"{bug.name}: {catch.hunter.kind}{after}, {catch.seconds:.0f} s: {catch.clue[:160]}", flush=True)
    return catch


if __name__ == "__main__":
    sys.exit(main())
