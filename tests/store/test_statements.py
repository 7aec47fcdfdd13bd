"""The SQL of all stores, read and not run: fences, statuses, names and parameters."""

import ast
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from outlast import _store
from outlast._kernel import settle, states
from outlast._kernel.outcomes import Again, Cancelled, Failed, Finished, Moved, Outcome, Parked, Spawned, Unreadable
from outlast._model import Claim
from outlast._store.statements import Statement, load, parse

FOLDER = Path(_store.__file__).parent
SQLITE, POSTGRES = "outlast._store.sqlite.sql", "outlast._store.postgres.sql"
STORES = [SQLITE, POSTGRES]

UNFENCED = {
    "cancel": "an operator's act on whatever runs; it bumps the epoch itself",
    "retry": "an operator's act on what has ended or was quarantined: nobody holds it",
    "delete": "an operator's act on what does not run: nobody holds it",
    "promote": "moves what is scheduled: nobody holds it",
    "hurry": "moves a due time of what is scheduled or waits: nobody holds it",
    "prune": "deletes what has ended: nobody holds it",
    "remove": "deletes what has ended: nobody holds it",
    "write_tags": "anybody may tag, at any time; whoever runs the row writes other columns",
    "take": "makes the epoch, from what is ready: nobody holds it",
    "mark_taken": "the second half of take, in the same transaction",
    "pause_instances": "an operator's act on whatever runs: it ends nobody's claim, and its next commit hears of it",
    "resume_instances": "an operator's act on whatever runs: it ends nobody's claim",
    "hold": "the second half of a pause, of what is ready: nobody holds it",
    "unhold": "the first half of a resume, of what is blocked: nobody holds it",
    "wake": "wakes what waits: nobody holds it",
    "wake_late": "wakes what waits: nobody holds it",
    "recheck": "wakes what this transaction has parked: nobody holds it",
    "lower": "wakes parents that wait: nobody holds them",
    "open_round": "the second half of a park, in the same transaction",
    "raise": "lets a parent that waits go on waiting: nobody holds it",
    "open_keys": "lets those try who wait at a gate: nobody holds them",
    "open_rates": "lets those try who wait at a gate: nobody holds them",
    "unblock": "lets those try who wait at a gate: nobody holds them",
    "take_fair": "makes the epoch, from what is ready: nobody holds it",
    "note_mail": "notes that a signal came; whoever runs the row writes other columns",
}
"""Statements that change instances without comparing epochs, with the reason."""

UNFENCED_OBJECTS = {
    "activate": "makes the epoch, of what nobody owns, or whoever asks",
    "take_over": "makes the epoch, of what is locked and has no living owner",
    "release_all": "a node's goodbye to all that it owns, under whatever epoch",
    "drop_expired_objects": "deletes what no living node owns",
}
"""Statements that change objects without comparing node and epoch, with the reason."""

EVENTS = {
    "promote": ("promote", "block"),
    "take_fair": ("claim",),
    "deny": ("deny",),
    "open_keys": ("open",),
    "open_rates": ("open",),
    "unblock": ("open",),
    "take": ("claim",),
    "mark_taken": ("claim",),
    "release": ("release", "release_limited"),
    "reclaim": ("reclaim", "reclaim_limited", "crash_out"),
    "cancel": ("cancel",),
    "retry": ("retry", "retry_limited"),
    "hold": ("hold",),
    "unhold": ("unhold", "unhold_limited"),
    "wake": ("wake", "wake_limited"),
    "wake_late": ("wake", "wake_limited"),
    "recheck": ("wake", "wake_limited"),
}
"""The events of the kernel that a statement's change of status is. `commit` writes what `settle` says."""

