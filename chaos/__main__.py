"""`python -m chaos [NAME ...]`: runs scenarios, all of them if none is named, and says what came of it.

`python -m chaos record` runs them in rows, for the record: see `record/`. Ends with 0 when no promise was
broken and the faults hit work, with 1 otherwise.
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
    backends,
    bad_rows,
    blocked,
    clocks,
    crowd,
    deaf,
    drains,
    failover,
    fanout,
    freezes,
    full_disk,
    hoarders,
    impatience,
    keys,
    killers,
    kills,
    long_transaction,
    machines,
    network,
    objects,
    outages,
    pooled,
    power,
    rates,
    recoveries,
    rolling,
    signals,
    soak,
    starvation,
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
    "backends-postgres": partial(backends.run, store="postgres"),
    "failover-postgres": partial(failover.run, store="postgres"),
    "failover-async-postgres": partial(failover.run, store="postgres", synchronous=False),
    "network-postgres": partial(network.run, store="postgres"),
    "outages-postgres": partial(outages.run, store="postgres"),
    "blocked-sqlite": partial(blocked.run, store="sqlite"),
    "blocked-postgres": partial(blocked.run, store="postgres"),
    "drains-sqlite": partial(drains.run, store="sqlite"),
    "drains-postgres": partial(drains.run, store="postgres"),
    "clocks-sqlite": partial(clocks.run, store="sqlite"),
    "clocks-postgres": partial(clocks.run, store="postgres"),
    "crowd-sqlite": partial(crowd.run, store="sqlite"),
    "full-disk-sqlite": partial(full_disk.run, store="sqlite"),
    "power-sqlite": partial(power.run, store="sqlite"),
    "bad-rows-sqlite": partial(bad_rows.run, store="sqlite"),
    "bad-rows-postgres": partial(bad_rows.run, store="postgres"),
    "killers-sqlite": partial(killers.run, store="sqlite"),
    "killers-postgres": partial(killers.run, store="postgres"),
    "deaf-sqlite": partial(deaf.run, store="sqlite"),
    "deaf-postgres": partial(deaf.run, store="postgres"),
    "pooled-postgres": partial(pooled.run, store="postgres"),
    "soak-sqlite": partial(soak.run, store="sqlite"),
    "soak-postgres": partial(soak.run, store="postgres"),
    "recoveries-postgres": partial(recoveries.run, store="postgres"),
    "long-transaction-postgres": partial(long_transaction.run, store="postgres"),
    "hoarders-sqlite": partial(hoarders.run, store="sqlite"),
    "hoarders-postgres": partial(hoarders.run, store="postgres"),
    "impatience-sqlite": partial(impatience.run, store="sqlite"),
    "impatience-postgres": partial(impatience.run, store="postgres"),
    "starvation-sqlite": partial(starvation.run, store="sqlite"),
    "starvation-postgres": partial(starvation.run, store="postgres"),
    "rolling-sqlite": partial(rolling.run, store="sqlite"),
    "rolling-postgres": partial(rolling.run, store="postgres"),
}
TIMED = ("soak-sqlite", "soak-postgres", "long-transaction-postgres")
"""Scenarios that last as long as `--minutes` says."""


def main() -> int:
    """Runs what the command line asks for."""
    if sys.argv[1:2] == ["record"]:
        return record.main(sys.argv[2:], SCENARIOS)
    parser = argparse.ArgumentParser(prog="chaos", description="Kill, freeze and starve real processes, and check.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--scale", choices=("ci", "full"), default="full")
    parser.add_argument("--seed", type=int, help="of every decision; printed in any case")
    parser.add_argument("--minutes", type=float, help=f"how long {', '.join(TIMED)} last; others do not care")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each scenario")
    parser.add_argument("--mutation", choices=MUTATIONS, help="plant a bug into the workers; the run should then fail")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in SCENARIOS:
            parser.error(f"no scenario is called {name!r}; there are {', '.join(SCENARIOS)}")
    seed = SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    passed = True
    for name in chosen.names or SCENARIOS:
        more = {"minutes": chosen.minutes} if name in TIMED else {}
        report = SCENARIOS[name](scale=chosen.scale, seed=seed, mutation=chosen.mutation, **more)
        print(report.as_json() if chosen.json else report.as_text(), flush=True)
        passed = passed and report.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
