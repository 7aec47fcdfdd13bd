"""Jobs: from a function to a program, from arguments to a start, from an answer to an outcome."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Annotated, Any, Literal, NoReturn
from uuid import UUID

import msgspec
import pytest

from outlast import Cancel, Context, Retry, backoff, job
from outlast._kernel.outcomes import Again, Cancelled, Failed, Finished, Outcome, Unreadable
from outlast._kernel.program import DEFINED
from outlast._model import Claim
from outlast.errors import ArgumentError, ConfigError, DefinitionError, EncodingError
from outlast.jobs import LEFT_OUT, Job


class Activation:
    """A run as the runtime would lend it to a program; threads are pretended."""

    def __init__(self, state: str = "{}", *, attempt: int = 0, deadline_us: int | None = None) -> None:
        self.claim = Claim("id-1", "p", 1, "run", state, 1, attempt, 0, 0, "key-1")
        self.queue = "mail"
        self.dice = Random(1)
        self.deadline_us = deadline_us
        self.reports: list[tuple[float, str]] = []
        self.threaded = False

    def report(self, fraction: float, note: str) -> None:
        self.reports.append((fraction, note))

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        self.threaded = True
        return call()


async def outcome_of(program: Any, *, attempt: int = 0, state: str = "{}") -> Outcome:
    """What one run of a job comes to, as the runtime would see it."""
    activation = Activation(state, attempt=attempt)
    try:
        found: Outcome = await program.run(activation)
    except BaseException as error:
        found = await program.failed(activation, error)
    return found


def error_of(outcome: Any) -> dict[str, Any]:
    """The error that an outcome carries."""
    found: dict[str, Any] = json.loads(outcome.error)
    return found


def stated(start: Any) -> Any:
    """The arguments that a start holds."""
    return json.loads(start.start_request().state)


@dataclass
class Order:
    id: UUID
    due: date


@job
def send(to: str, subject: str = "hi", *, copies: int = 1) -> dict[str, Any]:
    """Sends."""
    return {"to": to, "subject": subject, "copies": copies}


@job(name="ship-it", version=3, queue="ship", max_attempts=2, timeout=timedelta(minutes=1), retention=None)
async def ship(ctx: Context, order: Order) -> str:
    ctx.progress(0.5, "half")
    return f"{order.id}"


def test_a_job_is_named_after_its_function() -> None:
    assert (send.name, send.version, send.queue, send.max_attempts, send.timeout_s) == ("send", 1, "default", 20, None)
    assert send.__doc__ == "Sends."
    assert repr(send) == "<job 'send' version 1>"
    assert send.source.endswith("test_jobs.send")


def test_options_are_kept() -> None:
    assert (ship.name, ship.version, ship.queue, ship.max_attempts, ship.timeout_s) == ("ship-it", 3, "ship", 2, 60.0)


def test_jobs_of_a_module_are_known_to_every_engine_and_others_are_not() -> None:
    @job
    def local() -> None:
        pass

    assert send in list(DEFINED)
    assert ship in list(DEFINED)
    assert local not in list(DEFINED)


def test_called_directly_a_job_is_its_function() -> None:
    assert send("ann", copies=2) == {"to": "ann", "subject": "hi", "copies": 2}
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        send()  # type: ignore[call-arg]


async def test_called_directly_with_a_context_of_ones_own() -> None:
    assert await ship(Context(), Order(UUID(int=5), date(2030, 1, 1))) == str(UUID(int=5))


@pytest.mark.parametrize(
    ("start", "state"),
    [
        (send.new("ann"), {"to": "ann"}),
        (send.new("ann", "hello"), {"to": "ann", "subject": "hello"}),
        (send.new(to="ann", copies=2), {"to": "ann", "copies": 2}),
        (ship.new(Order(UUID(int=1), date(2030, 1, 2))), {"order": {"id": str(UUID(int=1)), "due": "2030-01-02"}}),
    ],
)
def test_a_start_holds_what_was_given_and_no_defaults(start: Any, state: Any) -> None:
    """A default that changes in the code holds for what is waiting already."""
    assert stated(start) == state


def test_a_start_describes_itself() -> None:
    request = ship.new(Order(UUID(int=1), date(2030, 1, 2))).start_request()

    assert (request.program, request.step) == (ship, "run")
    assert request.read_result('"done"') == "done"
    assert repr(send.new("ann")) == 'send.new({"to":"ann"})'
    assert len(repr(send.new("x" * 10_000))) < 300


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        ((), {}, "job 'send' misses argument 'to'"),
        (("ann",), {"subjekt": "x"}, "no argument 'subjekt'; did you mean 'subject'"),
        (("ann",), {"zzz": 1}, r"no argument 'zzz' \(known: 'copies', 'subject', 'to'\)"),
        (("ann", "hi", 3), {}, "takes 2 positional arguments, not 3"),
        (("ann",), {"to": "bob"}, "got 'to' twice"),
        ((5,), {}, r"the arguments of job 'send': Expected `str`, got `int` - at `\$\.to`"),
        (("ann",), {"copies": "2"}, r"at `\$\.copies`"),
        (("ann",), {"copies": True}, r"at `\$\.copies`"),
        (("ann",), {"copies": None}, r"at `\$\.copies`"),
        (("ann",), {"self": 1}, "no argument 'self'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(
    arguments: tuple[Any, ...], named: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        send.new(*arguments, **named)


def test_every_missing_argument_is_named() -> None:
    @job
    def three(a: int, b: int, c: int) -> None: ...

    with pytest.raises(ArgumentError, match="misses argument 'a', 'c'"):
        three.new(b=1)  # type: ignore[call-arg]


def test_an_argument_that_cannot_be_stored_is_named() -> None:
    @job
    def anything(data, more=None): ...  # type: ignore[no-untyped-def]

    with pytest.raises(EncodingError, match=r"the arguments of job 'anything' holds? an object at \$\.data\[1\]"):
        anything.new([1, object()])
    with pytest.raises(EncodingError, match=r"not finite .* at \$\.more"):
        anything.new(1, more=float("nan"))


def test_arguments_may_be_called_like_anything() -> None:
    @job
    def odd(self: int, args: int, kwargs: int, name: int, function: int) -> None: ...

    assert stated(odd.new(self=1, args=2, kwargs=3, name=4, function=5)) == {
        "self": 1,
        "args": 2,
        "kwargs": 3,
        "name": 4,
        "function": 5,
    }


def test_constraints_of_annotations_hold() -> None:
    @job
    def picky(level: Annotated[int, msgspec.Meta(ge=1, le=3)], kind: Literal["a", "b"] = "a") -> None: ...

    assert stated(picky.new(3, "b")) == {"level": 3, "kind": "b"}
    with pytest.raises(ArgumentError, match=r"\$\.level"):
        picky.new(4)
    with pytest.raises(ArgumentError, match=r"\$\.kind"):
        picky.new(1, "c")  # type: ignore[arg-type]


def test_a_start_from_json() -> None:
    text = '{"order": {"id": "00000000-0000-0000-0000-000000000001", "due": "2030-01-02"}}'

    assert stated(ship.new_from_json(text)) == json.loads(text)
    assert stated(send.new_from_json('{"to": "ann"}')) == {"to": "ann"}


@pytest.mark.parametrize("text", ["", "[1]", "5", "null", "{", '{"to": 5}', "{}", '{"to": "ann", "self": 1}'])
def test_json_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="job 'send'"):
        send.new_from_json(text)


async def test_a_run_gets_the_arguments_as_their_types() -> None:
    seen: list[Any] = []

    @job
    async def look(ctx: Context, order: Order, at: datetime, note: str = "none") -> None:
        seen.extend([ctx, order, at, note])

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    state = look.new(Order(UUID(int=7), date(2030, 1, 1)), moment).start_request().state
    activation = Activation(state, attempt=2, deadline_us=1_900_000_000_000_000)

    assert await look.run(activation) == Finished("null")

    ctx, *others = seen
    assert others == [Order(UUID(int=7), date(2030, 1, 1)), moment, "none"]
    assert (ctx.id, ctx.program, ctx.attempt, ctx.queue, ctx.key) == ("id-1", "look", 2, "mail", "key-1")
    assert ctx.deadline == datetime.fromtimestamp(1_900_000_000, UTC)
    ctx.progress(1, "all")
    assert activation.reports == [(1.0, "all")]


@pytest.mark.parametrize("where", ["first", "last", "keyword", "default"])
async def test_the_context_may_stand_anywhere(where: str) -> None:
    @job
    async def first(ctx: Context, x: int) -> Any:
        return [ctx.id, x]

    @job
    async def last(x: int, ctx: Context) -> Any:
        return [ctx.id, x]

    @job
    async def keyword(x: int, *, ctx: Context) -> Any:
        return [ctx.id, x]

    @job
    async def default(x: int, ctx: Context | None = None) -> Any:
        assert ctx is not None
        return [ctx.id, x]

    program: Any = {"first": first, "last": last, "keyword": keyword, "default": default}[where]

    assert stated(program.new(x=1)) == {"x": 1}
    assert await outcome_of(program, state='{"x":1}') == Finished('["id-1",1]')
    with pytest.raises(ArgumentError, match="no argument 'ctx'"):
        program.new(x=1, ctx=Context())


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "half", None])
def test_progress_outside_of_its_range_is_refused(fraction: Any) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Context().progress(fraction)


def test_a_note_of_progress_is_made_safe_to_store() -> None:
    seen: list[tuple[float, str]] = []
    ctx = Context(report=lambda fraction, note: seen.append((fraction, note)))

    ctx.progress(0.5, "zero \x00 half \ud800" + "x" * 10_000)

    ((_, note),) = seen
    assert note.startswith("zero \\0 half ?xxx")
    assert len(note) < 600


async def test_a_plain_function_runs_in_a_thread() -> None:
    activation = Activation('{"to":"ann"}')

    assert await send.run(activation) == Finished('{"to":"ann","subject":"hi","copies":1}')

    assert activation.threaded


async def test_a_coroutine_function_runs_on_the_loop() -> None:
    @job
    async def here() -> str:
        return "here" if asyncio.current_task() else "nowhere"

    activation = Activation()

    assert await here.run(activation) == Finished('"here"')
    assert not activation.threaded


async def test_a_plain_function_that_gives_a_coroutine_is_awaited() -> None:
    async def work() -> int:
        return 5

    @job
    def wrapped() -> Awaitable[int]:
        return work()

    assert await outcome_of(wrapped) == Finished("5")


ANSWERS = [
    (5, Finished("5")),
    (None, Finished("null")),
    ({"a": [1, None]}, Finished('{"a":[1,null]}')),
    (date(2030, 1, 1), Finished('"2030-01-01"')),
]


@pytest.mark.parametrize("style", ["async", "plain"])
@pytest.mark.parametrize(("answer", "outcome"), ANSWERS)
async def test_a_value_is_the_result(style: str, answer: Any, outcome: Outcome) -> None:
    assert await outcome_of(answering(answer, style=style)) == outcome


@pytest.mark.parametrize("style", ["async", "plain"])
async def test_cancel_ends_the_job_for_good(style: str) -> None:
    outcome = await outcome_of(answering(Cancel("mailbox closed"), style=style))

    assert isinstance(outcome, Cancelled)
    assert error_of(outcome) == {"type": "Cancel", "message": "mailbox closed", "traceback": ""}


@pytest.mark.parametrize(("delay", "wait_s"), [(0, 0.0), (2.5, 2.5), (timedelta(minutes=1), 60.0), (None, 4.0)])
async def test_retry_runs_the_job_again(delay: Any, wait_s: float) -> None:
    outcome = await outcome_of(answering(Retry(delay, "not yet")), attempt=2)

    assert isinstance(outcome, Again)
    assert outcome.delay_s == wait_s
    assert error_of(outcome) == {"type": "Retry", "message": "not yet", "traceback": ""}


@pytest.mark.parametrize(("attempt", "kind"), [(0, Again), (1, Again), (2, Failed), (5, Failed)])
async def test_attempts_end(attempt: int, kind: type[Outcome]) -> None:
    assert isinstance(await outcome_of(answering(Retry(), max_attempts=3), attempt=attempt), kind)
    assert isinstance(await outcome_of(raising(ValueError("no"), max_attempts=3), attempt=attempt), kind)


@pytest.mark.parametrize("style", ["async", "plain"])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
async def test_an_exception_is_a_failed_attempt(style: str, error: BaseException) -> None:
    outcome = await outcome_of(raising(error, style=style), attempt=3)

    assert isinstance(outcome, Again)
    assert outcome.delay_s == 8.0
    assert type(error).__name__ in error_of(outcome)["type"]


@pytest.mark.parametrize(
    "answer",
    [object(), {"a": float("nan")}, "half \ud800", 10**5_000, {(1, 2): 3}],
    ids=["object", "nan", "text", "int", "key"],
)
async def test_a_result_that_cannot_be_stored_fails_at_once(answer: Any) -> None:
    """Running it again would only repeat its effects."""
    outcome = await outcome_of(answering(answer))

    assert isinstance(outcome, Failed)
    assert "the result of job 'program'" in error_of(outcome)["message"]


@pytest.mark.parametrize("state", ["", "null", "[]", '{"to":5}', "{}", '{"to":"ann","copies":"many"}', "[" * 9_000])
async def test_stored_arguments_that_no_longer_fit_wait_for_an_operator(state: str) -> None:
    outcome = await outcome_of(send, state=state)

    assert isinstance(outcome, Unreadable)
    assert "the arguments of job 'send'" in error_of(outcome)["message"]


async def test_arguments_that_the_function_no_longer_takes_are_dropped() -> None:
    assert await outcome_of(send, state='{"to":"ann","colour":"red"}') == Finished(
        '{"to":"ann","subject":"hi","copies":1}'
    )


async def test_a_backoff_of_ones_own_is_asked_with_the_count_of_failures() -> None:
    asked: list[int] = []

    def wait(attempt: int) -> float:
        asked.append(attempt)
        return 1.5

    outcome = await outcome_of(raising(ValueError("no"), backoff=wait), attempt=4)

    assert isinstance(outcome, Again)
    assert (outcome.delay_s, asked) == (1.5, [5])


@pytest.mark.parametrize("answer", [None, -1, "soon", float("nan"), ZeroDivisionError()])
async def test_a_backoff_that_breaks_ends_the_job_visibly(answer: Any) -> None:
    def wait(attempt: int) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    outcome = await outcome_of(raising(ValueError("no"), backoff=wait))

    assert isinstance(outcome, Failed)
    assert error_of(outcome)["type"] in ("outlast.errors.ConfigError", "ZeroDivisionError")


async def test_jitter_comes_from_the_dice_of_the_run() -> None:
    program = raising(ValueError("no"), backoff=backoff.constant(10, jitter=0.5))

    waits = {getattr(await outcome_of(program), "delay_s", None) for _ in range(3)}

    assert len(waits) == 1


def test_results_are_read_as_the_annotation_says() -> None:
    @job
    def typed() -> Order | Cancel | None: ...

    text = '{"id":"00000000-0000-0000-0000-000000000001","due":"2030-01-02"}'

    assert typed.read_result(text) == Order(UUID(int=1), date(2030, 1, 2))
    assert typed.read_result("null") is None
    # A result of an older release is shown as it is.
    assert typed.read_result('{"old":1}') == {"old": 1}  # type: ignore[comparison-overlap]


def test_answers_are_no_part_of_the_result() -> None:
    @job
    def only_cancel() -> Cancel: ...  # type: ignore[empty-body]

    @job
    def either() -> Cancel | Retry: ...  # type: ignore[empty-body]

    @job
    def never() -> NoReturn: ...  # type: ignore[empty-body]

    @job
    def silent(): ...  # type: ignore[no-untyped-def]

    programs: list[Any] = [only_cancel, either, never, silent]
    for program in programs:
        assert program.read_result('{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    ("options", "kept_s"), [({}, 60.0), ({"retention": None}, None), ({"retention": "2d"}, 172_800.0)]
)
def test_retention_may_be_left_to_the_engine(options: Any, kept_s: float | None) -> None:
    assert answering(1, **options).retention_s(60.0) == kept_s


def test_the_default_retention_reads_as_what_it_is() -> None:
    assert repr(LEFT_OUT) == "<left out>"
    assert answering(1, retention=LEFT_OUT).retention_s(None) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": ""}, "a job's name"),
        ({"name": " x"}, "a job's name"),
        ({"name": 5}, "a job's name"),
        ({"queue": ""}, "a job's queue"),
        ({"queue": None}, "a job's queue"),
        ({"version": 0}, "version must be a whole number from 1"),
        ({"version": True}, "version"),
        ({"version": "1"}, "version"),
        ({"version": 2**31}, "version"),
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1 to 1,000,000, not 0"),
        ({"max_attempts": None}, "max_attempts"),
        ({"backoff": 5}, "backoff"),
        ({"backoff": lambda: 1}, "backoff"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"retention": -1}, "retention"),
        ({"retention": ()}, "retention"),
        ({"retention": "soon"}, "retention"),
    ],
)
def test_a_bad_option_is_refused_by_name(options: Any, said: str) -> None:
    with pytest.raises((DefinitionError, ConfigError), match=said):
        job(**options)


def test_what_is_no_function_is_refused() -> None:
    def numbers() -> Any:
        yield 1

    async def later() -> Any:
        yield 1

    class Thing:
        def __call__(self) -> None: ...

    wrong: list[Any] = [5, "name", Thing, Thing(), print, send]
    for item in wrong:
        with pytest.raises(DefinitionError, match="@job goes on a function"):
            job(item)
    for generator in (numbers, later):
        with pytest.raises(DefinitionError, match="must return, not yield"):
            job(generator)


class Opaque:
    """No codec can read it."""


def takes_opaque(x: Opaque) -> None: ...
def gives_opaque() -> Opaque: ...  # type: ignore[empty-body]
def takes_many(*x: int) -> None: ...
def takes_any_name(**x: int) -> None: ...
def takes_by_place(x: int, /) -> None: ...
def takes_context_by_place(ctx: Context, /) -> None: ...
def takes_contexts(*ctx: Context) -> None: ...
def takes_unnamed_context(context: Context, x: int) -> None: ...
def takes_missing(x: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (takes_opaque, "the arguments of job 'takes_opaque' cannot be stored: type 'Opaque' is not supported"),
        (gives_opaque, "the result of job 'gives_opaque' cannot be stored: type 'Opaque' is not supported"),
        (takes_many, r"parameter \*x: int cannot be given by name"),
        (takes_any_name, r"parameter \*\*x: int cannot be given by name"),
        (takes_by_place, "parameter x: int cannot be given by name"),
        (takes_context_by_place, "parameter ctx: .*Context cannot be given by name"),
        (takes_contexts, r"parameter \*ctx"),
        (takes_unnamed_context, "the parameter that takes the Context must be called ctx"),
        (takes_missing, "job 'takes_missing': its annotations cannot be resolved: name 'Missing'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_function_that_cannot_be_a_job_is_refused_at_its_definition(function: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        job(function)
    assert function not in [getattr(program, "function", None) for program in DEFINED]


def test_attributes_that_hang_on_the_function_are_not_taken_for_options() -> None:
    def plain() -> None: ...

    plain.queue = "elsewhere"  # type: ignore[attr-defined]
    plain.name = "other"  # type: ignore[attr-defined]

    assert (job(plain).queue, job(plain).name) == ("default", "plain")


def test_two_jobs_of_one_name_are_refused() -> None:
    def send_2() -> None: ...

    send_2.__qualname__ = "send_2"

    with pytest.raises(DefinitionError, match=r"'send' version 1 is defined twice .*give one of them name="):
        job(name="send")(send_2)


def answering(answer: Any, *, style: str = "async", **options: Any) -> Job[..., Any, Any, Any]:
    """A job that answers always the same."""

    @job(**{"name": "program", **options})
    async def on_loop():  # type: ignore[no-untyped-def]
        return answer

    @job(**{"name": "program", **options})
    def in_thread():  # type: ignore[no-untyped-def]
        return answer

    return on_loop if style == "async" else in_thread


def raising(error: BaseException, *, style: str = "async", **options: Any) -> Job[..., Any, Any, Any]:
    """A job that always raises."""

    @job(**options)
    async def on_loop() -> None:
        raise error

    @job(**options)
    def in_thread() -> None:
        raise error

    return on_loop if style == "async" else in_thread
