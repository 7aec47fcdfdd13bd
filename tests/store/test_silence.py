"""Connections to Postgres over which nothing comes any more: they are given up soon, and the next one works."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from harness.databases import Databases
from outlast._store.postgres.address import parse
from outlast._store.postgres.transport import notice_silence
from outlast.errors import ConfigError
from tests.store.silence import told

SOON = "keepalives_idle=1&keepalives_interval=1&keepalives_count=1&tcp_user_timeout=1500"
LATE = "keepalives=0&tcp_user_timeout=0"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads options that Linux has")


async def heard(kind: str, options: str) -> dict[str, Any]:
    """What became of a store on an island that was cut off; skips where there is none."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.store.silence", kind, options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    found: dict[str, Any] = json.loads(out)
    if "cannot" in found:
        pytest.skip(found["cannot"])
    return found


@pytest.mark.parametrize("kind", ["waits", "sends"])
async def test_a_machine_that_is_gone_is_noticed(kind: str, postgres_server: Databases) -> None:
    found = await heard(kind, SOON)

    assert "Connection timed out" in found["said"] or "closed" in found["said"], found
    assert found["lasted_s"] < 15.0, "long before the statement's own time is up"
    assert found["again"] == 7
    assert found["told"] == [1, 1, 1, 1, 1_500]


async def test_connections_are_told_so_where_the_url_says_nothing(postgres_server: Databases) -> None:
    sockets: list[list[int]] = []

    async def serve(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    for options in ("", LATE, SOON, "keepalives_idle=99999&keepalives_count=500"):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        notice_silence(writer.transport, parse(f"postgresql://h/d?{options}").silence)
        sockets.append(told(writer.get_extra_info("socket")))
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()

    ours, system, soon, most = sockets
    assert ours == [1, 3, 1, 2, 5_000]
    assert (system[0], system[-1]) == (0, 0)
    assert soon == [1, 1, 1, 1, 1_500]
    assert (most[1], most[3]) == (32_767, 127)


def test_what_has_no_socket_is_left_alone() -> None:
    class Bare:
        def get_extra_info(self, name: str) -> None:
            return None

    notice_silence(Bare(), parse("postgresql://h/d").silence)
    notice_silence(None, parse("postgresql://h/d").silence)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("keepalives=yes", "keepalives in the Postgres URL must be a whole number, not 'yes'"),
        ("keepalives_idle=-1", "keepalives_idle in the Postgres URL must be a whole number"),
        ("tcp_user_timeout=1.5", "tcp_user_timeout in the Postgres URL must be whole milliseconds"),
    ],
)
def test_what_is_no_number_is_refused(option: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(f"postgresql://h/d?{option}")
