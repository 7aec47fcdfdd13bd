"""`outlast.sync`: the same engine for callers without an event loop."""

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import outlast
from harness.waiting import eventually
from outlast import (
    Cancel,
    DuplicateKey,
    InstanceCancelled,
    InstanceFailed,
    Object,
    ResultTimeout,
    alarm,
    handler,
    job,
    sync,
)
from outlast._kernel.limits import LimitsInEffect
from outlast.errors import ArgumentError, ConfigError, EngineStateError, IllegalMove, NotFound, UnknownProgram
from tests.engine.given import SOON_S, own_connection
from tests.engine.workers import process

PATIENT: dict[str, Any] = {"poll_interval": 60.0, "max_poll_interval": 60.0}

ASYNC_ONLY = {
    "run_forever": "a worker has a loop of its own",
    "enlist": "`start(connection=...)` is what callers need",
    "handle_of": "serves this portal",
    "events": "listeners are called on the loop",
    "ended": "`result` is what callers need",
    "configure": "settings are given to the constructor",
    "tables": "serves the command line",
    "drop_tables": "serves the command line",
    "migration_script": "serves the command line",
    "describe": "serves the command line",
    "shown_url": "serves the command line",
    "database_file": "serves the command line",
    "sharing_warning": "serves the command line",
}


@job(name="test_sync.double")
async def double(number: int) -> int:
    return 2 * number


class Tally(Object, name="test_sync.Tally"):
    count: int = 0

    @handler
    async def add(self, amount: int = 1) -> int:
        if amount < 0:
            raise LookupError("nothing to take")
        self.count += amount
        return self.count

    @alarm
    async def reset(self) -> None:
        self.count = 0


@job(name="test_sync.double_in_thread")
def double_in_thread(number: int) -> int:
    return 2 * number


@job(name="test_sync.never")
async def never() -> None:
    await asyncio.Event().wait()


@job(name="test_sync.end_as", max_attempts=1)
def end_as(status: str) -> Any:
    if status == "failed":
        raise ValueError("no")
    return Cancel("no")


@pytest.fixture
def url(store_url: str) -> str:
    """A fresh database with its tables."""
    return store_url


@pytest.fixture
def engine(url: str) -> Iterator[sync.Engine]:
    """An open engine that works."""
    with sync.Engine(url, programs=[double], drain_timeout=0, **PATIENT) as engine:
        yield engine


def test_every_operation_is_there() -> None:
    here, there = _public(sync.Engine), _public(outlast.Engine)

    assert here - there == set()
    assert there - here == ASYNC_ONLY.keys()
    assert _public(sync.Handle) == _public(outlast.Handle)


@pytest.mark.parametrize("name", sorted({name for name in dir(sync.Engine) if name[0] != "_"} | {"__init__"}))
def test_arguments_are_the_same(name: str) -> None:
    here, there = getattr(sync.Engine, name), getattr(outlast.Engine, name)

    assert _parameters(here) == _parameters(there)


@pytest.mark.parametrize("name", sorted({name for name in dir(sync.Handle) if name[0] != "_"} - {"id"}))
def test_arguments_of_handles_are_the_same(name: str) -> None:
    here, there = getattr(sync.Handle, name), getattr(outlast.Handle, name)

    assert _parameters(here) == _parameters(there)
    assert str(inspect.signature(here).return_annotation) == str(inspect.signature(there).return_annotation)


def test_a_start_and_its_result(engine: sync.Engine) -> None:
    for work in (double, double_in_thread):
        handle = engine.start(work.new(number=21))
        assert handle.result(SOON_S) == 42
        assert handle.get().status == "done"
        assert engine.get(handle.id) == handle.get()


def test_many_starts_and_their_results(engine: sync.Engine) -> None:
    handles = engine.start_many(double.new(number=number) for number in range(50))

    assert [handle.result(timedelta(seconds=SOON_S)) for handle in handles] == [2 * number for number in range(50)]


def test_handles_are_equal_when_they_mean_the_same(engine: sync.Engine) -> None:
    handle = engine.start(double.new(number=1))

    assert engine.handle(handle.id) == handle
    assert len({handle, engine.handle(handle.id)}) == 1
    assert repr(handle) == f"<Handle {handle.id}>"
    assert engine.handle(handle.id).result(SOON_S) == 2


