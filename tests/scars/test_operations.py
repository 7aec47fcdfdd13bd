"""Peers' bugs of what stands around the work: locks of the cluster, and doors that were left open."""

import os
import re
import socket
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import outlast
from outlast import job
from outlast._store.contract import Store
from outlast.config import Config
from outlast.errors import ConfigError
from tests.engine.given import SOON_S, Engines, soon
from tests.scars.given import only_postgres, take
from tests.store.given import Given, ids

PACKAGE = Path(outlast.__file__).parent
LOCKS = "SELECT pg_advisory_lock(hashtext('outlast'), stripe) FROM generate_series(0, 255) AS stripe"
SERVERS = ("http", "socketserver", "wsgiref", "xmlrpc", "aiohttp", "flask", "fastapi", "starlette", "uvicorn", "ray")
LISTENS = ("start_server", "start_unix_server", "create_server", "create_unix_server", "listen_fds")
_IMPORT = re.compile(r"^\s*(?:from|import) ([\w.]+)", re.MULTILINE)
LOGINS = ("oauthlib", "authlib", "requests", "httpx", "urllib.request")


@only_postgres
async def test_advisory_lock_stops_staging(given: Given, store: Store, session: asyncpg.Connection) -> None:
    """Oban #493: one node at a time staged scheduled jobs, under a session's advisory lock; behind a pooler the
    lock stayed with a session that nobody had any more, and no node staged anything.

    Here promotion takes no lock but that of the rows; and what is locked by key is locked for a transaction.
    """
    await session.execute(LOCKS)
    (due,) = await given.added(delay_s=0.001)
    given.database.query("UPDATE {instances} SET due_at = now() - interval '1 second'")

    assert (await soon(store.timers.promote(10))).promoted == 1
    assert ids(await soon(take(store))) == [due]

    sources = [path.read_text() for path in PACKAGE.rglob("*.sql")]
    assert any("pg_advisory_xact_lock" in text for text in sources)
    assert not any("pg_advisory_lock" in text for text in sources)


@job(name="scars.served")
async def served() -> str:
    return "served"


async def test_admin_on_all_interfaces(engines: Engines) -> None:
    """DBOS's admin server and absurd's Habitat answered on all interfaces, to whoever asked.

    Here there is no such server: an engine at work listens on no socket at all. What it has are connections that it
    made.
    """
    before = _listening()
    engine = await engines.open(telemetry="auto")
    assert await (await engine.start(served.new())).result(SOON_S) == "served"

    assert _listening() == before


def test_delete_method_csrf() -> None:
    """Ray, CVE-2026-27482: its dashboard refused requests from a browser by POST and PUT, and forgot DELETE.

    Here no request can come in: no module of the package knows a web server, or opens a door. Whoever adds one will
    find this test, and must say which methods change something.
    """
    assert _imports(*SERVERS) == []
    assert _calls(*LISTENS) == []


def test_oauth_regex_unanchored() -> None:
    """Flower, CVE-2022-30034: an address was let in that began like one that may; the pattern had no end.

    Here nobody logs in, so there is no such pattern. What patterns do check, names that become a part of SQL, they
    check from the first character to the last.
    """
    assert _imports(*LOGINS) == []
    assert Config(schema="good").schema == "good"

    for name in ("good\n", "good;drop", "good--", "xgood.evil.com", "évil", "good" * 20):
        with pytest.raises(ConfigError, match="schema must be"):
            Config(schema=name)


def _listening() -> set[Any]:
    """Where this process listens."""
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    found: set[Any] = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # the listing's own is gone by now.
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as one:
                    if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        found.add(one.getsockname())
    return found


@cache
def _sources() -> dict[str, str]:
    """The modules of the package, by name."""
    return {path.name: path.read_text() for path in PACKAGE.rglob("*.py")}


def _imports(*names: str) -> list[str]:
    """What modules of the package import of these, or of what is beneath them."""
    beneath = tuple(f"{name}." for name in names)
    return [
        f"{name}: {imported}"
        for name, text in _sources().items()
        for imported in _IMPORT.findall(text)
        if f"{imported}.".startswith(beneath)
    ]


def _calls(*names: str) -> list[str]:
    """Where modules of the package use one of these."""
    wanted = re.compile(rf"\.({'|'.join(names)})\b")
    return [f"{name}: {found}" for name, text in _sources().items() for found in wanted.findall(text)]
