"""The pytest plugin of outlast: a ready engine on a database of its own for each test.

It stands beside the package, not in it, and imports the package only when a fixture is asked for: a run that does not
use it pays nothing, and coverage of code that is imported by it is counted.
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from outlast import Engine
    from outlast.testing import Clock

_URL = "OUTLAST_TEST_URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the tests' tables are made."""
    about = "database of the outlast fixtures; SQLite in the test's temporary folder by default, or postgresql://..."
    parser.getgroup("outlast").addoption("--outlast-url", metavar="URL", help=about)
    parser.addini("outlast_url", about, default="")


@pytest.fixture
def outlast_settings() -> dict[str, Any]:
    """Settings of the test's engines, as for `Engine`; override it to add yours."""
    return {}


@pytest.fixture
def outlast_database(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The test's own database as settings: a new SQLite file, or a new schema of the Postgres database asked for."""
    config = request.config
    url = config.getoption("--outlast-url") or config.getini("outlast_url") or os.environ.get(_URL)
    if not url:
        return {"url": f"sqlite:///{tmp_path / 'outlast.db'}"}
    if not url.startswith(("postgresql:", "postgres:")):
        raise pytest.UsageError(f"--outlast-url takes postgresql://..., not {url!r}; SQLite needs no URL")
    return {"url": url, "schema": f"test_{uuid.uuid4().hex[:16]}"}


@pytest.fixture
def outlast_clock() -> Clock:
    """The clock of the test's engines; `outlast_clock.jump(hours(3))`."""
    from outlast.testing import Clock

    return Clock()


@pytest.fixture
def outlast_engine(request: pytest.FixtureRequest) -> Engine:
    """An open engine that is run by hand: `await drain(outlast_engine)`."""
    engine: Engine = _of_this_kind(request, "outlast_engine")
    return engine


@pytest.fixture
def outlast_worker(request: pytest.FixtureRequest) -> Engine:
    """An open engine that runs what is started, as in production, on the queue "default" (see `outlast_settings`)."""
    engine: Engine = _of_this_kind(request, "outlast_worker")
    return engine


def _of_this_kind(request: pytest.FixtureRequest, name: str) -> Any:
    """The fixture on the loop of the test, whoever runs it."""
    if "anyio_backend" in request.fixturenames:
        return request.getfixturevalue(f"_{name}_anyio")
    if importlib.util.find_spec("pytest_asyncio") is None:
        raise pytest.UsageError(f"{name} needs pytest-asyncio, or a test marked with pytest.mark.anyio")
    return request.getfixturevalue(f"_{name}_asyncio")


def _asyncio_fixture(function: Callable[..., Any]) -> Any:
    if importlib.util.find_spec("pytest_asyncio") is None:
        return function
    import pytest_asyncio

    return pytest_asyncio.fixture(function)


async def _by_hand(
    outlast_database: dict[str, Any], outlast_settings: dict[str, Any], outlast_clock: Clock
) -> AsyncIterator[Engine]:
    from outlast import Engine
    from outlast.testing import by_hand

    settings = outlast_settings | outlast_database
    try:
        async with by_hand(**settings, clock=outlast_clock) as engine:
            yield engine
    finally:
        await _clean(Engine(**settings))


async def _worker(
    outlast_database: dict[str, Any], outlast_settings: dict[str, Any], outlast_clock: Clock
) -> AsyncIterator[Engine]:
    from outlast import Engine

    settings = {"poll_interval": 0.1} | outlast_settings | outlast_database
    engine = outlast_clock.rule(Engine(**settings))
    try:
        await engine.migrate()
        async with engine:
            yield engine
    finally:
        await _clean(engine)


async def _clean(engine: Engine) -> None:
    if engine.database_file is None:  # a file goes with the test's folder.
        await engine.drop_tables()


_outlast_engine_anyio = pytest.fixture(name="_outlast_engine_anyio")(_by_hand)
_outlast_worker_anyio = pytest.fixture(name="_outlast_worker_anyio")(_worker)
_outlast_engine_asyncio = _asyncio_fixture(_by_hand)
_outlast_worker_asyncio = _asyncio_fixture(_worker)