ONLY_IN = {
    SQLITE: {
        "probe_ready": "looks before it takes the file's one lock",
        "mark_taken": "the second half of take: SQLite has no UPDATE that returns rows in order",
        "find_due": "the first half of promote",
        "next_due": "looks before it takes the file's one lock",
        "find_expired": "the first half of prune",
        "find_lost": "the first half of reclaim",
        "find_ours": "the first half of commit, where it has effects",
        "find_late": "the first half of wake_late",
        "find_live": "the first half of cancel",
        "find_paused": "the first half of pause_instances and resume_instances",
        "queues_of": "what open_round gives in Postgres",
        "find_stored": "which signals are new: SQLite gives a count only",
        "note_mail": "in Postgres a part of wake",
        "keep_used": "the first half of consume",
        "drop_used": "the second half of consume",
        "find_lowered": "the first half of lower",
        "next_fair": "take_fair goes from key to key in Python",
        "pick_fair": "take_fair goes from key to key in Python",
        "read_chosen": "the last part of take_fair",
        "drop_gates": "the first half of declare",
        "slots_of": "a part of free_slots and open_keys",
        "used_slots": "a part of free_slots and open_keys",
        "bucket": "a part of lock_buckets",
        "fill": "what lock_buckets, spend and sleep_buckets write",
        "due_buckets": "lock_due_buckets, where nobody else can be at them",
        "next_line": "a part of open_keys and open_rates, which go from line to line in Python",
        "ready_keyed": "a part of open_keys",
        "ready_rated": "a part of open_rates",
        "pick": "a part of open_keys and open_rates",
        "unblock": "the last part of open_keys and open_rates",
        "first_waiting": "a part of sleep_buckets",
        "next_buckets": "the first half of prune_buckets",
        "next_gate": "a part of find_gates, which goes from gate to gate in Python",
        "find_unsaved": "which objects a commit writes: SQLite gives a count only",
        "find_expired_objects": "the first half of drop_expired_objects",
        "next_alarm": "a part of due_alarms, which is asked for each type",
        "posted": "the second half of post",
        "drop_answered": "the first half of answer_calls",
    },
    POSTGRES: {
        "lock_instance": "looks, and lets nobody else change it meanwhile",
        "lock_removable": "removable, while nobody else can change them",
        "remove": "prune in SQLite, where that is a statement of its own",
        "commit_and_record": "two statements in SQLite, of one transaction that costs no round trip",
        "lock_ours": "the first half of commit, where it has effects",
        "lock_families": "locks in one order before a batch that ends children, and more",
        "lock_parents": "locks in one order before lower",
        "consume": "two statements in SQLite",
        "take_fair": "several statements in SQLite",
        "lock_keys": "nobody else can be at them in SQLite",
        "free_slots": "two statements in SQLite",
        "lock_buckets": "two statements in SQLite",
        "lock_due_buckets": "nobody else can be at them in SQLite",
        "spend": "fill in SQLite",
        "sleep_buckets": "two statements in SQLite",
        "open_keys": "several statements in SQLite",
        "open_rates": "several statements in SQLite",
        "find_gates": "goes from gate to gate in Python in SQLite",
        "lock_objects": "nobody else can be at them in SQLite",
        "take_over": "a part of activate in SQLite, where nobody registers meanwhile",
        "lock_expired_objects": "skips what somebody is writing, which SQLite need not",
        "find_keyed": "a part of posted in SQLite",
        "server": "what the doctor asks a server",
        "settings": "what the doctor asks a server",
        "old_transactions": "what the doctor asks a server",
        "old_prepared": "what the doctor asks a server",
    },
}
"""Names that the other store has no statement for, with the reason."""

CHANGES = re.compile(r"\b(?:UPDATE|DELETE FROM)\s+\"?\{schema\}\"?[._]instances\b")
FENCE = re.compile(r"(?:\w+\.)?\bepoch = (?:\w+\.)?epoch\b(?! [+])")
OBJECT_CHANGES = re.compile(r"\b(?:UPDATE|DELETE FROM|INSERT INTO)\s+\"?\{schema\}\"?[._]objects\b")
OBJECT_FENCE = (
    re.compile(r"\bnode (?:=|IS NOT DISTINCT FROM) :node\b"),
    re.compile(r"\bepoch = (?:w\.epoch\b|:epoch\b|ANY \(ARRAY\[w\.epoch\]\))"),
)
STATUS = re.compile(r"\bstatus (?:=|<>|IN) *(\(.*?\)|'\w*')", re.DOTALL)
BRANCH = re.compile(r"\b(?:THEN|ELSE) '(\w+)'")
WORD = re.compile(r"'(\w+)'")


def statements(package: str) -> list[Statement]:
    files = [file for file in resources.files(package).iterdir() if file.name.endswith(".sql")]
    return [statement for file in files for statement in parse(file.read_text())]


def cases(*packages: str) -> list[object]:
    return [
        pytest.param(package, item, id=f"{package.split('.')[2]}-{item.name}")
        for package in packages
        for item in statements(package)
    ]


def test_the_two_stores_name_their_statements_alike() -> None:
    """A difference is a reason to look; what only one of them has at all (NOTIFY, migrations) is a file of its own."""
    files = [{file.name: file for file in resources.files(package).iterdir()} for package in STORES]
    shared = {name for name in files[0].keys() & files[1].keys() if name.endswith(".sql")}
    sqlite, postgres = ({item.name for name in shared for item in parse(folder[name].read_text())} for folder in files)

    assert sqlite - postgres == set(ONLY_IN[SQLITE])
    assert postgres - sqlite == set(ONLY_IN[POSTGRES])


