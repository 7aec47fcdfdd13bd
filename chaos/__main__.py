"""`python -m chaos [NAME ...]`: runs scenarios, all of them if none is named, and says what came of it.

`python -m chaos record` runs them in rows, for the record: see `record/`. Ends with 0 when no promise was broken and the faults hit work, with 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from random import SystemRandom

from chaos.mutations import MUTATIONS
from chaos.record import command as record
from chaos.report import Report
from chaos.scenarios import (
    alarms,
    blocked,
    crowd,
    drains,
    fanout,
    freezes,
    full_disk,
    keys,
    kills,
    machines,
    objects,
    outages,
    power,
    rates,
    signals,
    workflows,
)

SCENARIOS: dict[str, Callable[..., Report]] = {
    "kills-sqlite": partial(kills.run, store="sqlite"),
    "kills-postgres": partial(kills.run, store="postgres"),
    "freezes-sqlite": partial(freezes.run, store="sqlite"),
    "freezes-postgres": partial(freezes.run, store="postgres"),
    "machines-sqlite": partial(machines.run, store="sqlite"),
    "machines-postgres": partial(machines.run, store="postgres"),
    "signals-sqlite": partial(signals.run, store="sqlite"),
    "signals-postgres": partial(signals.run, store="postgres"),
    "fanout-sqlite": partial(fanout.run, store="sqlite"),
    "fanout-postgres": partial(fanout.run, store="postgres"),
    "keys-sqlite": partial(keys.run, store="sqlite"),
    "keys-postgres": partial(keys.run, store="postgres"),
    "rates-sqlite": partial(rates.run, store="sqlite"),
    "rates-postgres": partial(rates.run, store="postgres"),
    "workflows-sqlite": partial(workflows.run, store="sqlite"),
    "workflows-postgres": partial(workflows.run, store="postgres"),
    "alarms-sqlite": partial(alarms.run, store="sqlite"),
    "alarms-postgres": partial(alarms.run, store="postgres"),
    "objects-sqlite": partial(objects.run, store="sqlite"),
    "objects-postgres": partial(objects.run, store="postgres"),
    "outages-postgres": partial(outages.run, store="postgres"),
    "blocked-sqlite": partial(blocked.run, store="sqlite"),
    "blocked-postgres": partial(blocked.run, store="postgres"),
    "drains-sqlite": partial(drains.run, store="sqlite"),
    "drains-postgres": partial(drains.run, store="postgres"),
    "crowd-sqlite": partial(crowd.run, store="sqlite"),
    "full-disk-sqlite": partial(full_disk.run, store="sqlite"),
    "power-sqlite": partial(power.run, store="sqlite"),
}


def main() -> int:
    """Runs what the command line asks for."""
    if sys.argv[1:2] == ["record"]:
        return record.main(sys.argv[2:], SCENARIOS)
    parser = argparse.ArgumentParser(prog="chaos", description="Kill, freeze and starve real processes, and check.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--scale", choices=("ci", "full"), default="full")
    parser.add_argument("--seed", type=int, help="of every decision; printed in any case")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each scenario")
    parser.add_argument("--mutation", choices=MUTATIONS, help="plant a bug into the workers; the run should then fail")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in SCENARIOS:
            parser.error(f"no scenario is called {name!r}; there are {', '.join(SCENARIOS)}")
    seed = SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    passed = True
    for name in chosen.names or SCENARIOS:
        report = SCENARIOS[name](scale=chosen.scale, seed=seed, mutation=chosen.mutation)
        print(report.as_json() if chosen.json else report.as_text(), flush=True)
        passed = passed and report.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
