"""What malformed input has found, each in its smallest form."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from outlast import Cron, Engine, RateLimit, Retry
from outlast._codec import encode
from outlast._kernel.forms import checked_answer
from outlast._kernel.requests import start_options
from outlast.cli import main
from outlast.config import Config
from outlast.config.settings import resolve
from outlast.errors import (
    ArgumentError,
    ConfigError,
    DefinitionError,
    EncodingError,
    InvalidAnswer,
    NotFound,
    did_you_mean,
)
from outlast.testing import by_hand, clock_of, drain, drain_alarms, fire_schedules
from tests.engine.given import Table
from tests.fuzz.nasty import nested
from tests.fuzz.values import echo
from tests.model import programs
from tests.model.programs import Counter, described, errand

HUGE = 10**5_000
"""A number that Python refuses to write down."""
DEEP = nested(50_000)

FORM = {"name": "a", "type": "form", "fields": [{"name": "n", "required": True, "options": [], "type": "integer"}]}
BOUNDS = {"max_length": None, "minimum": None, "maximum": 9}


@pytest.mark.parametrize("value", [HUGE, DEEP, "9" * 10_000], ids=["huge", "deep", "long"])
@pytest.mark.parametrize(
    "take",
    [
        lambda value: start_options(priority=value),
        lambda value: start_options(weight=value),
        lambda value: start_options(concurrency_key=("gpu", value)),
        lambda value: start_options(correlation_key="x", correlation_scope=value),
        lambda value: start_options(correlation_key="x", correlation_scope=[value]),
        lambda value: start_options(schedule_at=value),
        lambda value: Retry(value),
        lambda value: RateLimit(value, value),
        lambda value: Cron("* * * * *", zone=value),
        lambda value: Engine("sqlite://", log_level=value),
        lambda value: Engine("sqlite://", queues={"a": {"concurrency": value}}),
    ],
)
def test_an_error_quotes_whatever_came_and_stays_short(take: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises((ConfigError, DefinitionError)) as told:
        take(value)

    assert len(str(told.value)) < 600


def test_no_word_is_near_to_what_is_no_text() -> None:
    assert did_you_mean(HUGE, ["a"]) == " (known: 'a')"


def test_an_unknown_argument_is_quoted_in_short() -> None:
    with pytest.raises(ArgumentError) as told:
        echo.new_from_json('{"' + "x" * 10_000 + '": 1}')

    assert len(str(told.value)) < 600


@pytest.mark.parametrize(
    "answer", [{"n": 10**400}, {"n": HUGE}, {"n": DEEP}, DEEP, {"n": float("inf")}, {"x" * 9_999: 1}]
)
def test_an_answer_that_does_not_fit_is_refused_in_short(answer: Any) -> None:
    form = FORM | {"fields": [field | BOUNDS for field in FORM["fields"]]}  # type: ignore[union-attr]

    with pytest.raises(InvalidAnswer) as told:
        checked_answer(form, answer)

    assert len(str(told.value)) < 900


def test_a_refused_form_does_not_list_a_thousand_problems() -> None:
    with pytest.raises(InvalidAnswer, match=r"and 991 more") as told:
        checked_answer(FORM, {str(number): 1 for number in range(1_000)})

    assert len(told.value.problems) == 1_001


def test_a_choice_is_a_text_however_it_was_given() -> None:
    assert checked_answer({"name": "a", "type": "choice", "choices": ["red"]}, ["red"]) == "red"


@pytest.mark.parametrize(
    "url", ["postgresql://h/\ud800", "postgresql://h/x?password=\udcff", "postgresql://\udc80:x@h"]
)
def test_a_url_with_half_a_character_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not understood"):
        Engine(url).describe()


def test_a_deep_settings_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("a = " + "[" * 5_000)

    with pytest.raises(ConfigError, match="too deep"):
        resolve(None, {}, environment={}, folder=tmp_path)


def test_settings_know_no_number_too_large() -> None:
    with pytest.raises(ConfigError):
        Config(doorbell=HUGE)  # type: ignore[arg-type]


@pytest.fixture
async def hand(store_url: str) -> AsyncIterator[Engine]:
    async with by_hand(url=store_url, programs=programs.ALL) as engine:
        yield engine


@pytest.fixture
def table(store_url: str) -> Table:
    return Table(store_url)


async def test_a_row_that_was_edited_hides_no_other(hand: Engine, table: Table) -> None:
    bad = await hand.start(described("robot", [["await", ["a"], None]]), tags={"t": "1"})
    good = await hand.start(errand.new(plan=["ok"]))
    await drain(hand)
    table.poke(bad.id, awaits='{"a', tags="[1]", error="[]")

    seen = {each.id: each for each in await hand.list()}

    assert seen.keys() == {bad.id, good.id}
    assert (seen[bad.id].awaits, seen[bad.id].tags) == ((), {})


async def test_a_question_that_was_edited_hides_no_other(hand: Engine, table: Table) -> None:
    bad, good = [(await hand.start(described("flow", [["ask", "boss", None]]))).id for _ in range(2)]
    await drain(hand)
    table.query("UPDATE {journal} SET value = '{' WHERE instance = ?", bad)

    assert {asked.instance: asked.name for asked in await hand.pending_inputs()} == {bad: "", good: "boss"}
    assert [step.value for step in await hand.steps(bad)] == ["{"]


async def test_a_schedule_that_was_edited_stops_no_other(hand: Engine, table: Table) -> None:
    for name in ("bad", "good", "late"):
        await hand.schedule(errand.new(plan=["ok"]), "* * * * *", name=name)
    table.query("UPDATE {schedules} SET runs = '{' WHERE name = 'bad'")
    table.query("UPDATE {schedules} SET queued = '' WHERE name = 'late'")
    told: list[Any] = []
    hand.on("schedule.broken", lambda name, fields: told.append(fields["schedule"]))
    clock_of(hand).jump(60)

    assert await fire_schedules(hand) == 1
    assert sorted(told) == ["bad", "late"]
    assert [each.name for each in await hand.schedules()] == ["bad", "good", "late"]


@pytest.mark.parametrize("edit", ["every_s = 1e18", "cron = 'whenever'", "every_s = -1"])
async def test_an_alarm_whose_next_time_nobody_can_tell_rings_once(hand: Engine, table: Table, edit: str) -> None:
    counter = hand.object(Counter, "x")
    await counter.remind("first", 60)
    table.query(f"UPDATE {{alarms}} SET {edit}")
    clock_of(hand).jump(61)

    assert await drain_alarms(hand, with_scheduled=False) == 1
    (alarm,) = await hand.list_alarms(counter)
    assert alarm.failed
    assert alarm.error is not None
    assert await hand.get_state(counter) == {"count": 100}


async def test_an_object_kept_for_longer_than_there_is_time_can_be_taken_and_let_go(hand: Engine, table: Table) -> None:
    counter = hand.object(Counter, "x")
    await counter.add(1)
    await hand.stop_object(counter)
    table.query("UPDATE {objects} SET expires_s = 1e300")

    assert await counter.add(1) == 2


async def test_what_could_not_be_stored_cannot_be_looked_for(hand: Engine) -> None:
    for look in (
        lambda text: hand.list(program=text),
        lambda text: hand.list(queue=text),
        lambda text: hand.list(correlation_key=text),
        lambda text: hand.schedules(program=text),
        lambda text: hand.schedules(after=text),
        lambda text: hand.list_objects(text),
        lambda text: hand.list_objects("a", after=text),
        lambda text: hand.get_object(text, "x"),
        lambda text: hand.list_alarms(text),
    ):
        for text in ("\udcff", "a\x00"):
            with pytest.raises(ConfigError):
                await look(text)


async def test_a_signal_without_a_proper_name_is_refused_for_that(hand: Engine) -> None:
    with pytest.raises(ConfigError, match="a signal's name") as told:
        await hand.signal("nobody", "x" * 5_000, float("nan"))

    assert len(str(told.value)) < 600


def test_a_folder_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="home"):
        Engine("sqlite:///~nobody-of-this-name/x.db").describe()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("OUTLAST_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").write_text('[tool.outlast]\nurl = "sqlite:///app.db"\n')
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["migrate"]).exit_code == 0
    return tmp_path


@pytest.mark.parametrize("argv", ["--\x1b[31m", "\x1b[31m", "list --\x1b[31m", "list --limit \x1b[31m", "pending \x1b"])
def test_what_was_typed_reaches_no_terminal_unescaped(folder: Path, argv: str) -> None:
    result = CliRunner().invoke(main, argv.split(" "))

    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert "\\x1b" in result.stderr


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_json_is_refused_with_a_sentence(folder: Path, deep: str) -> None:
    result = CliRunner().invoke(main, ["signal", "k", "n", "--payload", "-"], input=deep)

    assert (result.exit_code, "must be JSON" in result.stderr) == (2, True)


def test_input_that_is_no_text_is_refused_with_a_sentence(folder: Path) -> None:
    result = CliRunner().invoke(main, ["signal", "k", "n", "--payload", "-"], input=b"\xff\xfe")

    assert (result.exit_code, "not UTF-8" in result.stderr) == (2, True)


@pytest.mark.parametrize("value", [{"x" * 10_000: 1j}, {"k" * 90: {"v": [float("nan")]}}, {HUGE: 1j}])
def test_the_path_to_what_cannot_be_stored_is_short(value: Any) -> None:
    for _ in range(40):
        value = {"long" * 50: value}

    with pytest.raises(EncodingError) as told:
        encode(value, what="it")

    assert len(str(told.value)) < 500


def test_white_space_around_a_number_is_no_part_of_it() -> None:
    environment = {"OUTLAST_LOG_LINES_MAX": "1\x1f", "OUTLAST_CONCURRENCY_LIMITS": "gpu:\x1f3\x1f"}

    config, _ = resolve("sqlite://", {}, environment=environment)

    assert (config.log_lines_max, config.concurrency_limits) == (1, {"gpu": 3})


async def test_who_answers_what_is_not_asked_is_told_so_shortly(hand: Engine) -> None:
    handle = await hand.start(errand.new(plan=[]))
    name = "x" * 10_000

    with pytest.raises(NotFound) as told:
        await hand.provide_input(handle.id, name, True)

    assert len(str(told.value)) < 500


@pytest.mark.parametrize("weight", ["-9e999", "9e999", "0.0"])
async def test_a_share_that_was_edited_stops_nobody(sqlite_url: str, weight: str) -> None:
    async with by_hand(url=sqlite_url) as engine:
        first, second = [await engine.start(errand.new(plan=["ok"]), fair_key="a") for _ in range(2)]
        Table(sqlite_url).query(f"UPDATE {{instances}} SET fair_weight = {weight} WHERE id = ?", first.id)

        await drain(engine)

        assert [(await handle.get()).status for handle in (first, second)] == ["done", "done"]
