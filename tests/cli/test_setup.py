"""`outlast migrate` and `config`."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Outlast


def test_migrate_makes_the_tables_once(outlast: Outlast, empty_url: str) -> None:
    before = outlast("migrate", "--check", "--url", empty_url, "--json")
    made = outlast("migrate", "--url", empty_url, "--json")
    again = outlast("migrate", "--url", empty_url)
    after = outlast("migrate", "--check", "--url", empty_url, "--json")

    assert (before.code, before.json["version"], before.json["fits"]) == (1, 0, False)
    assert made.json["applied"] == list(range(1, before.json["needed"] + 1))
    assert (again.code, "nothing to do" in again.out) == (0, True)
    assert (after.code, after.json["fits"]) == (0, True)


def test_a_check_makes_no_file(outlast: Outlast, folder: Path) -> None:
    checked = outlast("migrate", "--check")

    assert checked.code == 1
    assert not list(folder.glob("*.db*"))


def test_the_printed_sql_makes_the_same_tables(outlast: Outlast, empty_url: str) -> None:
    script = outlast("migrate", "--sql", "--url", empty_url).out

    if empty_url.startswith("sqlite"):
        with closing(sqlite3.connect(empty_url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
    else:
        with psycopg.connect(empty_url, autocommit=True) as postgres:
            postgres.execute(script.encode())
    assert outlast("migrate", "--check", "--url", empty_url).code == 0


def test_check_and_sql_exclude_each_other(outlast: Outlast) -> None:
    assert outlast("migrate", "--check", "--sql").code == 2


def test_postgres_without_tables_asks_for_migrate(outlast: Outlast, empty_postgres_url: str) -> None:
    refused = outlast("list", "--url", empty_postgres_url)

    assert refused.code == 3
    assert "outlast migrate" in refused.err


def test_config_tells_the_source_of_each_setting(
    outlast: Outlast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[tool.outlast]\nlease = 12\nthreads = 3\nurl = "sqlite:///p.db"\n')
    monkeypatch.setenv("OUTLAST_LEASE", "7")

    found = outlast("config", "--url", "sqlite:///arg.db", "--json").json

    assert found["url"] == {"value": "sqlite:///arg.db", "source": "--url"}
    assert found["lease"] == {"value": 7.0, "source": "OUTLAST_LEASE"}
    assert found["threads"] == {"value": 3, "source": "pyproject.toml"}
    assert found["queues"] == {"value": {"default": 10}, "source": "default"}


def test_config_shows_what_the_app_gave_its_engine(outlast: Outlast, folder: Path) -> None:
    (folder / "app.py").write_text(
        'from outlast import Engine\nengine = Engine("sqlite:///app.db", queues={"mail": 2})\n'
    )

    found = outlast("config", "app", "--json").json

    assert found["queues"] == {"value": {"mail": 2}, "source": "the engine of app"}
    assert found["url"]["value"] == "sqlite:///app.db"
    assert found["app"] == {"value": "app", "source": "argument"}


@pytest.mark.parametrize(
    ("app", "told"),
    [("missing", "there is no module 'missing'"), ("broken", "ZeroDivisionError"), ("shop:engine", "no attribute")],
)
def test_config_works_without_the_app_that_it_cannot_import(
    outlast: Outlast, folder: Path, app: str, told: str
) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "pyproject.toml").write_text(f'[tool.outlast]\nlease = 12\napp = "{app}"\n')

    plain, data, debug = outlast("config"), outlast("config", "--json"), outlast("config", "--debug")
    asked = outlast("config", app)

    assert (plain.code, data.code, debug.code) == (0, 0, 0)
    assert "lease" in plain.out
    assert data.json["lease"] == {"value": 12.0, "source": "pyproject.toml"}
    assert data.json["app"] == {"value": app, "source": "pyproject.toml"}
    for answer in (plain, data, debug):
        assert f"the app {app} could not be imported" in answer.err
        assert told in answer.err
    assert ("Traceback" in plain.err, "Traceback" in debug.err) == (False, True)
    assert (asked.code, asked.out) == (2, "")


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_config_never_shows_a_password(
    outlast: Outlast, monkeypatch: pytest.MonkeyPatch, as_json: tuple[str, ...]
) -> None:
    monkeypatch.setenv("OUTLAST_DATABASE_URL", "postgresql://u:s3cret@h/d?password=s3cret")

    shown = outlast("config", *as_json)

    assert shown.code == 0
    assert "s3cret" not in shown.out + shown.err
    assert "OUTLAST_DATABASE_URL" in shown.out


@pytest.mark.parametrize("command", ["list", "doctor", "migrate", "worker", "start"])
def test_an_error_never_shows_a_password(outlast: Outlast, command: str) -> None:
    args = {"worker": ("shop",), "start": ("shop:add", "--arg", "a=1")}.get(command, ())

    refused = outlast(command, *args, "--url", "postgresql://u:s3cret@127.0.0.1:1/d", "--debug")

    assert refused.code == 3
    assert "s3cret" not in refused.err


def test_a_broken_pyproject_is_told_in_a_sentence(outlast: Outlast, folder: Path) -> None:
    for text in ("not toml", "[tool.outlast]\nlaese = 3", "[tool.outlast]\nlease = []"):
        (folder / "pyproject.toml").write_text(text)

        refused = outlast("list")

        assert refused.code == 2, text
        assert "unexpected" not in refused.err
