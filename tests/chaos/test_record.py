"""The crash record: rows are run, kept, read back and shown, and none takes another with it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.__main__ import SCENARIOS, TIMED
from chaos.record import lines, runs
from chaos.record.board import ROWS
from chaos.record.command import main
from chaos.record.entries import Entry, read, read_lines
from chaos.record.runs import NoReport, RunRound
from chaos.report import Report

Args = list[str]


def report(name: str, scale: str, seed: int, minutes: float | None, **more: Any) -> Report:
    values: dict[str, Any] = {"operations": 10, "commits": 12, "faults_injected": 4, "faults_effective": 4}
    return Report(scenario=name, store="sqlite", scale=scale, seed=seed, versions={"SQLite": "3"}, **(values | more))


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., tuple[int, dict[str, Entry], str]]:
    """Runs the command; gives its answer, what it has kept, and the page."""

    def record(*args: str, run: RunRound = report) -> tuple[int, dict[str, Entry], str]:
        code = main([*args, "--out", str(tmp_path), "--seed", "7"], SCENARIOS, run=run)
        return code, read(tmp_path / "crash-record.json"), (tmp_path / "crash-record.md").read_text()

    return record


Make = Callable[..., tuple[int, dict[str, Entry], str]]


def test_every_scenario_stands_in_a_row_and_a_minute_is_given_to_those_that_know_it() -> None:
    parts = [part for row in ROWS for part in row.parts]

    assert set(SCENARIOS) - {part.scenario for part in parts} == {"crowd-sqlite"}
    assert {part.scenario for part in parts if part.minutes} == set(TIMED)
    assert all(row.parts or row.tests or row.elsewhere for row in ROWS)


@pytest.mark.chaos
def test_a_small_row_is_run_kept_and_shown(tmp_path: Path) -> None:
    code = main(["--rows", "R12", "--scale", "ci", "--out", str(tmp_path), "--seed", "7"], SCENARIOS)

    (entry,) = json.loads((tmp_path / "crash-record.json").read_text())
    if entry.get("because"):
        pytest.skip(entry["because"])
    assert code == 0
    assert (entry["row"], entry["seed"], entry["scale"]) == ("R12", 7, "ci")
    assert entry["ran"] == "1 small round of power-sqlite"
    assert entry["faults_injected"] == 50
    assert "violations" not in entry
    page = (tmp_path / "crash-record.md").read_text()
    assert "| R12 | Power loss, SQLite | **passed** | ci |" in page
    assert "* **R13 Simulated clusters**: made by another command" in page


def test_rounds_are_summed_up_and_each_has_a_seed_of_its_own(record: Make) -> None:
    seeds: list[int] = []

    def run(name: str, scale: str, seed: int, minutes: float | None) -> Report:
        seeds.append(seed)
        return report(name, scale, seed, minutes, slowest_recovery_s=float(len(seeds)))

    code, entries, page = record("--rows", "R12", "--scale", "0.3", run=run)

    assert code == 0
    assert seeds == [7, 8, 9]
    assert (entries["R12"].operations, entries["R12"].faults_injected) == (30, 12)
    assert entries["R12"].slowest_recovery_s == 3.0
    assert "Ran: 3 rounds of power-sqlite, from seed 7" in page


def test_a_row_that_is_not_run_keeps_what_it_had(record: Make) -> None:
    record("--rows", "R12")
    first = record("--rows", "R11")[1]["R12"]

    _, entries, _ = record("--rows", "R11", run=lambda *args: report(*args, operations=99))

    assert entries["R12"] == first
    assert entries["R11"].operations == 3 * 99


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"violations": 1, "said": ["lost: it"]}, "Violation: power-sqlite, seed 7: lost: it"),
        ({"faults_effective": 3}, "No proof: power-sqlite, seed 7: only 3 of 4 faults hit work"),
    ],
)
def test_a_round_that_fails_fails_its_row(record: Make, more: dict[str, Any], complaint: str) -> None:
    code, entries, page = record("--rows", "R12", "--scale", "ci", run=lambda *args: report(*args, **more))

    assert code == 1
    assert entries["R12"].verdict == "failed"
    assert complaint in page


@pytest.mark.parametrize("error", [NoReport("had not ended after 9 s"), OSError("no space")])
def test_a_round_that_does_not_end_stops_no_other(record: Make, error: Exception) -> None:
    def run(name: str, scale: str, seed: int, minutes: float | None) -> Report:
        if name == "power-sqlite":
            raise error
        return report(name, scale, seed, minutes)

    code, entries, page = record("--rows", "R12,R11", run=run)

    assert code == 1
    assert entries["R12"].verdict == "failed"
    assert str(error) in page
    assert entries["R11"].verdict == "passed"


def test_ctrl_c_keeps_what_is_done(record: Make) -> None:
    def run(name: str, scale: str, seed: int, minutes: float | None) -> Report:
        if seed == 9:
            raise KeyboardInterrupt
        return report(name, scale, seed, minutes)

    code, entries, _ = record("--rows", "R12,R11", run=run)

    assert code == 130
    assert entries["R12"].ran == "2 rounds of power-sqlite"
    assert entries["R12"].verdict == "partly"
    assert "R11" not in entries


def test_a_scenario_that_cannot_be_run_here_is_named(record: Make) -> None:
    code, entries, page = record(
        "--rows", "R11", run=lambda name, *args: Report(scenario=name, store="", scale="", seed=0, skipped="no disk")
    )

    assert code == 0
    assert entries["R11"].verdict == "not run"
    assert "* **R11 No space on the disk**: full-disk-sqlite: no disk." in page


def test_other_commands_add_their_results(record: Make, tmp_path: Path) -> None:
    news = tmp_path / "news"
    news.write_text('{"row": "R13", "ran": "20 seeds", "operations": 5, "faults_injected": 2, "faults_effective": 2}\n')

    code, entries, page = record("--add", str(news))

    assert code == 0
    assert (entries["R13"].operations, entries["R13"].verdict) == (5, "passed")
    assert "Ran: 20 seeds" in page


def test_parts_of_a_row_that_were_run_apart_count_together(record: Make, tmp_path: Path) -> None:
    news = tmp_path / "news"
    rows = ("--rows", "R2", "--record", str(news))

    def wasteful(*args: Any) -> Report:
        return report(*args, re_executions_per_commit=0.5, slowest_recovery_s=2.0, violations=1, said=["lost"])

    assert main([*rows, "--scenarios", "kills-postgres", "--seed", "3"], SCENARIOS, run=report) == 0
    assert main([*rows, "--scenarios", "fanout-postgres", "--scale", "2"], SCENARIOS, run=wasteful) == 1
    assert not (tmp_path / "crash-record.json").exists()
    code, entries, page = record("--add", str(news))

    found = entries["R2"]
    assert (code, found.verdict, found.violations, len(found.said)) == (1, "failed", 2, 2)
    assert (found.operations, found.commits, found.faults_effective) == (100, 120, 40)
    assert (found.re_executions_per_commit, found.slowest_recovery_s) == (0.1, 2.0)
    assert found.scale == "full, 2"
    assert "Ran: 8 rounds of kills-postgres, from seed 3; 2 rounds of fanout-postgres, from seed " in page


def test_what_two_commands_tell_of_a_row_stands_side_by_side(record: Make, tmp_path: Path) -> None:
    news = tmp_path / "news"
    for seed in (1, 2):
        lines.append(news, "R13", "seeds", seed=seed, more={"storms": {"crashes": seed}})

    _, entries, page = record("--add", str(news))

    assert entries["R13"].more == {"storms": {"crashes": 1}, "storms (2)": {"crashes": 2}}
    assert "storms (2): crashes 2." in page


@pytest.mark.parametrize(("scale", "rounds"), [("full", "500"), ("0.5", "250"), ("10", "5000"), ("ci", None)])
def test_tests_of_a_row_do_as_much_as_the_scale_says(
    record: Make, monkeypatch: pytest.MonkeyPatch, scale: str, rounds: str | None
) -> None:
    asked: list[Any] = []

    real_run = subprocess.run

    def run(command: list[str], **how: Any) -> Any:
        if command[0] == "git":
            return real_run(command, **how)
        asked.append((command[-3:], how["env"].get("OUTLAST_TEST_ROUNDS")))
        return subprocess.CompletedProcess(command, 0, stdout="2 passed in 1 s", stderr="")

    monkeypatch.setattr(runs.subprocess, "run", run)
    monkeypatch.delenv("OUTLAST_TEST_ROUNDS", raising=False)
    _, entries, _ = record("--rows", "R6", "--scenarios", "tests", "--scale", scale)

    assert asked == [(["tests/store/contract/test_races.py", "-k", "no_wake_up_is_lost"], rounds)]
    assert entries["R6"].operations == 2
    assert (f"OUTLAST_TEST_ROUNDS={rounds}" in entries["R6"].ran) is (rounds is not None)


def test_a_scenario_that_does_not_exist_is_refused(record: Make, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        record("--rows", "R2", "--scenarios", "kills-postgres,kils")

    assert "no scenario is called kils" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ['{"row": "R99", "ran": "it"}', '{"row": "R13"}', '{"row": "R13", "ran": "it", "fautls": 1}', "no JSON"]
)
def test_a_result_that_cannot_be_read_is_refused(
    record: Make, tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    news = tmp_path / "news"
    news.write_text(line)

    with pytest.raises(SystemExit):
        record("--add", str(news))

    assert "line 1" in capsys.readouterr().err
    assert not (tmp_path / "crash-record.json").exists()


def test_what_another_command_has_run_is_a_line_that_the_record_takes(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    lines.append(path, "R19", "`python -m tests.fuzz`", seed=3, operations=10, violations=1, said=["x"])
    lines.append(path, "R13", "2 seeds", operations=20, more={"crashes": 5})

    first, second = read_lines(path)

    assert (first.row, first.seed, first.operations, first.violations, first.said) == ("R19", 3, 10, 1, ["x"])
    assert (second.row, second.more, second.verdict) == ("R13", {"crashes": 5}, "passed")
    assert all([first.versions["outlast"], first.date, first.commit])
