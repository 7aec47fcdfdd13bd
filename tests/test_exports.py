"""The public face: what is promised is there, and importing it brings nothing along."""

import ast
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import outlast
from outlast import errors, sync

HEAVY = {"asyncpg", "click", "rich", "sqlalchemy", "django", "psycopg", "pydantic", "uvloop", "outlast.cli", "pytest"}
NAMES_MAX = 59


def test_all_is_what_is_public() -> None:
    imported = {
        alias.asname or alias.name
        for node in ast.parse(Path(outlast.__file__).read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert set(outlast.__all__) == {name for name in imported if not name.startswith("_")}
    assert outlast.__all__ == sorted(outlast.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert len(outlast.__all__) <= NAMES_MAX


def test_a_star_import_works() -> None:
    names: dict[str, object] = {}

    module = __import__("outlast", fromlist=["*"])
    names.update({name: getattr(module, name) for name in outlast.__all__})

    assert names["Engine"] is outlast.Engine
    assert None not in names.values()


@pytest.mark.parametrize("name", sorted(outlast.__all__))
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(outlast, name))


def test_the_errors_at_the_top_are_those_of_the_tree() -> None:
    for name in outlast.__all__:
        one = getattr(outlast, name)
        if inspect.isclass(one) and issubclass(one, BaseException):
            assert getattr(errors, name) is one


def test_every_error_of_the_tree_is_ours_and_is_drawn_in_it() -> None:
    drawn = errors.__doc__ or ""

    for name, one in vars(errors).items():
        if inspect.isclass(one) and issubclass(one, BaseException):
            assert issubclass(one, errors.OutlastError)
            assert name in drawn


@pytest.mark.parametrize("module", ["outlast", "outlast.sync"])
def test_importing_brings_nothing_heavy_along(module: str) -> None:
    script = f"import sys, {module}; print(*sorted(sys.modules))"

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert module in loaded
    assert loaded & HEAVY == set()


def test_importing_starts_nothing_and_reads_nothing(tmp_path: Path) -> None:
    script = "import threading, outlast, outlast.sync; print(threading.active_count())"

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert run.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []


def test_making_an_engine_opens_nothing(tmp_path: Path) -> None:
    outlast.Engine(f"sqlite:///{tmp_path / 'app.db'}")
    sync.Engine(f"sqlite:///{tmp_path / 'app.db'}")

    assert list(tmp_path.iterdir()) == []


def test_the_version_is_that_of_the_package() -> None:
    assert outlast.__version__ == version("outlast")


def test_types_are_shipped() -> None:
    assert (Path(outlast.__file__).parent / "py.typed").exists()