@pytest.mark.parametrize(("package", "statement"), cases(*STORES))
def test_every_write_to_an_instance_is_fenced(package: str, statement: Statement) -> None:
    """Nobody whose claim was taken away changes anything. Removing a fence must fail here."""
    for match in CHANGES.finditer(statement.text):
        if statement.name not in UNFENCED:
            _, where = re.split(r"\bWHERE\b", statement.text[match.start() :], maxsplit=1)
            assert FENCE.search(where), f"{statement.name} does not compare epochs"
            assert re.search(r"\bstatus = 'running'", where), f"{statement.name} does not ask for a running row"


@pytest.mark.parametrize(("package", "statement"), cases(*STORES))
def test_every_write_to_an_object_is_fenced(package: str, statement: Statement) -> None:
    """Nobody whose object was taken over changes anything of it. Removing a fence must fail here."""
    for match in OBJECT_CHANGES.finditer(statement.text):
        if statement.name not in UNFENCED_OBJECTS:
            where = statement.text[statement.text.rindex("WHERE", match.start()) :]
            assert OBJECT_FENCE[0].search(where), f"{statement.name} does not compare nodes"
            assert OBJECT_FENCE[1].search(where), f"{statement.name} does not compare epochs"


@pytest.mark.parametrize("package", STORES)
def test_no_name_is_written_twice(package: str) -> None:
    assert len(load(package)) == len(statements(package))


def test_no_reason_is_left_over() -> None:
    written = {item.name for package in STORES for item in statements(package) if CHANGES.search(item.text)}

    objects = {item.name for package in STORES for item in statements(package) if OBJECT_CHANGES.search(item.text)}

    assert set(UNFENCED) <= written
    assert set(UNFENCED_OBJECTS) <= objects
    assert set(EVENTS) <= written


@pytest.mark.parametrize(("package", "statement"), cases(*STORES, "outlast._store.enlist.sql"))
def test_every_status_in_sql_is_one_of_the_kernels(package: str, statement: Statement) -> None:
    found = {word for part in STATUS.findall(statement.text) for word in WORD.findall(part)}
    found |= set(BRANCH.findall(statement.text))

    notes = {"retrying"} if statement.name in ("record", "unrecord") else set()
    assert found <= set(states.ALL) | notes


@pytest.mark.parametrize("package", ["outlast._store.sqlite.migrations", "outlast._store.postgres.migrations"])
def test_the_tables_know_every_status_and_no_other(package: str) -> None:
    text = resources.files(package).joinpath("0001_jobs.sql").read_text()
    all_, final = re.findall(r"status IN \((.*?)\)", text, re.DOTALL)

    assert sorted(WORD.findall(all_)) == sorted(states.ALL)
    assert sorted(WORD.findall(final)) == sorted(states.FINAL)


@pytest.mark.parametrize(("package", "statement"), cases(*STORES))
def test_every_change_of_status_is_a_move(package: str, statement: Statement) -> None:
    if statement.name in ("record", "rerecord"):  # the status of a note in the journal.
        return
    text = statement.text.partition("\n), recorded AS")[0]  # from here on it is about such notes, too.
    for match in re.finditer(r"\bSET\s+status = (.*?)\s*(?:,\s+\w+ = |\bFROM\b|\bWHERE\b)", text, re.DOTALL):
        written, rest = match[1], text[match.end(1) :]
        where = rest[rest.rindex("WHERE") :]
        before = {word for part in STATUS.findall(where) for word in WORD.findall(part)}
        if statement.name in ("commit", "commit_full", "commit_and_record"):
            held = re.fullmatch(r"CASE WHEN o.status = 'ready' AND (.*) THEN 'scheduled' ELSE o.status END", written)
            assert held is not None
            assert re.fullmatch(r"(?:i\.)?paused_(?:us|at) IS NOT NULL", held[1])
            assert before == {"running"}
            continue
        moves = [states.MOVES[event] for event in EVENTS[statement.name]]
        after = set(WORD.findall(written)) & set(states.ALL)
        assert before == {status for move in moves for status in move}
        assert after == {status for move in moves for status in move.values()}


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ("done", Finished("1")),
        ("next", Moved("b", "{}")),
        ("park", Parked(None, "{}", ("x",))),
        ("park", Spawned("b", "{}", [])),
        ("fail", Failed("{}")),
        ("compensated", Failed("{}", status="compensated")),
        ("compensation_failed", Failed("{}", status="compensation_failed")),
        ("give_up", Cancelled("{}")),
        ("again", Again(0.0, None)),
        ("later", Again(1.0, None)),
        ("unreadable", Unreadable("{}")),
    ],
)
def test_every_outcome_is_a_move(event: str, outcome: Outcome) -> None:
    claim = Claim("id", "p", 1, "run", "{}", 1, 0, 0, 0, None)

    assert states.MOVES[event] == {states.RUNNING: settle.settle(claim, outcome, retention_s=None).status}


