"""What every test may ask for: a store to write into, and the certainty that nothing is left behind."""

import asyncio
import gc
import inspect
import os
import shutil
import tempfile
import threading
from asyncio import events
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from harness import postgres
from harness.binaries import NoPostgres, find_binaries
from harness.databases import Databases
from harness.memory import temporary_files_in_memory
from outlast.sync import Engine

_for_the_whole_run = ExitStack()
_started: list[Databases | NoPostgres] = []

# Our own server is reached by what its URL says, not by what the caller's shell says about another one.
if "OUTLAST_TEST_DATABASE_URL" not in os.environ:
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Scales of tests that can do more than they do by default."""
    parser.addoption(
        "--lab-triples", type=int, default=1, help="triples of operations that the interleaving lab tries in each scene"
    )


def pytest_report_header() -> str:
    """Say in the first lines which Postgres this run uses."""
    return f"postgres: {postgres.describe_available()}; files: {tempfile.gettempdir()}"


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests' files lie in memory: synced to a disk, those on SQLite take three times as long."""
    if not hasattr(config, "workerinput"):  # workers are told by their controller.
        _for_the_whole_run.enter_context(temporary_files_in_memory())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Crash runs are spread over the run: under `-n`, several at once would take each other's time, and at the end one
    of the workers would be left alone with them."""
    crashes = [item for item in items if item.get_closest_marker("chaos") is not None]
    others = [item for item in items if item.get_closest_marker("chaos") is None]
    apart = 0.9 * len(others) / max(1, len(crashes))
    places = {id(item): number * apart for number, item in enumerate(crashes)}
    places |= {id(item): float(number) for number, item in enumerate(others)}
    items.sort(key=lambda item: places[id(item)])


def pytest_collection_finish() -> None:
    """What stays until the end, ten thousand tests and all modules, is not looked at by each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Under `-n`, start one server in the controller and tell each worker where it is."""
    if not _started:
        _started.append(_server(node.config, _for_the_whole_run))  # type: ignore[attr-defined]
    server = _started[0]
    node.workerinput["outlast_postgres"] = (  # type: ignore[attr-defined]
        str(server) if isinstance(server, NoPostgres) else {"url": server.url(), "about": server.describe()}
    )


def pytest_unconfigure() -> None:
    """Stop the server that the workers shared, and remove the files."""
    _for_the_whole_run.close()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The one Postgres of this run; where there is none its tests are skipped, and fail with CI set."""
    with ExitStack() as stack:
        server = _server(request.config, stack)
        if isinstance(server, Databases):
            stack.enter_context(server.one_session())
            yield server
            return
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(f"Postgres is not tested: {server}")
    pytest.fail(f"CI must test Postgres, and cannot: {server}", pytrace=False)


def _server(config: pytest.Config, stack: ExitStack) -> Databases | NoPostgres:
    """The server that the controller started for us when we are one of its workers, else our own."""
    told = getattr(config, "workerinput", {}).get("outlast_postgres")
    if told is not None:
        return NoPostgres(told) if isinstance(told, str) else Databases(**told)
    try:
        return stack.enter_context(postgres.obtain(durable=False))
    except NoPostgres as error:
        return error


@pytest.fixture(scope="session")
def own_postgres(postgres_server: Databases) -> None:
    """Skips where a test cannot start a server of its own. The shared one is asked for first: without it CI fails."""
    try:
        find_binaries()
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _postgres_with_tables(postgres_server: Databases) -> Iterator[str]:
    """The name of a database that has our tables, which nobody is connected to."""
    with postgres_server.fresh_database() as url:
        Engine(url).migrate()
        yield conninfo_to_dict(url)["dbname"]


@pytest.fixture(scope="session")
def _sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that has our tables, which nobody has open."""
    path = tmp_path_factory.mktemp("tables") / "outlast.db"
    Engine(f"sqlite:///{path}").migrate()
    return path


@pytest.fixture
def postgres_url(postgres_server: Databases, _postgres_with_tables: str) -> Iterator[str]:
    """A fresh database on Postgres with our tables; the test must close every connection to it."""
    with postgres_server.fresh_database(template=_postgres_with_tables) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: Databases) -> Iterator[str]:
    """A fresh database on Postgres without our tables, which take four times as long to make as to copy."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture
def sqlite_url(empty_sqlite_url: str, tmp_path: Path, _sqlite_with_tables: Path) -> str:
    """A fresh database file with our tables."""
    shutil.copyfile(_sqlite_with_tables, tmp_path / "outlast.db")
    return empty_sqlite_url


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'outlast.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with our tables: the test runs once on SQLite and once on Postgres."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A fresh database without our tables: the test runs once on SQLite and once on Postgres."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which one of its tasks or one of our threads still lives, or a loop seems to run."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_task_left_behind")
    yield
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("outlast")]
    running = events._get_running_loop()
    events._set_running_loop(None)  # else every later test with a loop would fail in its stead.
    assert not threads, f"threads left behind: {threads}"
    assert running is None, f"left behind as the loop that runs: {running}"


@pytest.fixture
async def _no_task_left_behind() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0)  # What was cancelled and awaited by nobody gets one turn to end.
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not tasks, f"tasks left behind: {tasks}"
