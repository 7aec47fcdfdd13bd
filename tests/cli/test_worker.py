"""`outlast worker`, alone and under its supervisor, in real processes."""

import json
import re
import signal
from pathlib import Path

import pytest

from harness import processes
from harness.waiting import eventually
from outlast.cli.worker.supervisor import how_it_ended
from tests.cli.conftest import Outlast, Running, Start


def children(worker: Running, count: int) -> list[int]:
    """The worker processes, once they are there and at work."""
    worker.says("engine.started", times=count)
    return [child.pid for child in processes.children(worker.process.pid) if not child.has_ended]


def status(outlast: Outlast, url: str, id: str) -> str:
    """How an instance stands."""
    return str(outlast("show", id, "--url", url, "--json").json["status"])


def test_sigterm_lets_a_running_job_end(outlast: Outlast, start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url)
    id = outlast("start", "shop:wait", "--url", url, "--arg", "seconds=0.5").out.strip()
    eventually(lambda: status(outlast, url, id) == "running")

    worker.send(signal.SIGTERM)

    assert worker.ends() == 0
    assert status(outlast, url, id) == "done"
    assert "engine.stopped" in worker.log


def test_a_second_signal_ends_a_worker_at_once(outlast: Outlast, start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url)
    id = outlast("start", "shop:block", "--url", url).out.strip()
    eventually(lambda: status(outlast, url, id) == "running")

    worker.send(signal.SIGINT)
    worker.says("engine.draining")
    worker.send(signal.SIGINT)

    assert worker.ends() == -signal.SIGINT
    assert "engine.stopped" not in worker.log


def test_a_worker_that_dies_is_replaced(start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url, "--processes", 2)
    first, second = children(worker, 2)

    processes.kill(first, signal.SIGKILL)
    worker.says("was killed by SIGKILL")
    after = children(worker, 3)

    assert second in after
    assert len(after) == 2
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0
    assert not processes.await_gone(after, timeout_s=5)


def test_the_supervisor_drains_its_workers(outlast: Outlast, start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url, "--processes", 2)
    pids = children(worker, 2)
    id = outlast("start", "shop:wait", "--url", url, "--arg", "seconds=0.5").out.strip()
    eventually(lambda: status(outlast, url, id) == "running")

    worker.send(signal.SIGTERM)

    assert worker.ends() == 0
    assert status(outlast, url, id) == "done"
    assert not processes.await_gone(pids, timeout_s=5)


def test_a_second_signal_kills_all_workers(outlast: Outlast, start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url, "--processes", 2)
    pids = children(worker, 2)
    id = outlast("start", "shop:block", "--url", url).out.strip()
    eventually(lambda: status(outlast, url, id) == "running")

    worker.send(signal.SIGINT)
    worker.says("engine.draining")
    worker.send(signal.SIGINT)

    assert worker.ends() == 1
    assert not processes.await_gone(pids, timeout_s=5)


def test_workers_do_not_outlive_a_supervisor_that_was_killed(start: Start, sqlite_url: str) -> None:
    worker = start("worker", "shop", "--url", sqlite_url, "--processes", 2)
    pids = children(worker, 2)

    worker.send(signal.SIGKILL)

    assert not processes.await_gone(pids, timeout_s=10)


def test_a_worker_that_can_never_start_is_not_started_again(start: Start, folder: Path, sqlite_url: str) -> None:
    # Refused only where it is a child: the supervisor itself reads its settings first, and would have refused.
    (folder / "shop.py").write_text(
        "import sys\nif '--lifeline' in sys.argv: 1 / 0\n" + (folder / "shop.py").read_text()
    )

    worker = start("worker", "shop", "--url", sqlite_url, "--processes", 2)

    assert worker.ends() == 2
    assert "ZeroDivisionError" in worker.log


def test_several_processes_on_an_old_sqlite_are_warned_of(start: Start, outlast: Outlast, sqlite_url: str) -> None:
    worker = start("worker", "shop", "--url", sqlite_url, "--processes", 2)
    children(worker, 2)

    findings = outlast("doctor", "--url", sqlite_url, "--json").json["findings"]
    is_old = any(item["subject"] == "sqlite" and item["level"] == "warning" for item in findings)

    assert ("WAL-reset bug" in worker.log) == is_old
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0


