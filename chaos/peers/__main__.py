"""`python -m chaos.peers NAME ... --kills N --seed S`: the same crash run for each of the named systems.

Run it with the Python of an environment that has their packages: `docs/internals/peers.md` says how to make one.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from random import SystemRandom

from chaos.peers import page, stage
from chaos.peers.adapters import NAMES, adapter


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="chaos.peers", description="Kill workers of Outlast and of its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--kills", type=int, default=40, help=f"with {stage.CHUNK} jobs for each; default: 40")
    parser.add_argument("--freezes", type=int, help=f"instead of kills, freeze {stage.FROZEN} workers so many times")
    parser.add_argument("--seed", type=int, help="of every decision; printed in any case")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds after the last kill; default: 300")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each")
    parser.add_argument(
        "--page", type=Path, help="write this page, with what it holds already; its data goes beside it"
    )
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in NAMES:
            parser.error(f"no system is called {name!r}; there are {', '.join(NAMES)}")
    seed = SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    nemesis = partial(stage.kill, kills=chosen.kills)
    if chosen.freezes:
        nemesis = partial(stage.freeze, rounds=chosen.freezes)
    for name in chosen.names:
        found = stage.run(name, adapter(name), nemesis, seed=seed, patience_s=chosen.patience)
        print(json.dumps(found) if chosen.json else page.as_text(found), flush=True)
        if chosen.page:
            page.keep(chosen.page, found)
    if chosen.page:
        page.write(chosen.page)


if __name__ == "__main__":
    main()
