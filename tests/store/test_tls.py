"""Postgres through TLS, as hosted databases are reached: what is encrypted, who is believed, and what is said."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import psycopg
import pytest
import trustme

from harness.postgres import USER, PostgresServer
from harness.waiting import eventually_async
from outlast import Engine, job
from outlast._store.postgres.store import PostgresStore
from outlast._world import SystemWorld
from outlast.config import make_config
from outlast.errors import ConfigError, StoreError, StoreUnavailable

NAME = "localhost"
"""Whom the server's certificate names; its address, 127.0.0.1, is another name."""
RULES = b"""\
local   all all               trust
hostssl all ann 127.0.0.1/32  cert
hostssl all all 127.0.0.1/32  trust
"""
ENCRYPTED = """
    SELECT application_name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@job(name="tls.shout")
async def shout(word: str) -> str:
    return word.upper()


@dataclass(frozen=True)
class Town:
    """A server that answers through TLS alone, and the files of those who want to be believed by it, or to believe it.

    Attributes:
        local: The address of its database through the Unix socket, where nothing is encrypted.
        authority: The file of the authority that vouches for the server.
        stranger: That of another one.
        ann: Certificate and key of the user `ann`.
    """

    server: PostgresServer
    local: str
    authority: Path
    stranger: Path
    ann: tuple[Path, Path]

    def url(self, host: str = NAME, user: str = USER, **options: object) -> str:
        """The address of its database, through TCP."""
        return f"postgresql://{user}@{host}:{self.server.port}/{self.local_name}?{urlencode(options)}"

    @property
    def local_name(self) -> str:
        """What the database is called."""
        return self.local.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, own_postgres: None) -> Iterator[Town]:
    """A server with a certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    own, ann = authority.issue_cert(NAME), authority.issue_cert("ann@example.org", common_name="ann")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    stranger.cert_pem.write_to_path(folder / "stranger.pem")
    ann.cert_chain_pems[0].write_to_path(folder / "ann.pem")
    ann.private_key_pem.write_to_path(folder / "ann.key")
    files = {
        "server.crt": own.cert_chain_pems[0].bytes(),
        "server.key": own.private_key_pem.bytes(),
        "root.crt": authority.cert_pem.bytes(),
        "pg_hba.conf": RULES,
    }
    settings = {"ssl": "on", "ssl_ca_file": "root.crt"}
    with PostgresServer(durable=False, files=files, settings=settings) as started:
        with psycopg.connect(started.url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE ann LOGIN SUPERUSER")
        yield Town(
            started,
            started.url(),
            folder / "authority.pem",
            folder / "stranger.pem",
            (folder / "ann.pem", folder / "ann.key"),
        )


@pytest.fixture
def town(server: Town) -> Iterator[Town]:
    """The server, with a database that is fresh."""
    with server.server.fresh_database() as url:
        yield Town(server.server, url, server.authority, server.stranger, server.ann)


@pytest.fixture
async def sessions(town: Town) -> AsyncIterator[asyncpg.Connection]:
    """A look at the database's sessions."""
    connection = await asyncpg.connect(town.local)
    yield connection
    await connection.close()


async def opened(url: str) -> str:
    """What somebody at this address gets: `ok`, or why not."""
    store = PostgresStore(make_config(url, {}), SystemWorld())
    try:
        await store.schema.migrate()
        await store.open()
    except (StoreError, ConfigError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await store.close()
    return "ok"


@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_all_that_an_engine_says_is_encrypted(town: Town, sessions: asyncpg.Connection, mode: str) -> None:
    options: dict[str, Any] = {"sslmode": mode} | ({"sslrootcert": town.authority} if mode == "verify-full" else {})
    await Engine(town.url(**options)).migrate()
    async with Engine(town.url(**options), programs=[shout], lease=1.0) as engine:
        assert await (await engine.start(shout.new("hello"))).result(timeout=30) == "HELLO"

        async def roles() -> dict[str, bool]:
            return {row["application_name"].rpartition(" ")[2]: row["ssl"] for row in await sessions.fetch(ENCRYPTED)}

        async def all_roles() -> bool:
            return {"engine", "client", "bell", "lease"} <= (await roles()).keys()

        await eventually_async(all_roles, what="a session of each kind")
        seen = await roles()

    assert all(seen.values()), seen


async def test_long_answers_arrive_whole(town: Town) -> None:
    """Longer than what is read at a time, and than a record of TLS."""
    word = "abcdefgh" * 120_000
    await Engine(town.url(sslmode="require")).migrate()
    async with Engine(town.url(sslmode="require"), programs=[shout], payload_bytes_max=2_000_000) as engine:
        assert await (await engine.start(shout.new(word))).result(timeout=60) == word.upper()


async def test_a_name_is_verified_where_it_is_asked_for(town: Town) -> None:
    trusting: dict[str, Any] = {"sslrootcert": town.authority}

    assert await opened(town.url(sslmode="verify-full", **trusting)) == "ok"
    assert await opened(town.url("127.0.0.1", sslmode="verify-ca", **trusting)) == "ok"
    refused = await opened(town.url("127.0.0.1", sslmode="verify-full", **trusting))

    assert re.fullmatch(r"StoreUnavailable: .*certificate.*127\.0\.0\.1.*", refused)


async def test_an_authority_that_nobody_knows_is_refused(town: Town) -> None:
    refused = await opened(town.url(sslmode="verify-full", sslrootcert=town.stranger))

    assert re.fullmatch(r"StoreUnavailable: .*certificate verify failed.*", refused)


async def test_the_machines_own_authorities_can_be_meant(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = await opened(town.url(sslrootcert="system"))
    monkeypatch.setenv("SSL_CERT_FILE", str(town.authority))

    assert await opened(town.url(sslrootcert="system")) == "ok"
    assert re.fullmatch(r"StoreUnavailable: .*certificate verify failed.*", refused)


async def test_a_client_shows_its_certificate(town: Town) -> None:
    certificate, key = town.ann

    assert await opened(town.url(user="ann", sslmode="require", sslcert=certificate, sslkey=key)) == "ok"
    assert (await opened(town.url(user="ann", sslmode="require"))).startswith("StoreUnavailable: ")


async def test_a_server_that_wants_tls_refuses_to_go_without(town: Town) -> None:
    refused = await opened(town.url(sslmode="disable"))

    assert re.fullmatch(r"StoreUnavailable: .*no encryption.*", refused)


async def test_a_server_without_tls_is_refused_by_those_who_want_it(own_postgres: None) -> None:
    with PostgresServer(durable=False) as plain:
        url = plain.tcp_url()

        assert await opened(f"{url}?sslmode=prefer") == "ok"
        assert re.fullmatch(r"StoreUnavailable: .*SSL.*", await opened(f"{url}?sslmode=require"))


async def test_a_file_that_is_not_there_is_said(town: Town, tmp_path: Path) -> None:
    refused = await opened(town.url(sslmode="verify-full", sslrootcert=tmp_path / "none.pem"))

    assert re.fullmatch(r"StoreUnavailable: .*; sslrootcert=/.*/none\.pem cannot be read .*", refused)


async def test_a_server_that_is_not_there_is_no_matter_of_trust(town: Town) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await PostgresStore(make_config("postgresql://h@127.0.0.1:1/d?sslmode=require", {}), SystemWorld()).open()
