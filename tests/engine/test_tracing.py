"""OpenTelemetry: spans of starts and steps, linked by what is stored, and metrics."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from outlast import Done, Engine, InstanceFailed, Machine, Next, Spawn, job, step
from outlast.errors import ConfigError
from tests.engine.given import SOON_S, Ear, Engines, Table


@job(name="test_tracing.greet")
async def greet(name: str) -> str:
    with trace.get_tracer("shop").start_as_current_span("inner"):
        if name == "nobody":
            raise ValueError("nobody there")
    return name


class Family(Machine, name="test_tracing.family"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Next(self.spawn)

    @step
    async def spawn(self, ctx: Any) -> Any:
        return Spawn([greet.new(name="ann")], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done(None)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans of this test; a provider can be set once in a process, so it is put in place by hand."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    found = [span for span in spans.get_finished_spans() if span.name == name]
    assert len(found) == 1, [span.name for span in spans.get_finished_spans()]
    return found[0]


async def test_a_step_is_linked_to_its_start_and_holds_what_its_code_does(
    spans: InMemorySpanExporter, engine: Engine, table: Table
) -> None:
    with trace.get_tracer("shop").start_as_current_span("request") as request:
        handle = await engine.start(greet.new(name="ann"))
    await handle.result(SOON_S)

    start, inner = named(spans, "start test_tracing.greet"), named(spans, "inner")
    run = named(spans, "test_tracing.greet run")
    assert start.kind is trace.SpanKind.PRODUCER
    assert start.parent is not None
    assert start.parent.span_id == request.get_span_context().span_id
    assert run.kind is trace.SpanKind.CONSUMER
    assert run.parent is None
    assert [link.context.span_id for link in run.links] == [start.context.span_id]
    assert run.context.trace_id != start.context.trace_id
    assert inner.parent is not None
    assert inner.parent.span_id == run.context.span_id
    assert dict(run.attributes or {}) == {
        "messaging.system": "outlast",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": handle.id,
        "outlast.program": "test_tracing.greet",
        "outlast.version": 1,
        "outlast.step": "run",
        "outlast.attempt": 0,
        "outlast.crashes": 0,
        "outlast.outcome": "done",
    }
    stored = table.seen(handle.id, "trace")
    assert stored.startswith(f"00-{start.context.trace_id:032x}-{start.context.span_id:016x}-")


async def test_a_failed_step_marks_its_span(spans: InMemorySpanExporter, engine: Engine) -> None:
    handle = await engine.start(greet.new(name="nobody"), schedule_in=0)
    ear = Ear(engine)
    await ear.hears("step.stop", id=handle.id)

    run = named(spans, "test_tracing.greet run")
    assert run.status.status_code is trace.StatusCode.ERROR
    assert "nobody there" in (run.status.description or "")
    assert (run.attributes or {})["outlast.outcome"] == "retry"
    await engine.cancel(handle.id)


async def test_each_step_has_a_span_and_children_are_linked_to_who_spawned_them(
    spans: InMemorySpanExporter, engine: Engine
) -> None:
    await (await engine.start(Family())).result(SOON_S)

    start = named(spans, "start test_tracing.family")
    steps = [named(spans, f"test_tracing.family {name}") for name in ("start", "spawn", "end")]
    assert [[link.context.span_id for link in span.links] for span in steps] == [[start.context.span_id]] * 3
    child = named(spans, "test_tracing.greet run")
    assert [link.context.span_id for link in child.links] == [steps[1].context.span_id]


async def test_a_bulk_start_is_one_span(spans: InMemorySpanExporter, engine: Engine) -> None:
    handles = await engine.start_many([greet.new(name=str(number)) for number in range(3)])
    for handle in handles:
        await handle.result(SOON_S)

    start = named(spans, "start test_tracing.greet")
    assert (start.attributes or {})["messaging.batch.message_count"] == 3
    runs = [span for span in spans.get_finished_spans() if span.name == "test_tracing.greet run"]
    assert [[link.context.span_id for link in span.links] for span in runs] == [[start.context.span_id]] * 3


async def test_without_a_provider_or_switched_off_nothing_is_stored(
    engines: Engines, table: Table, request: pytest.FixtureRequest
) -> None:
    plain = await engines.open()
    handle = await plain.start(greet.new(name="ann"))
    await handle.result(SOON_S)
    assert table.seen(handle.id, "trace") is None

    exporter: InMemorySpanExporter = request.getfixturevalue("spans")
    off = await engines.open(telemetry="off")
    with trace.get_tracer("shop").start_as_current_span("request"):
        handle = await off.start(greet.new(name="ann"))
    await handle.result(SOON_S)
    assert table.seen(handle.id, "trace") is None
    assert [span.name for span in exporter.get_finished_spans() if "test_tracing" in span.name] == []


async def test_a_stored_context_that_is_nonsense_harms_nobody(
    spans: InMemorySpanExporter, engine: Engine, table: Table
) -> None:
    handle = await engine.start(greet.new(name="ann"), schedule_in=3600)
    table.poke(handle.id, trace="nonsense")
    await engine._store.timers.hurry([handle.id])
    engine._look_at_the_clock()

    assert await handle.result(SOON_S) == "ann"
    assert list(named(spans, "test_tracing.greet run").links) == []


async def test_metrics_count_what_happens(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    engine = await engines.open()
    ear = Ear(engine)

    handle = await engine.start(greet.new(name="ann"))
    await handle.result(SOON_S)
    await engine.signal(handle, "late")
    await ear.hears("instance.ended", id=handle.id)
    found = _points(reader)
    provider.shutdown()

    ran = {"program": "test_tracing.greet", "queue": "default"}
    assert found["outlast.instances.started"] == [(ran, 1)]
    assert found["outlast.instances.ended"] == [(ran | {"status": "done"}, 1)]
    assert found["outlast.step.duration"] == [(ran | {"step": "run", "kind": "done"}, 1)]
    assert found["outlast.signals.sent"] == [({"result": "ended"}, 1)]
    assert found["outlast.commit.size"] == [({}, 1)]
    assert found.keys() >= {"outlast.claim.duration", "outlast.commit.duration"}


def _points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    """By metric: attributes, and the sum or the count."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: [
            (dict(point.attributes or {}), getattr(point, "value", None) or getattr(point, "count", None))
            for point in metric.data.data_points
        ]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def test_a_failing_instance_raises_as_before(spans: InMemorySpanExporter, engine: Engine) -> None:
    @job(name="test_tracing.fails", max_attempts=1)
    async def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(InstanceFailed, match="broken"):
        await (await engine.start(fails.new())).result(SOON_S)


@pytest.mark.parametrize("when", ["on_start", "on_end"])
async def test_a_provider_that_raises_costs_no_start_no_step_and_no_slot(
    spans: InMemorySpanExporter, engines: Engines, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def raises(*_: Any, **__: Any) -> None:
        raise OSError("the collector is away")

    monkeypatch.setattr(SimpleSpanProcessor, when, raises)
    engine = await engines.open(queues={"default": 1})

    @job(name="test_tracing.plain", max_attempts=1)
    async def plain(number: int) -> int:
        if number == 1:
            raise ValueError("broken")
        return number

    handles = [await engine.start(plain.new(number=number)) for number in range(3)]

    assert await handles[0].result(SOON_S) == 0
    with pytest.raises(InstanceFailed, match="broken"):
        await handles[1].result(SOON_S)
    assert await handles[2].result(SOON_S) == 2
    with pytest.raises(ConfigError):
        await engine.start_many([plain.new(number=0)], queue="")
