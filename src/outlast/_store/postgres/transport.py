"""What a connection's socket is told: to read little at a time, and to notice soon that nobody is there any more."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

from outlast._store.postgres.address import Silence

_READ_BYTES: Final = 64 * 1024
"""asyncio asks for so much memory, at most, each time that it reads from a socket."""
_MOST: Final = {"TCP_KEEPIDLE": 32_767, "TCP_KEEPALIVE": 32_767, "TCP_KEEPINTVL": 32_767, "TCP_KEEPCNT": 127}
"""More is refused by Linux."""


def read_by_little(transport: object) -> None:
    """Bounds what a transport of asyncio's reads at a time; does nothing to one of another make.

    By itself asyncio takes 256 KiB for each read and gives back what was not used. Small things settle in the gap, and
    the next read needs another one: in an hour the heap grew by a fifth, nearly all of it holes.
    """
    for reader in (transport, getattr(transport, "_ssl_protocol", None)):
        if getattr(reader, "max_size", 0) > _READ_BYTES:
            reader.max_size = _READ_BYTES  # type: ignore[union-attr]


def notice_silence(transport: Any, silence: Silence) -> None:
    """Lets the system give a connection up whose other machine is gone: a cable, a NAT that forgot, a failover.

    Without it a statement waits as long as it may for an answer that nobody will send. Does nothing where there is no
    TCP, or to what this system does not know.
    """
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    options = {"TCP_USER_TIMEOUT": silence.timeout_ms}
    if silence.probes:
        _set(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # macOS has another name for the first.
        idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
        options |= {idle: silence.idle_s, "TCP_KEEPINTVL": silence.interval_s, "TCP_KEEPCNT": silence.count}
    for name, value in options.items():
        if value and hasattr(socket, name):
            _set(sock, socket.IPPROTO_TCP, getattr(socket, name), min(value, _MOST.get(name, value)))


def _set(sock: Any, level: int, option: int, value: int) -> None:
    with contextlib.suppress(OSError):  # the connection is no worse without it.
        sock.setsockopt(level, option, value)
