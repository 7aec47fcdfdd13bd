"""`outlast demo`, on files of our own."""

import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from harness import processes
from harness.waiting import eventually
from outlast import Instance
from outlast.cli.demo.tally import Tally, files_under, judge
from outlast.cli.demo.work import measure
from tests.cli.conftest import Outlast, Start

FILES = 300


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder with files of several sizes, and things that are no files."""
    root = tmp_path / "many"
    for number in range(FILES):
        path = root / str(number % 7) / f"ä {number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a line\n" * number)
    (root / "link").symlink_to(root / "1")
    (root / "dangling").symlink_to(root / "nothing")
    return root


def test_nothing_is_lost_or_doubled_while_workers_are_killed(outlast: Outlast, many: Path, empty_url: str) -> None:
    found = outlast("demo", many, "--url", empty_url, "--json")

    report = found.json
    assert found.code == 0, found.out + found.err
    assert (report["files"], report["lost"], report["committed_twice"], report["matches"]) == (FILES, 0, 0, True)
    assert report["kills"] >= 3
    assert report["good"]
    assert report["jobs"] == FILES * report["rounds"]
    assert report["lines"] == sum(range(FILES)) * report["rounds"]
    assert left_behind(empty_url) == []


def left_behind(url: str) -> list[str]:
    """What is still there of the demo's database."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return [file.name for file in path.parent.glob(f"{path.name}*")]
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute("SELECT nspname FROM pg_namespace") if "outlast" in name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_workers_and_leaves_nothing(
    start: Start, many: Path, empty_sqlite_url: str, number: signal.Signals
) -> None:
    demo = start("demo", many, "--url", empty_sqlite_url)
    pids = eventually(lambda: [child.pid for child in processes.children(demo.process.pid)])

    demo.send(number)

    assert demo.ends() == 130
    assert "Traceback" not in demo.log
    assert not processes.await_gone(pids, timeout_s=5)
    assert left_behind(empty_sqlite_url) == []


def test_wrong_usage_is_told_at_once(outlast: Outlast, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    for args in (
        (tmp_path / "empty",),
        (tmp_path / "nothing",),
        ("--kills", 2),
        ("--workers", 0),
        (tmp_path, "--url", "sqlite://"),
    ):
        assert outlast("demo", *args).code == 2, args


def test_the_default_files_are_the_standard_library() -> None:
    files = files_under(None)

    assert len(files.found) > 500
    assert any(path.endswith("this.py") for path in files.found)


def test_only_regular_files_are_measured(many: Path) -> None:
    assert len(files_under(many).found) == FILES


def test_a_file_that_cannot_be_read_is_measured_as_trouble(tmp_path: Path) -> None:
    assert measure(str(tmp_path))["trouble"] == "IsADirectoryError"
    assert measure(str(tmp_path / "gone"))["trouble"] == "FileNotFoundError"


class TestVerdict:
    """What the demo would say if the engine did wrong."""

    @pytest.fixture(autouse=True)
    def _facts(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("one\ntwo\n")
        self.path = str(path)
        self.tally = Tally(tmp_path / "record")
        self.row = done({**measure(self.path)}, epoch=2)

    def record(self, text: str) -> None:
        """What the workers wrote down."""
        self.tally.path.write_text(text)
        self.tally.read()

    def judged(self, *rows: Instance) -> tuple[int, int, bool]:
        """Lost, committed twice, and whether the totals match."""
        found = judge({"i": self.path}, {row.id: row for row in rows}, {self.path: measure(self.path)}, self.tally)
        return found.lost, found.committed_twice, found.matches

    def test_all_is_well(self) -> None:
        self.record("run i 1\nrun i 2\nack i 2\n")

        assert self.judged(self.row) == (0, 0, True)
        assert self.tally.run_again == 1

    def test_an_acknowledgement_may_be_missing(self) -> None:
        self.record("run i 1\n")

        assert self.judged(self.row) == (0, 0, True)

    def test_a_job_that_is_gone_is_lost(self) -> None:
        assert self.judged() == (1, 0, True)

    def test_a_job_that_did_not_end_well_is_lost(self) -> None:
        assert self.judged(replace(self.row, status="failed", result=None)) == (1, 0, True)

    def test_a_wrong_result_is_lost(self) -> None:
        wrong = {**measure(self.path), "lines": 3}

        assert self.judged(replace(self.row, result=wrong)) == (1, 0, False)

    def test_two_acknowledgements_are_two_commits(self) -> None:
        self.record("ack i 1\nack i 2\n")

        assert self.judged(self.row) == (0, 1, True)

    def test_an_acknowledgement_of_another_claim_is_a_second_commit(self) -> None:
        self.record("ack i 1\n")

        assert self.judged(self.row) == (0, 1, True)

    def test_a_row_that_nobody_started_is_a_second_commit(self) -> None:
        assert self.judged(self.row, replace(self.row, id="j")) == (0, 1, True)

    def test_a_half_written_line_is_read_when_it_is_whole(self) -> None:
        self.record("ack i 2\nack j")
        self.tally.path.write_text("ack i 2\nack j 1\n")
        self.tally.read()

        assert dict(self.tally.acks) == {"i": [2], "j": [1]}


def done(result: object, *, epoch: int) -> Instance:
    """A row that ended well."""
    now = datetime.now(UTC)
    return Instance(
        id="i",
        program="demo.measure_file",
        version=1,
        step="run",
        queue="demo",
        priority=0,
        status="done",
        attempt=0,
        crashes=0,
        epoch=epoch,
        state={},
        result=result,
        error=None,
        progress=None,
        correlation_key=None,
        created_at=now,
        due_at=now,
        claimed_at=now,
        finished_at=now,
        expires_at=None,
        node=None,
    )
