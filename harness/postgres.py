"""A Postgres of our own for tests, benchmarks and chaos runs: nothing to install, nothing left behind.

`python -m harness.postgres` starts one and says what it is.
"""

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import psycopg

from harness import guard, processes
from harness.binaries import Binaries, NoPostgres, find_binaries
from harness.databases import Databases, without_password
from harness.memory import roomy_memory

USER = "outlast"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
# A socket's whole path must fit into about 100 bytes.
_FOLDER_BYTES_MAX = 60
# What a new postmaster says while the old one's children still hold its shared memory or its port.
_STILL_HELD = ("pre-existing shared memory block", "could not bind", "lock file")
_DEFAULT_PORT = 5432


class PostgresServer(Databases):
    """A Postgres server in a fresh temporary folder, started and stopped by us.

    Every method blocks; on an event loop use `asyncio.to_thread`. Anybody on this machine may connect over
    TCP, without a password. When the owner dies, a guard process ends the server and deletes its folder.

    Args:
        durable: Commits reach the disk, as in production. False is quicker and does not survive a
            crash of the machine, only those of the server; for tests that do not measure.
        deadlock_timeout_s: Seconds a lock is waited for before looking for a deadlock.
        max_connections: As the server's setting.
        settings: More of the server's settings by name; they win over ours.
        environment: More variables for its processes.
        files: Files for the folder of its data, by name, which nobody else may read: certificates, a `pg_hba.conf`.
        port: The TCP port on 127.0.0.1; default: a free one.
        parent: The data goes into a new folder in here; default: the machine's temporary folder, or
            its memory if not durable.
        binaries: The Postgres to run; default: what `find_binaries` finds.

    Raises: NoPostgres: there is none, or it cannot be run by any user we may become.
    """

    def __init__(
        self,
        *,
        durable: bool = True,
        deadlock_timeout_s: float = 1.0,
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        port: int | None = None,
        parent: Path | None = None,
        binaries: Binaries | None = None,
    ) -> None:
        self._binaries = binaries or find_binaries()
        self._account = _account()
        self._owner_pid = os.getpid()
        self._port = port or _free_port()
        self._folder = _new_folder(parent or _place(durable), self._account)
        self._sockets = self._folder / "s"
        self._data = self._folder / "data"
        self.log_path = self._folder / "postgres.log"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._sockets),
            "max_connections": str(max_connections),
            "deadlock_timeout": f"{round(deadlock_timeout_s * 1000)}ms",
            "log_line_prefix": "%m [%p] %a ",
            "dynamic_shared_memory_type": "mmap",  # in its own folder: of a server that is killed nothing else stays.
            **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
            **(settings or {}),
        }
        self._environment = environment or {}
        self._files = files or {}
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._past_cpu_s = 0.0
        super().__init__(f"postgresql://{USER}@/postgres?host={self._sockets}", about=self._binaries.describe())
        atexit.register(self.close)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; it stays the same through restarts."""
        return self._port

    @property
    def pid(self) -> int:
        """The postmaster's process. Raises RuntimeError when the server does not run."""
        return self._running().pid

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self._data

    def program(self, name: str) -> Path:
        """One of the programs that came with it."""
        return self._binaries.folder / name

    def tcp_url(self, database: str = "postgres") -> str:
        """The address of one database through TCP; `url` is the one through the Unix socket."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers, on the data of the last time if there was one.

        Raises: NoPostgres: it does not come up; the message ends with what it said.
        """
        if self._postmaster is not None and self._postmaster.poll() is None:
            raise RuntimeError("this Postgres is running already")
        if not self._data.exists():
            self._prepare()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._try_start(deadline):
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server in good order; its data stays. Nothing happens when it does not run."""
        self._end(signal.SIGINT)

    def stop_at_once(self) -> None:
        """Stop the server without a checkpoint, as `pg_ctl stop -m immediate` does: the next start is a recovery."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop the server if it runs, also after a kill, and start it on the same data and addresses."""
        self.stop()
        self.start()

    def start_hidden(self) -> None:
        """Start the server, after which nobody reaches it through TCP: its port may be somebody else's by now."""
        self._settings["listen_addresses"] = ""
        self.start()

    def kill_postmaster(self, *, whole: bool = False) -> None:
        """Kill the server's first process with SIGKILL, and wait until all its children are gone too.

        `whole`: they are killed as well, as when the machine dies; else they notice by themselves.
        """
        postmaster = self._running()
        # Stopped first, so that no child is born between the count and the kill.
        processes.kill(postmaster.pid, signal.SIGSTOP)
        orphans = [child.pid for child in processes.children(postmaster.pid)]
        self._past_cpu_s += processes.tree_cpu_s(postmaster.pid)
        postmaster.kill()
        postmaster.wait()
        self._postmaster = None
        if whole:
            for pid in orphans:
                processes.kill(pid, signal.SIGKILL)
        # They notice at their next wait; one that computes does not, and would block the next start.
        for pid in processes.await_gone(orphans, timeout_s=10):
            processes.kill(pid, signal.SIGKILL)
        processes.await_gone(orphans, timeout_s=10)

    def kill_backend(self, pid: int) -> None:
        """Kill one of the server's processes with SIGKILL: the server then restarts all the others.

        Raises: ValueError: it is not a process of this server.
        """
        if pid not in {child.pid for child in processes.children(self.pid)}:
            raise ValueError(f"process {pid} is not a child of postmaster {self.pid}")
        processes.kill(pid, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """CPU seconds, user and system, that all processes of this server have used since its creation."""
        if self._postmaster is None or self._postmaster.poll() is not None:
            return self._past_cpu_s
        return self._past_cpu_s + processes.tree_cpu_s(self._postmaster.pid)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """End the server, if it runs, and delete all it had. Calling it again does nothing."""
        if os.getpid() != self._owner_pid:  # A fork of ours is ending: the server is not its own.
            return
        self._end(signal.SIGQUIT)  # What is deleted next needs no checkpoint.
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None
        atexit.unregister(self.close)

    def _prepare(self) -> None:
        """Run initdb, with a copy of the programs where the server's user cannot read the original."""
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(self._folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if not self._can_run(self._binaries.folder):
            self._binaries = self._binaries.copied_to(self._folder / "install")
            if not self._can_run(self._binaries.folder):
                raise NoPostgres(f"{self._binaries.describe()} cannot be run by user {self._account_name()}")
        self._sockets.mkdir()
        # The socket is named after the TCP port; by this second name a URL needs no port.
        if self._port != _DEFAULT_PORT:
            (self._sockets / f".s.PGSQL.{_DEFAULT_PORT}").symlink_to(f".s.PGSQL.{self._port}")
        if self._account is not None:
            os.chown(self._sockets, self._account.pw_uid, self._account.pw_gid)
        self._make_data()
        for name, content in self._files.items():
            path = self._data / name
            path.touch(mode=0o600)
            path.write_bytes(content)
            if self._account is not None:
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _make_data(self) -> None:
        arguments = ["--pgdata", str(self._data), "--username", USER, "--auth", "trust", "--encoding", "UTF8"]
        self._do("initdb", *arguments, "--no-locale", "--no-sync", "--no-instructions")

    def _do(self, program: str, *arguments: str) -> None:
        """Run one of the programs to its end. Raises: NoPostgres: it fails."""
        with self.log_path.open("ab") as log:
            made = self._spawn(program, list(arguments), log)
        if made.wait() != 0:
            raise NoPostgres(f"{program} of {self._binaries.describe()} failed:\n{self.log_tail()}")

    def _try_start(self, deadline: float) -> bool:
        """Start once; False when the last server still holds something, so that trying again is worth it."""
        arguments = ["-D", str(self._data), "-p", str(self._port)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        with self.log_path.open("ab") as log:
            already_said = log.tell()
            postmaster = self._spawn("postgres", arguments, log)
        self._postmaster = postmaster
        while time.monotonic() < deadline:
            if self._is_ready(postmaster.pid):
                return True
            if postmaster.poll() is not None:
                self._postmaster = None
                with self.log_path.open("rb") as log:
                    log.seek(already_said)
                    said = log.read().decode(errors="replace")
                if any(words in said for words in _STILL_HELD):
                    return False
                raise NoPostgres(f"{self._binaries.describe()} did not start:\n{said.strip()}")
            time.sleep(0.01)
        self._end(signal.SIGQUIT)
        raise NoPostgres(f"{self._binaries.describe()} did not start within {START_TIMEOUT_S:g} s:\n{self.log_tail()}")

    def _is_ready(self, pid: int) -> bool:
        """Whether the server has written, into the file that pg_ctl reads too, that it answers."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _end(self, number: signal.Signals) -> None:
        postmaster, self._postmaster = self._postmaster, None
        if postmaster is None:
            return
        if postmaster.poll() is None and sys.platform == "linux":
            self._past_cpu_s += processes.tree_cpu_s(postmaster.pid)
        for severity in (number, signal.SIGQUIT, signal.SIGKILL):
            postmaster.send_signal(severity)
            try:
                postmaster.wait(STOP_TIMEOUT_S)
                return
            except subprocess.TimeoutExpired:
                continue

    def _running(self) -> subprocess.Popen[bytes]:
        if self._postmaster is None or self._postmaster.poll() is not None:
            raise RuntimeError("this Postgres is not running")
        return self._postmaster

    def _can_run(self, folder: Path) -> bool:
        try:
            with self.log_path.open("ab") as log:
                return self._spawn("postgres", ["--version"], log, folder=folder).wait() == 0
        except PermissionError:
            return False

    def _spawn(
        self, program: str, arguments: list[str], log: IO[bytes], *, folder: Path | None = None
    ) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = {}
        if self._account is not None:
            identity = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.Popen(
            [(folder or self._binaries.folder) / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._folder,
            env={**environment, "HOME": str(self._folder), "LC_ALL": "C", "TZ": "UTC", **self._environment},
            start_new_session=True,  # Ctrl-C is for us; we stop the server ourselves.
            **identity,
        )

    def _account_name(self) -> str:
        return (self._account or pwd.getpwuid(os.geteuid())).pw_name


@contextmanager
def obtain(*, durable: bool = True) -> Iterator[Databases]:
    """The Postgres in OUTLAST_TEST_DATABASE_URL when that is set, else a server of our own.

    Raises: NoPostgres: neither can be had.
    """
    if url := os.environ.get("OUTLAST_TEST_DATABASE_URL"):
        yield Databases(url, about=f"Postgres at {without_password(url)}, from OUTLAST_TEST_DATABASE_URL")
    else:
        with PostgresServer(durable=durable) as server:
            yield server


def describe_available() -> str:
    """What `obtain` would give, without starting it; or the sentence saying why there is nothing."""
    if url := os.environ.get("OUTLAST_TEST_DATABASE_URL"):
        return f"{without_password(url)}, from OUTLAST_TEST_DATABASE_URL"
    try:
        return find_binaries().describe()
    except NoPostgres as error:
        return f"none: {error}"


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root, whom it refuses; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("Postgres refuses to run as root, and there is no user named postgres or nobody")


def _place(durable: bool) -> Path:
    # On a disk a new database takes 80 ms, in memory 10; tests make hundreds.
    if not durable and (memory := roomy_memory()) is not None:
        return memory
    temporary = Path(tempfile.gettempdir())
    return temporary if len(os.fsencode(temporary)) <= _FOLDER_BYTES_MAX else Path("/tmp")


def _new_folder(place: Path, account: pwd.struct_passwd | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="outlast-pg-", dir=place))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Start the server, and say what it is and how it answers."""
    started = time.monotonic()
    with obtain() as databases:
        print(databases.describe())
        with psycopg.connect(databases.url()) as connection:
            row = connection.execute("SELECT version()").fetchone()
            assert row is not None
            print(row[0])
        if isinstance(databases, PostgresServer):
            print(f"ready after {time.monotonic() - started:.1f} s; used {databases.cpu_seconds():.2f} s of CPU")


if __name__ == "__main__":
    try:
        main()
    except NoPostgres as missing:
        sys.exit(f"No Postgres: {missing}")
