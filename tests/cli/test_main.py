"""Help, errors and output that all commands share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlast import __version__, errors
from outlast.cli import bar, main, setup, terminal
from outlast.cli.main import exit_code_of
from tests.cli.conftest import Outlast


def test_help_names_every_command_and_the_exit_codes(outlast: Outlast) -> None:
    shown = outlast("--help")

    assert shown.code == 0
    for name in main.commands:
        assert f"  {name}" in shown.out
        assert outlast(name, "--help").code == 0
    for told in ("130", "OUTLAST_DATABASE_URL", "the database cannot be used"):
        assert told in shown.out


@pytest.mark.parametrize("name", sorted(set(main.commands)))
def test_every_command_takes_the_options_of_all(outlast: Outlast, name: str) -> None:
    shown = outlast(name, "--help").out

    for option in ("--url", "--app", "--json", "--debug"):
        assert option in shown


def test_the_version_is_told(outlast: Outlast) -> None:
    assert outlast("--version").out == f"outlast {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.ArgumentError("x"), 2),
        (errors.StoreUnavailable("x"), 3),
        (errors.SchemaError("x"), 3),
        (errors.NotFound("x"), 4),
        (errors.UnknownProgram("x"), 4),
        (errors.IllegalMove("x", "done"), 1),
        (errors.InstanceFailed("x", id="i", reason="r"), 1),
        (errors.ResultTimeout("i", 1.0, None), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: errors.OutlastError, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_fault_of_our_own_is_one_sentence_without_a_traceback(
    outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "option_names", lambda: 1 / 0)

    plain = outlast("config")
    machine = outlast("config", "--json")
    debug = outlast("config", "--debug")

    assert plain.code == 1
    assert "ZeroDivisionError" in plain.err
    assert "Traceback" not in plain.err
    assert machine.error["error"] == "ZeroDivisionError"
    assert "Traceback" in debug.err


def test_a_damaged_file_is_told_in_a_sentence(outlast: Outlast, folder: Path) -> None:
    (folder / "bad.db").write_text("this is not a database, and never was one")

    for command in ("list", "doctor", "stats", "migrate"):
        refused = outlast(command, "--url", "sqlite:///bad.db")

        assert refused.code == 3
        assert "Traceback" not in refused.err


def test_a_reader_that_goes_away_is_no_error_to_shout_about(outlast: Outlast, folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    ended = subprocess.run(
        [sys.executable, "-m", "outlast", "config"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert ended.returncode == 1
    assert ended.stderr == b""


def test_a_terminal_that_lacks_a_letter_gets_its_escape(outlast: Outlast, folder: Path) -> None:
    id = outlast("start", "shop:echo", "--arg", "value=ä漢").out.strip()

    shown = subprocess.run(
        [sys.executable, "-m", "outlast", "show", id],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )

    assert b"\xe4\\u6f22" in shown.stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 漢", "plain ä 漢"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x00b\x07c\x9bd\x7f", "a\\x00b\\x07c\\x9bd\\x7f"),
        ("line\nnext\rback", "line\\nnext\\rback"),
        ("\u202eevil \ud800", "\\u202eevil \\ud800"),
        ("no\xa0break", "no break"),
    ],
)
def test_clean_text_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert terminal.clean(text) == shown


def test_lines_of_a_traceback_are_kept() -> None:
    assert terminal.clean_lines("a\r\n\tb\x1b\nc") == "a\n    b\\x1b\nc"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0s"), (1.23, "1.2s"), (42.0, "42s"), (90.0, "2m"), (7_200.0, "2h"), (200_000.0, "2d")],
)
def test_a_span_is_short(seconds: float, shown: str) -> None:
    assert terminal.span(seconds) == shown


def test_wide_letters_keep_columns_straight(outlast: Outlast, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say_table(("name", "n"), [("漢字", 1), ("abc", 22)], right=("n",))

    assert capsys.readouterr().out == "name   n\n漢字   1\nabc   22\n"


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_terminal_gets_a_table_and_a_bar_with_or_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_rich: bool
) -> None:
    if not has_rich:
        for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    terminal.say_table(("status", "note"), [("done", "[bold]not markup[/bold]")])
    with bar.Bar("files", 10) as shown:
        shown.show(5)
        shown.say("[red]half-way[/red]")
        shown.show(10)

    said = capsys.readouterr()
    assert "[bold]not markup[/bold]" in said.out
    assert "[red]half-way[/red]" in said.err
    assert "files" in said.err


def test_without_a_terminal_a_bar_is_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with bar.Bar("files", 1_000) as shown:
        for done in range(1_001):
            shown.show(done)

    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[-1] == "files: 1,000 of 1,000"


def test_importing_outlast_imports_no_command_line() -> None:
    code = "import sys, outlast; print([name for name in ('click', 'rich', 'asyncpg') if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