@pytest.mark.parametrize(("package", "statement"), cases(*STORES, "outlast._store.enlist.sql"))
def test_a_statement_is_one_statement_and_plain(package: str, statement: Statement) -> None:
    assert ";" not in statement.text
    assert "--" not in statement.text
    literals = re.findall(r"'([^']*)'", statement.text)
    assert not [text for text in literals if re.search(r":[a-z_]", text)], "a parameter inside a text is filled in"
    assert "{" not in statement.text.replace("{schema}", "")


def test_every_statement_says_what_serves_it() -> None:
    silent = [
        f"{package}: {name}"
        for package in STORES
        for name, head in heads(package)
        if re.search(r"(?:FROM|UPDATE|JOIN) \{schema\}[._](?:instances|objects|alarms|calls)\b", head[1])
        and name not in ("stand", "delete")
        if "-- index: " not in head[0] and not re.search(r"\bid = :id(::uuid)?\b|\bid IN \(", head[1])
    ]

    assert not silent


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_every_index_says_what_it_serves(store: str) -> None:
    folder = resources.files(f"outlast._store.{store}.migrations")
    text = "".join(file.read_text() for file in folder.iterdir() if file.name.endswith(".sql"))
    names = {item.name for item in statements(f"outlast._store.{store}.sql")}

    served = re.findall(r"-- serves: ([\w, ]+)[^\n]*\nCREATE (?:UNIQUE )?INDEX", text)

    assert len(served) == text.count(" INDEX ") - text.count("DROP INDEX ")
    assert {name for line in served for name in line.split(", ")} <= names


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_every_statement_is_used(store: str) -> None:
    words = {
        node.value
        for path in (FOLDER / store).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    # One family is named by a pattern.
    words |= {f"queue_{status}" for status in ("scheduled", "ready", "blocked", "running", "waiting")}

    assert {item.name for item in statements(f"outlast._store.{store}.sql")} - words == set()


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_every_parameter_is_given_and_no_other(store: str) -> None:
    known = load(f"outlast._store.{store}.sql")
    wrong = [
        f"{path.name}:{call.lineno}: {name} takes {sorted(known[name].parameters)}, not {sorted(given)}"
        for path in (FOLDER / store).glob("*.py")
        for call, name, given in desk_calls(ast.parse(path.read_text()))
        if set(known[name].parameters) != given
    ]

    assert not wrong


def desk_calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str, set[str]]]:
    """Calls such as `desk.run("pause", name=...)`, whose parameters can be read off."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        names = {word.arg for word in call.keywords}
        if call.func.attr in ("run", "rows", "change") and None not in names and call.args:
            if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
                yield call, call.args[0].value, {name for name in names if name is not None}


def heads(package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Statements by name, each with its comment and its text."""
    for file in resources.files(package).iterdir():
        if file.name.endswith(".sql"):
            text = file.read_text()
            parts = re.split(r"^-- name: (\w+)\s*$", text, flags=re.MULTILINE)
            for name, body in zip(parts[1::2], parts[2::2], strict=True):
                yield name, (body, parse(f"-- name: {name}\n{body}")[0].text)


def test_a_name_written_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "twice_sql"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.sql").write_text("-- name: one\nSELECT 1;\n")
    (package / "b.sql").write_text("-- name: one\nSELECT 2;\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ValueError, match="'one' is written twice"):
        load("twice_sql")


def test_parameters_are_numbered_in_the_order_of_their_first_use() -> None:
    (statement,) = parse(
        "-- name: find\n-- takes: b and :c\nSELECT :b::text, :a, :b FROM {schema}.t WHERE x = ':';", schema="s"
    )

    assert statement.text == "SELECT :b::text, :a, :b FROM s.t WHERE x = ':'"
    assert statement.numbered == "SELECT $1::text, $2, $1 FROM s.t WHERE x = ':'"
    assert statement.parameters == ("b", "a")