def test_logs_are_json_lines_when_asked(start: Start, sqlite_url: str) -> None:
    worker = start("worker", "shop", "--url", sqlite_url, "--json", "--log-level", "debug")
    worker.says("engine.started")
    worker.send(signal.SIGTERM)
    worker.ends()

    lines = [json.loads(line) for line in worker.log.splitlines()]
    started = next(line for line in lines if line["message"].startswith("engine.started"))
    assert (started["level"], started["process"]) == ("info", worker.process.pid)
    assert started["fields"]["queues"] == "default"


def test_the_log_level_quiets(start: Start, outlast: Outlast, sqlite_url: str) -> None:
    worker = start("worker", "shop", "--url", sqlite_url, "--log-level", "error")
    outlast("start", "shop:add", "--url", sqlite_url, "--arg", "a=1", "--wait", "10")
    worker.send(signal.SIGTERM)

    assert worker.ends() == 0
    assert worker.log == ""


def test_queues_given_here_override_those_of_the_app(outlast: Outlast, start: Start, sqlite_url: str) -> None:
    worker = start("worker", "shop", "--url", sqlite_url, "--queues", "mail:3")

    served = outlast("start", "shop:echo", "--url", sqlite_url, "--arg", "value=1", "--wait", "10")
    other = outlast("start", "shop:add", "--url", sqlite_url, "--arg", "a=1", "--wait", "50ms")

    assert (served.code, other.code) == (0, 1)
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0


def test_a_job_started_by_the_module_runs_on_the_modules_engine(outlast: Outlast, start: Start, folder: Path) -> None:
    (folder / "app.py").write_text(
        "from outlast import Engine, job\nengine = Engine('sqlite:///app.db')\n"
        "@job\nasync def inner() -> int: return 7\n"
        "@job\nasync def outer() -> str: return (await engine.start(inner.new())).id\n"
    )
    worker = start("worker", "app")
    worker.says("engine.started")

    started = outlast("start", "app:outer", "--wait", "60")
    assert started.code == 0, started.err
    id = json.loads(started.out)

    eventually(lambda: status(outlast, "sqlite:///app.db", id) == "done")
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "outlast worker shop.jobs"),
        (("empty",), "no job is defined"),
        (("shop", "--queues", "default:x"), "default:10"),
        (("shop", "--queues", "default:0"), "concurrency"),
        (("shop", "--queues", "none"), "no queue"),
        (("shop", "--processes", "0"), "--processes"),
        (("shop", "--processes", "2", "--url", "sqlite://"), "in memory"),
    ],
)
def test_wrong_usage_is_told_at_once(outlast: Outlast, folder: Path, args: tuple[str, ...], told: str) -> None:
    (folder / "empty.py").write_text("")

    refused = outlast("worker", *args)

    assert refused.code == 2
    assert told in refused.err


def test_a_password_in_the_arguments_is_warned_of(start: Start, postgres_url: str, outlast: Outlast) -> None:
    outlast("migrate", "--url", postgres_url)
    with_password = re.sub(r"://(\w+)@", r"://\1:s3cret@", postgres_url)
    worker = start("worker", "shop", "--url", with_password)
    worker.says("engine.started")

    assert "OUTLAST_DATABASE_URL" in worker.log
    assert "s3cret" not in worker.log
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (3, "ended with exit code 3"),
        (-9, "was killed by SIGKILL"),
        (-250, "was killed by signal 250"),
    ],
)
def test_an_exit_code_in_words(code: int, told: str) -> None:
    assert how_it_ended(code) == told


def test_children_leave_standard_input_to_nobody(start: Start, folder: Path, outlast: Outlast) -> None:
    (folder / "reader.py").write_text(
        "import sys\nfrom outlast import Engine, job\nengine = Engine('sqlite:///r.db')\n"
        "@job\ndef read() -> str: return sys.stdin.read()\n"
    )
    worker = start("worker", "reader", "--processes", 2)
    children(worker, 2)

    answered = outlast("start", "reader:read", "--wait", "10")

    assert answered.out.strip() == '""'
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0
