"""The benchmark says what it promises, for every workload and on both databases. How fast is not asked here."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import WORKLOADS, main
from bench.figures import KEYS, Figures, quantile_ms
from harness.databases import Databases

VARIANTS = {
    "jobs": [],
    "enqueue": ["single", "callers", "bulk"],
    "latency": ["same process", "across processes"],
    "backlog": ["as left"],
    "machines": [],
    "workflows": [],
    "waits": [],
    "sleeps": [],
    "fanout": [],
    "signals": [],
    "limits": ["free rows behind a key", "free rows behind a rate", "keyed", "paced"],
    "fair": [],
    "objects": [],
    "touched": [],
    "reads": [],
    "hot": ["sequential", "100 callers"],
    "remote": ["idle", "100 callers"],
    "alarms": [],
}


ON_SQLITE_ALONE = {"workflows", "remote", "jobs", "fair", "machines", "touched"}
ON_POSTGRES_ALONE = {"backlog", "enqueue", "latency", "limits", "hot", "sleeps"}
"""Each starts many processes, or takes long: on one database what there is to see is seen."""


@pytest.mark.slow
@pytest.mark.parametrize("workload", sorted(WORKLOADS.keys() - ON_POSTGRES_ALONE))
def test_a_workload_prints_all_keys_on_sqlite(workload: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([workload, "--store", "sqlite", "--n", "50", "--json"])

    found = json.loads(capsys.readouterr().out)
    _check(found, workload, "sqlite", VARIANTS[workload])
    assert found["commits_per_unit"] > 0
    assert found["statements_per_unit"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("workload", sorted(WORKLOADS.keys() - ON_SQLITE_ALONE))
def test_a_workload_prints_all_keys_on_postgres(
    workload: str, postgres_server: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    main([workload, "--store", "postgres", "--url", postgres_server.url(), "--n", "50", "--json"])

    found = json.loads(capsys.readouterr().out)
    more = ["vacuumed"] if workload == "backlog" else []
    _check(found, workload, "postgres", VARIANTS[workload] + more)
    assert found["commits_per_unit"] > 0


def test_a_file_that_exists_is_not_touched(tmp_path: Path) -> None:
    precious = tmp_path / "app.db"
    precious.write_text("mine")

    with pytest.raises(SystemExit, match="exists"):
        main(["jobs", "--store", "sqlite", "--url", f"sqlite:///{precious}"])

    assert precious.read_text() == "mine"


def test_a_ratio_counts_time_whatever_the_figure() -> None:
    slower = Figures(workload="jobs", store="sqlite", n=1, per_s=50.0, floor=100.0)
    later = Figures(workload="latency", store="sqlite", n=1, p50_ms=2.0, floor=1.0, compared="p50_ms")
    unknown = Figures(workload="jobs", store="sqlite", n=1, per_s=50.0)

    assert (slower.ratio, later.ratio, unknown.ratio) == (2.0, 2.0, None)


def test_a_quantile_is_one_of_the_times() -> None:
    seconds = [0.004, 0.001, 0.003, 0.002]

    assert quantile_ms(seconds, 0.5) == 3.0
    assert quantile_ms(seconds, 1.0) == 4.0
    assert quantile_ms([], 0.5) is None


def _check(found: dict[str, Any], workload: str, store: str, variants: list[str]) -> None:
    assert (found["workload"], found["store"]) == (workload, store)
    assert [variant["variant"] for variant in found.get("variants", [])] == variants
    for figures in (found, *found.get("variants", [])):
        assert set(KEYS) <= figures.keys()
        assert figures["ratio"] is None or figures["ratio"] > 0
        assert figures["worker_cpu_s"] > 0
        assert figures["rss_mb"] is None or figures["rss_mb"] > 10
    assert workload != "workflows" or 0 < found["idle_p50_ms"] <= found["idle_p99_ms"]