def test_errors_come_through_unchanged(engine: sync.Engine) -> None:
    with pytest.raises(InstanceFailed, match="ValueError: no"):
        engine.start(end_as.new(status="failed")).result(SOON_S)
    with pytest.raises(InstanceCancelled, match="no"):
        engine.start(end_as.new(status="cancelled")).result(SOON_S)
    with pytest.raises(ResultTimeout):
        engine.start(double.new(number=1), schedule_in=60).result(0.01)
    with pytest.raises(ConfigError, match="not both"):
        engine.start(double.new(number=1), schedule_in=1, schedule_at=1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        engine.start(double.new(nummber=1))  # type: ignore[call-arg]
    with pytest.raises(NotFound):
        engine.get("0190a2b3-0000-7000-8000-000000000000")


def test_a_duplicate_carries_a_handle_that_can_be_used_here(engine: sync.Engine) -> None:
    first = engine.start(double.new(number=1), correlation_key="k", schedule_in=60)

    with pytest.raises(DuplicateKey) as caught:
        engine.start(double.new(number=2), correlation_key="k")

    assert caught.value.handle.id == first.id
    assert caught.value.handle.get().status == "scheduled"
    assert engine.start(double.new(number=2), correlation_key="k", on_conflict="return") == first


def test_what_an_operator_does(engine: sync.Engine) -> None:
    engine.pause_queue("default")
    handle = engine.start(double.new(number=4), correlation_key="four")
    assert [queue.paused_at is not None for queue in engine.queues()] == [True]
    assert engine.totals() == {"ready": 1}
    assert len(engine.nodes()) == 1
    assert engine.standing() is not None
    assert engine.limits() == LimitsInEffect(concurrency={}, rates={})
    assert {level for level, _, _ in engine.findings()} <= {"ok", "warning", "problem"}
    found = engine.find("four")
    assert found is not None
    assert found.id == handle.id
    assert engine.expand_id(handle.id[:20]) == handle.id
    assert [item.id for item in engine.list(status="ready")] == [handle.id]
    assert [item.id for item in engine.list_all(page=1)] == [handle.id]

    assert handle.cancel("not now").status == "cancelled"
    with pytest.raises(InstanceCancelled, match="not now"):
        handle.result(SOON_S)
    assert handle.retry().status == "ready"
    with pytest.raises(IllegalMove):
        engine.retry(handle.id)
    assert handle.pause("wait", by="ann").paused_at is not None
    assert [item.id for item in engine.list(paused=True)] == [handle.id]
    assert handle.resume().paused_at is None
    assert engine.pause(handle.id).status == "blocked"
    assert engine.cancel(handle.id).paused_at is None
    assert handle.retry(input={"number": 5}, by="bob", reason="five").state == {"number": 5}
    assert [(act.act, act.by) for act in engine.acts(handle.id)] == [
        ("retried", None),
        ("paused", "ann"),
        ("resumed", None),
        ("paused", None),
        ("retried", "bob"),
    ]
    assert engine.resume(handle.id).status == "ready"
    engine.resume_queue("default")
    assert handle.result(SOON_S) == 10
    engine.delete(handle.id)
    assert engine.totals() == {}
    assert engine.program("test_sync.double") is double
    assert double in engine.programs
    with pytest.raises(UnknownProgram):
        engine.program("test_sync.dubble")


def test_tags_counts_and_deleting(engine: sync.Engine) -> None:
    handle = engine.start(double.new(number=1), tags={"region": "eu"})
    handle.result(SOON_S)

    assert engine.set_tags(handle.id, {"tier": "gold"}) == {"region": "eu", "tier": "gold"}
    assert [found.id for found in engine.list(tags={"tier": "gold"}, roots=True)] == [handle.id]
    assert engine.totals(by="program", tags={"region": "eu"}) == {handle.get().program: 1}
    assert engine.delete_many(older_than=0, dry_run=True) == engine.delete_many(older_than=0) == 1
    with pytest.raises(NotFound):
        engine.cancel_input(handle.id, "manager")


def test_schedules(engine: sync.Engine) -> None:
    made = engine.schedule(double.new(number=21), "0 9 * * MON-FRI", name="s", zone="Europe/Berlin")
    assert engine.get_schedule("s") == made
    assert engine.trigger_schedule("s").result(SOON_S) == 42
    assert engine.trigger_schedule("s", double.new(number=2)).result(SOON_S) == 4
    assert not engine.disable_schedule("s").enabled
    assert engine.schedules(enabled=True) == []
    assert engine.enable_schedule("s").next_run_at == made.next_run_at
    assert engine.update_schedule("s", cron="@daily").cron == "@daily"
    engine.delete_schedule("s")
    with pytest.raises(NotFound):
        engine.get_schedule("s")


def test_objects(engine: sync.Engine) -> None:
    tally = engine.object(Tally, "a")

    assert (tally.add(5), tally.add()) == (5, 6)
    with pytest.raises(LookupError, match="nothing to take"):
        tally.add(-1)
    assert engine.get_state(tally) == {"count": 6}
    assert tally.add.with_options(idempotency_key="k", timeout=SOON_S)(4) == 10
    assert tally.add.with_options(idempotency_key="k")(4) == 10
    assert engine.whereis(tally) == engine.ensure_started(tally) == engine.nodes()[0].id
    assert [(each.id, each.state) for each in engine.list_objects(Tally)] == [("a", {"count": 10})]
    assert engine.get_object(Tally, "a") == engine.get_object("test_sync.Tally", "a") == engine.list_objects(Tally)[0]
    assert [(each.type, each.objects, each.owned) for each in engine.count_objects()] == [("test_sync.Tally", 1, 1)]
    engine.stop_object(tally)
    assert engine.whereis(tally) is None
    assert engine.delete_object(tally)
    assert not engine.delete_object(tally)
    with pytest.raises(NotFound):
        engine.get_state(tally)


def test_one_way_calls_and_alarms_of_objects(engine: sync.Engine) -> None:
    tally = engine.object(Tally, "a")

    assert tally.add.send(3) is None
    eventually(lambda: engine.list_objects(Tally) and engine.get_state(tally) == {"count": 3})
    engine.schedule_alarm(tally, "reset", 3600)
    assert [each.name for each in engine.list_alarms(tally)] == ["reset"]
    assert engine.cancel_alarm(tally, "reset")
    engine.schedule_alarm(tally, "reset", every=timedelta(hours=1))
    assert engine.cancel_all_alarms(tally) == 1
    engine.schedule_alarm(tally, "reset", 0)
    eventually(lambda: engine.get_state(tally) == {"count": 0})


def test_pages_follow_each_other(engine: sync.Engine) -> None:
    engine.start_many((double.new(number=number) for number in range(7)), schedule_in=60)

    for page in (1, 3, 7, 50):
        assert [item.state["number"] for item in engine.list_all(page=page)] == [6, 5, 4, 3, 2, 1, 0]


def test_it_opens_at_its_first_use_and_again_after_closing(url: str) -> None:
    engine = sync.Engine(url, queues={})

    for count in (1, 2):
        engine.start(double.new(number=1), schedule_in=60)
        assert engine.totals() == {"scheduled": count}
        engine.close()
        engine.close()


def test_a_start_in_the_callers_transaction(engine: sync.Engine) -> None:
    with own_connection(engine.config.url) as connection:
        engine.start(double.new(number=1), connection=connection)
        connection.rollback()
        assert engine.totals() == {}

        handle = engine.start(double.new(number=2), connection=connection)
        more = engine.start_many((double.new(number=number) for number in range(3)), connection=connection)
        assert engine.totals() == {}
        connection.commit()

    assert handle.result(SOON_S) == 4
    assert [one.result(SOON_S) for one in more] == [0, 2, 4]


async def test_a_call_on_a_running_loop_is_refused(url: str) -> None:
    engine = sync.Engine(url, queues={})
    id = "0190a2b3-0000-7000-8000-000000000000"
    tally = engine.object(Tally, "a")
    calls: dict[str, Any] = {
        "open": engine.open,
        "migrate": engine.migrate,
        "start": lambda: engine.start(double.new(number=1)),
        "start_many": lambda: engine.start_many([]),
        "get": lambda: engine.get(id),
        "find": lambda: engine.find("k"),
        "list": engine.list,
        "list_all": lambda: list(engine.list_all()),
        "expand_id": lambda: engine.expand_id(id),
        "cancel": lambda: engine.cancel(id),
        "signal": lambda: engine.signal(id, "s"),
        "signal_or_start": lambda: engine.signal_or_start(double.new(number=1), "s", correlation_key="k"),
        "signals": lambda: engine.signals(id),
        "children": lambda: engine.children(id),
        "steps": lambda: engine.steps(id),
        "graph": lambda: engine.graph(id),
        "pending_inputs": engine.pending_inputs,
        "provide_input": lambda: engine.provide_input(id, "n", 1),
        "all_children": lambda: list(engine.all_children(id)),
        "logs": lambda: engine.logs(id),
        "all_logs": lambda: list(engine.all_logs(id)),
        "retry": lambda: engine.retry(id),
        "pause": lambda: engine.pause(id),
        "resume": lambda: engine.resume(id),
        "acts": lambda: engine.acts(id),
        "delete": lambda: engine.delete(id),
        "pause_queue": lambda: engine.pause_queue("default"),
        "resume_queue": lambda: engine.resume_queue("default"),
        "schedule": lambda: engine.schedule(double.new(number=1), "@daily"),
        "schedules": engine.schedules,
        "get_schedule": lambda: engine.get_schedule("s"),
        "update_schedule": lambda: engine.update_schedule("s", cron="@daily"),
        "enable_schedule": lambda: engine.enable_schedule("s"),
        "disable_schedule": lambda: engine.disable_schedule("s"),
        "delete_schedule": lambda: engine.delete_schedule("s"),
        "trigger_schedule": lambda: engine.trigger_schedule("s"),
        "queues": engine.queues,
        "totals": engine.totals,
        "set_tags": lambda: engine.set_tags(id, {}),
        "delete_many": lambda: engine.delete_many(older_than=0),
        "cancel_input": lambda: engine.cancel_input(id, "x"),
        "nodes": engine.nodes,
        "limits": engine.limits,
        "findings": engine.findings,
        "standing": engine.standing,
        "call_object": lambda: tally.add(1),
        "send_object": lambda: tally.add.send(1),
        "ensure_started": lambda: engine.ensure_started(tally),
        "whereis": lambda: engine.whereis(tally),
        "stop_object": lambda: engine.stop_object(tally),
        "delete_object": lambda: engine.delete_object(tally),
        "get_state": lambda: engine.get_state(tally),
        "get_object": lambda: engine.get_object(Tally, "a"),
        "list_objects": lambda: engine.list_objects(Tally),
        "count_objects": engine.count_objects,
        "schedule_alarm": lambda: engine.schedule_alarm(tally, "reset", 1),
        "cancel_alarm": lambda: engine.cancel_alarm(tally, "reset"),
        "cancel_all_alarms": lambda: engine.cancel_all_alarms(tally),
        "list_alarms": lambda: engine.list_alarms(tally),
        "result": lambda: engine.handle(id).result(),
    }
    harmless = {"close", "drawing", "handle", "object", "on", "program", "programs", "config"}
    assert calls.keys() - {"result"} == _public(sync.Engine) - harmless

    for name, call in calls.items():
        with pytest.raises(EngineStateError, match=r"would block the running event loop; use outlast\.Engine"):
            call()
        assert engine._portal is None, name


def test_threads_share_one_engine(engine: sync.Engine) -> None:
    def work(thread: int) -> list[int]:
        return [engine.start(double.new(number=100 * thread + turn)).result(SOON_S) for turn in range(20)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))

    assert found == [[2 * (100 * thread + turn) for turn in range(20)] for thread in range(8)]
    assert engine.totals() == {"done": 160}


