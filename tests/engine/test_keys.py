"""Correlation keys: at most one instance holds one."""

import asyncio
from typing import Any

import pytest

from outlast import Cancel, DuplicateKey, Engine, Handle, InstanceCancelled, InstanceFailed, job
from outlast.errors import ConfigError
from tests.engine.given import SOON_S, Engines, soon


@job(name="test_keys.echo")
async def echo(word: str) -> str:
    return word


@job(name="test_keys.end_as", max_attempts=1)
async def end_as(status: str) -> Any:
    if status == "cancelled":
        return Cancel()
    if status == "failed":
        raise ValueError
    return None


@pytest.fixture
async def held(engine: Engine) -> Handle[str]:
    """An instance that holds the key "order:7" and will not run."""
    await engine.pause_queue("default")
    return await engine.start(echo.new(word="first"), correlation_key="order:7")


async def test_a_held_key_is_refused_with_the_holders_handle(engine: Engine, held: Handle[str]) -> None:
    with pytest.raises(DuplicateKey, match="order:7") as caught:
        await engine.start(echo.new(word="second"), correlation_key="order:7")

    assert caught.value.key == "order:7"
    assert caught.value.handle == held
    assert await engine.totals() == {"ready": 1}
    await engine.resume_queue("default")
    assert await caught.value.handle.result(SOON_S) == "first"


async def test_on_conflict_return_gives_the_holders_handle(engine: Engine, held: Handle[str]) -> None:
    found = await engine.start(echo.new(word="second"), correlation_key="order:7", on_conflict="return")
    other = await engine.start(echo.new(word="third"), correlation_key="order:8", on_conflict="return")

    await engine.resume_queue("default")
    assert found == held
    assert await found.result(SOON_S) == "first"
    assert await other.result(SOON_S) == "third"


async def test_of_many_starts_at_once_exactly_one_gets_the_key(engines: Engines) -> None:
    engines_of_two = [await engines.open(queues={}) for _ in range(2)]

    handles = await soon(
        asyncio.gather(
            *(
                engines_of_two[turn % 2].start(echo.new(word="x"), correlation_key="one", on_conflict="return")
                for turn in range(40)
            )
        )
    )

    assert len({handle.id for handle in handles}) == 1
    assert await engines_of_two[0].totals() == {"ready": 1}


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
async def test_a_key_is_free_after_the_end(engine: Engine, status: str) -> None:
    first = await _ended(engine, status, "live")

    second = await engine.start(echo.new(word="again"), correlation_key="k")

    assert second != first
    assert await second.result(SOON_S) == "again"


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
async def test_scope_always_keeps_the_key_until_the_instance_is_deleted(engine: Engine, status: str) -> None:
    first = await _ended(engine, status, "always")

    with pytest.raises(DuplicateKey) as caught:
        await engine.start(echo.new(word="again"), correlation_key="k")
    assert caught.value.handle == first

    await engine.delete(first.id)
    await engine.start(echo.new(word="again"), correlation_key="k")


async def test_scope_none_holds_nothing(engine: Engine) -> None:
    await engine.pause_queue("default")

    handles = [await engine.start(echo.new(word="x"), correlation_key="k", correlation_scope="none") for _ in range(3)]
    holder = await engine.start(echo.new(word="x"), correlation_key="k")

    assert len(set(handles)) == 3
    found = await engine.find("k")
    assert found is not None
    assert found.id == holder.id


async def test_a_scope_may_name_final_statuses(engine: Engine) -> None:
    scope = ["scheduled", "ready", "blocked", "running", "waiting", "quarantined", "done"]
    done = await _ended(engine, "done", scope, key="done")
    await _ended(engine, "failed", scope, key="failed")

    with pytest.raises(DuplicateKey) as caught:
        await engine.start(echo.new(word="x"), correlation_key="done")
    assert caught.value.handle == done
    await engine.start(echo.new(word="x"), correlation_key="failed")


@pytest.mark.parametrize("scope", ["sometimes", ["done"], ["redy"], 7], ids=str)
async def test_a_wrong_scope_is_refused(engine: Engine, scope: Any) -> None:
    with pytest.raises(ConfigError):
        await engine.start(echo.new(word="x"), correlation_key="k", correlation_scope=scope)


async def test_without_a_key_nothing_conflicts(engine: Engine) -> None:
    handles = [await engine.start(echo.new(word="x")) for _ in range(3)]

    assert len({handle.id for handle in handles}) == 3


async def test_find_gives_the_holder_else_the_newest(engine: Engine) -> None:
    assert await engine.find("k") is None
    await _ended(engine, "done", "live")
    newest = await _ended(engine, "done", "live")
    found = await engine.find("k")
    assert found is not None
    assert (found.id, found.correlation_key) == (newest.id, "k")

    await engine.pause_queue("default")
    holder = await engine.start(echo.new(word="x"), correlation_key="k")

    found = await engine.find("k")
    assert found is not None
    assert found.id == holder.id


async def test_a_key_that_looks_like_an_id_is_still_a_key(engine: Engine) -> None:
    other = await engine.start(echo.new(word="x"))

    handle = await engine.start(echo.new(word="y"), correlation_key=other.id)

    found = await engine.find(other.id)
    assert found is not None
    assert found.id == handle.id


async def test_retry_is_refused_while_a_successor_holds_the_key(engine: Engine) -> None:
    first = await _ended(engine, "failed", "live")
    await engine.pause_queue("default")
    successor = await engine.start(echo.new(word="x"), correlation_key="k")

    with pytest.raises(DuplicateKey) as caught:
        await first.retry()

    assert caught.value.handle == successor
    assert (await first.get()).status == "failed"


async def _ended(engine: Engine, status: str, scope: Any, *, key: str = "k") -> Handle[Any]:
    handle = await engine.start(end_as.new(status=status), correlation_key=key, correlation_scope=scope)
    try:
        await handle.result(SOON_S)
    except (InstanceFailed, InstanceCancelled):
        pass
    assert (await handle.get()).status == status
    return handle
