"""A network of a process's own, which can fall silent: what is sent is lost, and nobody is told.

That is what a pulled cable, a NAT that has forgotten a connection or a machine that is gone look like. A proxy cannot
show it: its system answers for it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from typing import Final

_NEW_NETWORK: Final = 0x40000000
_NEW_USER: Final = 0x10000000
_GET_FLAGS: Final = 0x8913
_SET_FLAGS: Final = 0x8914
_UP: Final = 1
_REQUEST: Final = "16sh14x"
"""The kernel's `struct ifreq`: a device's name, and its flags."""


class NoIsland(Exception):
    """This system, or this user, cannot have one; the message says why."""


def enter() -> None:
    """Moves this process, which must have one thread, to an island. Its 127.0.0.1 is its own from now on.

    Raises: NoIsland.
    """
    if sys.platform != "linux":
        raise NoIsland(f"{sys.platform} has no network namespaces")
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_NEW_NETWORK) != 0:
        if libc.unshare(_NEW_NETWORK | _NEW_USER) != 0:
            raise NoIsland(f"no network of its own: {os.strerror(ctypes.get_errno())}")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    set_link(up=True)


def set_link(*, up: bool) -> None:
    """Connects the island, or cuts it off, with all connections as they are. Raises: OSError."""
    import fcntl  # not everywhere.

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        found = fcntl.ioctl(asker, _GET_FLAGS, struct.pack(_REQUEST, b"lo", 0))
        flags: int = struct.unpack(_REQUEST, found[: struct.calcsize(_REQUEST)])[1]
        wanted = flags | _UP if up else flags & ~_UP
        fcntl.ioctl(asker, _SET_FLAGS, struct.pack(_REQUEST, b"lo", wanted))