def test_threads_that_come_first_together_open_it_once(url: str) -> None:
    engine = sync.Engine(url, queues={})
    barrier = threading.Barrier(8)

    def work(_: int) -> dict[str, int]:
        barrier.wait(SOON_S)
        return engine.totals()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [{}] * 8
    assert len([thread for thread in threading.enumerate() if thread.name == "outlast-portal"]) == 1
    engine.close()


def test_closing_ends_the_wait_of_other_threads(url: str) -> None:
    engine = sync.Engine(url, queues={})
    handle = engine.start(never.new())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(handle.result)
        eventually(lambda: engine._engine._crew is not None and engine._engine._crew.waiters._waiting)

        engine.close()

        with pytest.raises(EngineStateError, match="closed"):
            waiting.result(SOON_S)


def test_a_step_that_swallows_its_cancellation_does_not_hold_the_door(url: str) -> None:
    gate, begun = threading.Event(), threading.Event()

    @job(name="test_sync.deaf")
    async def deaf() -> None:
        begun.set()
        while not gate.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    engine = sync.Engine(url, programs=[deaf], drain_timeout=0.05, cancel_timeout=0.05)
    engine.start(deaf.new())
    assert begun.wait(SOON_S)

    before = time.monotonic()
    engine.close()

    assert time.monotonic() - before < 3
    gate.set()
    eventually(lambda: not any(thread.name == "outlast-portal" for thread in threading.enumerate()))


