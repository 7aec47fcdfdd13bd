"""The pytest plugin, as somebody meets it who has just installed the package: in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.testing.strangers import ANYIO, CLASHING, NO_LOOP, STRICT, UNUSED, WORKER


def run_pytest(folder: Path, *args: str, text: str = STRICT, mode: str = "strict", **environment: str) -> str:
    """What a pytest of a project with one file of tests prints, and its exit code in the last line."""
    (folder / "test_shop.py").write_text(text, encoding="utf-8")
    settings = f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function" if mode else ""
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{settings}\n", encoding="utf-8")
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "OUTLAST_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *args],
        cwd=folder,
        env=known | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return f"{ran.stdout}{ran.stderr}\nexit {ran.returncode}"


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_an_engine_is_ready_in_every_test(tmp_path: Path, mode: str) -> None:
    printed = run_pytest(tmp_path, mode=mode)

    assert "3 passed" in printed, printed


def test_on_postgres_when_asked_in_a_schema_that_is_dropped(tmp_path: Path, postgres_url: str) -> None:
    for args, environment in (([f"--outlast-url={postgres_url}"], {}), ([], {"OUTLAST_TEST_URL": postgres_url})):
        printed = run_pytest(tmp_path, *args, **environment)
        assert "3 passed" in printed, printed

    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'test%'").fetchall()
    assert found == []


def test_a_worker_runs_what_is_started(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, text=WORKER)

    assert "1 passed" in printed, printed


def test_with_anyio(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, "-p", "no:asyncio", text=ANYIO, mode="")

    assert "1 passed" in printed, printed


def test_the_kit_works_without_a_plugin_for_coroutines(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, text=NO_LOOP)

    assert "1 passed" in printed, printed


def test_a_url_that_is_not_postgres_is_refused(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, "--outlast-url=mysql://here")

    assert "--outlast-url takes postgresql://..., not 'mysql://here'" in printed
    assert "3 errors" in printed


def test_a_failing_assertion_ends_cleanly(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, text=CLASHING)

    assert "it is 'waiting'" in printed
    assert "1 failed" in printed
    assert "warning" not in printed.lower()


def test_who_does_not_use_it_does_not_load_the_package(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, text=UNUSED)

    assert "1 passed" in printed, printed
