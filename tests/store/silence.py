"""Run by `test_silence.py` in a process of its own: Postgres and a store on an island whose link is cut.

    python -m tests.store.silence KIND OPTIONS

KIND is what the store is at: `waits` for the answer to a statement that was heard, or `sends` one. Prints, as JSON, how
long it took to notice, what was said, whether it works when the link is there again, and what its sockets were told.
"""

import asyncio
import contextlib
import json
import socket
import sys
import time
from typing import Any

from harness import island
from harness.binaries import NoPostgres
from harness.postgres import PostgresServer
from harness.waiting import eventually_async
from outlast._store.postgres.store import PostgresStore
from outlast._world import SystemWorld
from outlast.config import make_config
from outlast.errors import StoreUnavailable

NAP = "SELECT pg_sleep(60)"
ASKED = "SELECT pid FROM pg_stat_activity WHERE query = $1 AND state = 'active'"


def told(sock: Any) -> list[int]:
    """What a socket was told of silence, in the order of the URL's options."""
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    return [
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names),
    ]


async def notice(url: str, kind: str) -> dict[str, Any]:
    """Cuts the link while a store is at something."""
    store = PostgresStore(make_config(url, {}), SystemWorld())
    await store.schema.migrate()
    await store.open()
    lane = store._links.engine
    try:
        await lane.read("SELECT 1", ())
        (connection,) = lane._connections
        heard = told(connection._transport.get_extra_info("socket"))  # type: ignore[attr-defined]
        if kind == "waits":
            asking = asyncio.create_task(lane.read(NAP, ()))
            await eventually_async(lambda: store._links.client.read(ASKED, (NAP,)), what="a statement that was heard")
            island.set_link(up=False)
        else:
            island.set_link(up=False)
            asking = asyncio.create_task(lane.read("SELECT 1", ()))
        cut_at = time.monotonic()
        try:
            await asking
            said = "nothing"
        except StoreUnavailable as error:
            said = str(error)
        lasted_s = time.monotonic() - cut_at
        island.set_link(up=True)

        async def answer() -> Any:
            with contextlib.suppress(StoreUnavailable):  # other connections of its may have to notice, too.
                return await lane.read("SELECT 7", ())

        again = await eventually_async(answer, timeout=30.0, what="an answer once the link is there again")
        return {"lasted_s": lasted_s, "said": said, "again": again[0][0], "told": heard}
    finally:
        await store.close()


def main() -> None:
    kind, options = sys.argv[1:]
    try:
        island.enter()
        with PostgresServer(durable=False) as server:
            found = asyncio.run(notice(f"{server.tcp_url()}?{options}", kind))
    except (island.NoIsland, NoPostgres) as error:
        found = {"cannot": str(error)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