FORK = """
from outlast import sync

@job
async def double(number: int) -> int:
    return 2 * number

engine = sync.Engine(URL, drain_timeout=0)
assert engine.start(double.new(number=1)).result(20) == 2
engine.start(double.new(number=0), queue="elsewhere")
pid = os.fork()
if pid == 0:
    say("child", engine.start(double.new(number=3)).result(20), len(engine.nodes()))
    engine.close()
    sys.exit(0)
_, status = os.waitpid(pid, 0)
again = engine.start(double.new(number=4)).result(20)
say("parent", os.waitstatus_to_exitcode(status), again, sorted(engine.totals().items()))
"""


def test_a_forked_child_opens_its_own(url: str) -> None:
    with process(FORK, url) as one:
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    assert one.popen.returncode == 0, complaints
    assert out.splitlines() == ["child 6 2", "parent 0 8 [('done', 3), ('ready', 1)]"], complaints


BEFORE = """
@job
async def double(number: int) -> int:
    return 2 * number

async def main():
    async with engine:
        say(await (await engine.start(double.new(number=3))).result(20))
        say(engine._crew.node.id)
        say(getattr(engine._store.bell, "_sender", os.getpid()))
        say(engine._world.dice.random())

engine = Engine(URL, drain_timeout=0)  # as a module makes it that web servers load before they fork.
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        asyncio.run(main())
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_an_engine_made_before_forks_is_opened_in_each_child(url: str) -> None:
    with process(BEFORE, url) as one:
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    children = zip(*[iter(out.splitlines())] * 4, strict=True)
    results, *others = (set(column) for column in zip(*children, strict=True))
    assert results == {"6"}, complaints
    assert [len(values) for values in others] == [2, 2, 2], "nothing is shared"


INTERRUPTED = """
import signal
from outlast import sync

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs this in the background may have it ignored.

