"""The file of a SQLite database: its name, its making, and where it must not lie."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from outlast._world import lock_across_forks
from outlast.errors import ConfigError, StoreReadOnly, StoreUnavailable

_creating: Final = lock_across_forks()
_NETWORK_FILE_SYSTEMS: Final = ("nfs", "cifs", "smb", "9p", "afs", "fuse.sshfs", "glusterfs", "lustre")
_MOUNTS: Final = Path("/proc/self/mounts")


def database_path(url: str) -> Path | None:
    """The file that a `sqlite:` URL names; None: in memory.

    Raises: ConfigError.
    """
    rest = url.removeprefix("sqlite:")
    if rest in ("//", "///:memory:", "//:memory:"):
        return None
    if not rest.startswith("///") or "?" in rest or "#" in rest:
        raise ConfigError(
            f"SQLite URL {url!r} is not understood: write sqlite:///relative.db, sqlite:////absolute.db or sqlite://"
        )
    name = rest[3:]
    if not name or name.endswith("/") or "\0" in name:
        raise ConfigError(f"SQLite URL {url!r} names no file")
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"SQLite URL {url!r} names the home of somebody who is not known here") from None


def log_of(path: Path) -> Path:
    """The write-ahead log of a database: beside the file itself, also when `path` is a link to it."""
    return Path(os.path.realpath(path) + "-wal")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is there under this name; None: there is none, or none that this process may see."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_file(path: Path) -> None:
    """Creates the file, readable by its owner alone, unless it exists.

    Raises: ConfigError: the place cannot hold a database. StoreReadOnly, StoreUnavailable.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"the folder of the database does not exist: {path.parent}")
    if path.is_dir():
        raise ConfigError(f"the database is a folder, not a file: {path}")
    refuse_place(Path(os.path.realpath(path)))
    try:
        # Never opened when it is there: to close it would drop the locks that other engines of this process have on it
        # (POSIX), and the next process that comes and goes would remove the write-ahead log beneath them.
        with _creating, contextlib.suppress(FileExistsError):
            os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError
    except PermissionError as error:
        raise StoreReadOnly(f"the database file cannot be written: {path}") from error
    except OSError as error:
        raise StoreUnavailable(f"the database file cannot be opened: {error}") from error


def refuse_place(path: Path) -> None:
    """Raises: ConfigError: SQLite would lose data there."""
    found = mounts()
    if path in found:
        raise ConfigError(
            f"{path} is mounted as a single file, and its write-ahead log would lie elsewhere, where it is lost or not "
            "seen by others; mount its folder"
        )
    kind = next((found[folder] for folder in path.parents if folder in found), "")
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        raise ConfigError(f"{path} lies on a network file system ({kind}), where SQLite can lose data; use Postgres")


def mounts() -> dict[Path, str]:
    """What is mounted where, with the file system's type, where the system tells (Linux); later ones hide earlier."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines)
    return {Path(_unescaped(row[1])): row[2] for row in rows if len(row) > 2}


def _unescaped(text: str) -> str:
    """The system writes spaces, tabs, line ends and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
