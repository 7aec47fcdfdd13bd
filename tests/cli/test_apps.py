"""Finding the user's module, its engine and its jobs."""

from pathlib import Path

import pytest

from outlast import Engine
from outlast.cli.apps import AppError, load_app
from tests.cli.conftest import Outlast

ENGINE = "from outlast import Engine\n"


@pytest.fixture(autouse=True)
def _in_folder(folder: Path) -> None:
    """Each test writes its module into the current folder."""


@pytest.mark.parametrize(
    ("text", "spec", "found"),
    [
        ("", "app", None),
        ("main = Engine('sqlite:///main.db')", "app", "main.db"),
        ("engine = Engine('sqlite:///engine.db'); other = Engine('sqlite:///other.db')", "app", "engine.db"),
        ("engine = Engine('sqlite:///engine.db'); other = Engine('sqlite:///other.db')", "app:other", "other.db"),
        ("class Where:\n    engine = Engine('sqlite:///inner.db')", "app:Where.engine", "inner.db"),
        ("from outlast.sync import Engine as Sync\nengine = Sync('sqlite:///sync.db')", "app", "sync.db"),
        ("class Strange:\n    def __getattr__(self, name): raise ZeroDivisionError\nstrange = Strange()", "app", None),
    ],
)
def test_an_engine_is_found_by_name_or_when_it_is_the_only_one(
    folder: Path, text: str, spec: str, found: str | None
) -> None:
    (folder / "app.py").write_text(ENGINE + text)

    engine = load_app(spec).engine

    assert (None if engine is None else engine.config.url) == (None if found is None else f"sqlite:///{found}")


@pytest.mark.parametrize(
    ("text", "spec", "told"),
    [
        ("", "shap", "did you mean 'shop'"),
        ("", "app.py", "'app'"),
        ("", "./app.py", "did you mean 'app'"),
        ("", ":engine", "package.module"),
        ("import a_module_that_is_not_there", "app", "a_module_that_is_not_there"),
        ("1 / 0", "app", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "app", "SystemExit: 3"),
        ("a = Engine('sqlite://'); b = Engine('sqlite://')", "app", "app:a, app:b"),
        ("engine = Engine('sqlite://')", "app:engin", "did you mean 'engine'"),
        ("x = 1", "app:x", "must be an Engine, not int"),
        ("engine = Engine('mysql://u:s3cret@h')", "app", "'mysql' is not known"),
    ],
)
def test_a_module_that_cannot_be_used_is_told_in_a_sentence(
    outlast: Outlast, folder: Path, text: str, spec: str, told: str
) -> None:
    (folder / "app.py").write_text(ENGINE + text)

    refused = outlast("worker", spec)

    assert refused.code == 2
    assert told in refused.err
    assert "Traceback" not in refused.err
    with pytest.raises(AppError):
        load_app(spec)


def test_debug_shows_the_users_own_traceback(outlast: Outlast, folder: Path) -> None:
    (folder / "app.py").write_text("def f():\n    return 1 / 0\nf()\n")

    refused = outlast("worker", "app", "--debug")

    assert refused.code == 2
    assert "return 1 / 0" in refused.err


def test_the_apps_engine_names_the_database_and_a_url_overrides_it(outlast: Outlast, folder: Path) -> None:
    (folder / "app.py").write_text(
        "from shop import *\nfrom outlast import Engine\nengine = Engine('sqlite:///app.db')\n"
    )

    outlast("start", "app:add", "--arg", "a=1")
    outlast("start", "app:add", "--arg", "a=2", "--url", "sqlite:///other.db")

    assert outlast("list", "--app", "app", "--json").json[0]["state"] == {"a": 1}
    assert outlast("list", "--url", "sqlite:///other.db", "--json").json[0]["state"] == {"a": 2}


def test_the_projects_app_is_used_where_none_is_named(outlast: Outlast, folder: Path) -> None:
    (folder / "app.py").write_text(
        "from shop import *\nfrom outlast import Engine\nengine = Engine('sqlite:///app.db')\n"
    )
    (folder / "pyproject.toml").write_text('[tool.outlast]\napp = "app"\n')

    started = outlast("start", "add", "--arg", "a=1")

    assert started.code == 0
    assert (folder / "app.db").exists()
    assert outlast("list", "--json").json[0]["id"] == started.out.strip()


def test_reading_a_named_database_does_not_need_the_projects_app(outlast: Outlast, folder: Path) -> None:
    outlast("start", "shop:add", "--arg", "a=1", "--url", "sqlite:///a.db")
    (folder / "app.py").write_text("1 / 0")
    (folder / "pyproject.toml").write_text('[tool.outlast]\napp = "app"\n')

    assert outlast("list").code == 2
    assert outlast("list", "--url", "sqlite:///a.db").code == 0


def test_the_worker_runs_the_apps_own_engine(folder: Path) -> None:
    (folder / "app.py").write_text(ENGINE + "engine = Engine('sqlite:///app.db')")

    app = load_app("app")

    # Jobs may use the module's engine: a copy beside it would never be open.
    assert app.engine is app.module.engine
    assert isinstance(app.engine, Engine)