@job
async def never():
    await asyncio.Event().wait()

@job
async def double(number: int) -> int:
    return 2 * number

engine = sync.Engine(URL, drain_timeout=0)
handle = engine.start(never.new())
try:
    while handle.get().status != "running":
        pass
    say("waiting")
    handle.result()
except KeyboardInterrupt:
    say("interrupted", handle.get().status, engine.start(double.new(number=2)).result(20))
    say("waits", len(engine._engine._crew.waiters._waiting))
"""


def test_ctrl_c_ends_the_wait_and_nothing_else(url: str) -> None:
    with process(INTERRUPTED, url) as one:
        assert one.popen.stdout is not None
        assert one.popen.stdout.readline() == "waiting\n"
        time.sleep(0.2)  # it is on its way into `result`, which nobody but the process can see.
        one.popen.send_signal(signal.SIGINT)
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    assert one.popen.returncode == 0, complaints
    assert out.splitlines() == ["interrupted running 4", "waits 0"], complaints


EXIT = """
from outlast import sync

@job
async def never():
    await asyncio.Event().wait()

engine = sync.Engine(URL, drain_timeout=0)
handle = engine.start(never.new())
while handle.get().status != "running":
    pass
say("leaving")
"""


def test_the_end_of_the_program_closes_it(url: str) -> None:
    with process(EXIT, url) as one:
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    assert (one.popen.returncode, out, complaints) == (0, "leaving\n", "")
    with sync.Engine(url, queues={}) as engine:
        (instance,) = engine.list()
        assert (instance.status, instance.attempt, instance.crashes) == ("ready", 0, 0)
        assert engine.nodes() == []


def _public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def _parameters(one: Any) -> Any:
    if isinstance(one, property):
        return "a property"
    return [
        (item.name, item.kind, item.default, item.annotation) for item in inspect.signature(one).parameters.values()
    ]


def test_callbacks_hear_the_engine_behind_the_portal(url: str) -> None:
    heard: list[str] = []
    with sync.Engine(url, programs=[double]) as engine:
        over = threading.Event()
        off = engine.on("instance.ended", lambda name, fields: over.set())

        @engine.on("step.stop")
        def note(name: str, fields: dict[str, Any]) -> None:
            heard.append(fields["kind"])

        engine.start(double.new(number=1)).result(SOON_S)
        assert over.wait(SOON_S)
        off()
        note("by hand", {"kind": "mine"})

    assert heard == ["done", "mine"]
